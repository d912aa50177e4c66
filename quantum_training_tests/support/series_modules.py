"""Modules of feature sets of series for tests, in one: `compute` takes the name of a function below."""

import numpy as np
import pandas as pd

COLUMNS = {"result": "what the function gives"}
WARMUP_BARS = 3


def compute(values: pd.DataFrame, function: str) -> pd.DataFrame:
    """The column of a function of this module."""
    return pd.DataFrame({"result": globals()[function](values["value"])}, values.index)


def mean_of_three(value):
    return value.rolling(3).mean()


def centred(value):
    return value.rolling(3, center=True, min_periods=1).mean()


def z_score(value):
    return (value - value.mean()) / value.std()


def next_value(value):
    return value.shift(-1).fillna(0.0)


def filled_backwards(value):
    return value.where(value > value.median()).bfill().fillna(0.0)


def not_deterministic(value):
    return np.random.default_rng().normal(size=len(value))


def longer_memory(value):
    return value.diff(6)
