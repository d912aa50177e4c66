"""Data faults of one column: values that are wrong, not merely unusual. What is unusual: calibration.py."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

Kind = Literal["feature", "prediction", "residual"]
Fault = Literal["missing_column", "not_numeric", "no_bars", "all_missing", "constant", "missing_values", "too_short"]

MISSING_MARGIN = 0.05
"""A window may miss so much more of its values than the reference does."""

CONSTANT_RUNS = 2
"""Times the longest run of one value in the reference: a feature that is constant for longer is broken. A prediction
is not: a model may stay flat."""


def numbers(column: pd.Series) -> np.ndarray | None:
    """The values as floats, NaN for what is missing or infinite; None if the column holds no numbers."""
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_complex_dtype(column):
        return None
    values = column.to_numpy("float64", na_value=np.nan).copy()
    values[~np.isfinite(values)] = np.nan
    return values


def is_stuck(window: np.ndarray, reference: np.ndarray) -> bool:
    """Whether a window holds one value for longer than any stretch of the reference explains. NaN are left out."""
    values = window[~np.isnan(window)]
    return bool((values == values[0]).all()) and len(values) > CONSTANT_RUNS * _longest_run(reference)


def misses_values(window: np.ndarray, reference: np.ndarray) -> bool:
    """Whether a window misses more of its values than the reference does, beyond a margin."""
    return bool(np.isnan(window).mean() > np.isnan(reference).mean() + MISSING_MARGIN)


def bar_after(times: pd.Index, sound: np.ndarray) -> pd.Timestamp:
    """The bar after the last sound one, or the first bar if none is sound."""
    last = np.flatnonzero(sound)
    return times[last[-1] + 1 if len(last) else 0]


def _longest_run(values: np.ndarray) -> int:
    """Most neighbouring bars with the same value; a missing value ends a run."""
    starts = np.flatnonzero(np.diff(values, prepend=np.nan) != 0)
    return int(np.diff(np.append(starts, len(values))).max())
