"""The columns of a series that is no candles, in order of `known_at`."""

TIME, KNOWN_AT, VALUE = "time", "known_at", "value"
"""What a value is about and when it became known, both UTC, and the value, float64. A revised value has a row for each
publication."""
