"""Bars whose open or close lies outside of low to high by rounding: low and high are moved out to them.

Vendors round, and adjust close and range at different times. What lies further outside is for the quality gate.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from quantum_training.market.schema import PRICES, ROUNDING

_ROUNDED = 1e-4  # of the price: rounded decimals, which may be in every bar
_MAX_SHARE = 0.1  # of the bars may lie further outside: more are no rounding but columns of two series


def clamp(bars: pd.DataFrame, tolerance: float) -> tuple[pd.DataFrame, pd.DatetimeIndex]:
    """The bars with low and high moved out to open and close, where these are outside by `tolerance` of the price at
    most; and which bars these are. Bars with a missing or impossible price, and all others, stay as they are."""
    open_, high, low, close = bars[list(PRICES)].to_numpy("float64").T
    top, bottom = np.maximum(open_, close), np.minimum(open_, close)
    with np.errstate(invalid="ignore", divide="ignore"):
        outside = np.maximum(top / high, low / bottom) - 1
        sound = (low > 0) & (high >= low * (1 - tolerance)) & np.isfinite(outside)
    clamped = sound & (outside > ROUNDING) & (outside <= tolerance)
    if np.count_nonzero(clamped & (outside > _ROUNDED)) > max(1, int(_MAX_SHARE * len(bars))):
        clamped &= outside <= _ROUNDED
    if not clamped.any():
        return bars, pd.DatetimeIndex(bars.index[:0])
    bars = bars.copy()
    bars.loc[clamped, "high"] = np.maximum(high, top)[clamped]
    bars.loc[clamped, "low"] = np.minimum(low, bottom)[clamped]
    return bars, pd.DatetimeIndex(bars.index[clamped])
