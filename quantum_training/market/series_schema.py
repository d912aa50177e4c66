"""The columns of a series that is no candles, in order of `known_at`, and the times that its settings name."""

import re

import pandas as pd

TIME, KNOWN_AT, VALUE = "time", "known_at", "value"
"""What a value is about and when it became known, both UTC, and the value, float64. A revised value has a row for each
publication."""


def duration(text: str) -> pd.Timedelta:
    """The time that a text as 36h, 16h15min or 45d says. ValueError if it says none."""
    return pd.Timedelta(re.sub(r"(?<=[0-9])d", "D", text))
