"""The rules of the quality gate, in the order in which they run. One rule, one function of a Window.

The rules for a single bar live in schema.py; on which bars these run is decided in quality.py.
"""

from __future__ import annotations

from quantum_training.market.calendar_rules import missing_bars, off_calendar, outside_window
from quantum_training.market.feed_rules import copied_stretch, stale
from quantum_training.market.price_rules import bad_ticks, large_jumps, open_close_swapped, splits, wicks
from quantum_training.market.volume_rules import volume_unit_switch
from quantum_training.market.window import Rule

RULES: tuple[Rule, ...] = (
    outside_window,
    off_calendar,
    missing_bars,
    stale,
    copied_stretch,
    splits,
    bad_ticks,
    wicks,
    open_close_swapped,
    large_jumps,
    volume_unit_switch,
)
