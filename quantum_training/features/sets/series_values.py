"""A feature set of a series: the newest value itself. `module` of a set that changes nothing."""

import pandas as pd

COLUMNS = {"value": "the newest value that is known"}
WARMUP_BARS = 0


def compute(values: pd.DataFrame) -> pd.DataFrame:
    """The values, by the time that each is about."""
    return values
