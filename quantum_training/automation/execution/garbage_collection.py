"""Python's full garbage collections are rare in a process that imports this module.

A full collection walks all objects, and in a run nearly all of them are imported code, which stays: eight collections
took a sixth of the CPU of a symbol's week. What is loaded when this module is imported is not walked again. Young
objects are collected as often as before.
"""

import gc

gc.freeze()
gc.set_threshold(*gc.get_threshold()[:2], 100)  # ten times the usual number of collections between two full ones
