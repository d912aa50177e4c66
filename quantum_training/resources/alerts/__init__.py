"""Alerts on their way: what one says, the book of what was told, how it is sent. What is wrong is found elsewhere."""
