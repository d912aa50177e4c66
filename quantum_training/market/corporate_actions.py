"""Splits and dividends: what earlier prices and volumes are multiplied by, so that no step is left at an ex-date.

Where the dates and amounts come from is sources/tables/actions.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.market.schema import PRICES


class Adjustment(NamedTuple):
    """Bars that open before `until`, UTC, are multiplied: their prices by `price`, their volumes by `volume`."""

    until: pd.Timestamp
    price: float
    volume: float


def of_action(until: pd.Timestamp, split: float, dividend: float, close: float) -> Adjustment:
    """The adjustment for a split and a dividend on one ex-date.

    split: new shares for an old one. dividend: in money per new share. close: the unadjusted one before the ex-date.
    The factor of a dividend is 1 - dividend / close, as CRSP and Yahoo have it. ValueError if it is not above 0.
    """
    kept = 1 - dividend * split / close if dividend else 1.0
    if not (split > 0 and kept > 0):
        raise ValueError(f"a split of {split:g} and a dividend of {dividend:g} at a close of {close:g} leave no price")
    return Adjustment(until, kept / split, split)


def adjusted(bars: pd.DataFrame, adjustments: Sequence[Adjustment]) -> pd.DataFrame:
    """The bars with all adjustments after each of them multiplied in; a copy."""
    ordered = sorted(adjustments, key=lambda adjustment: adjustment.until)
    until = pd.DatetimeIndex([a.until for a in ordered], tz="UTC").as_unit("ns").asi8
    price, volume = (np.r_[np.cumprod([getattr(a, n) for a in ordered][::-1])[::-1], 1.0] for n in ("price", "volume"))
    place = np.searchsorted(until, pd.DatetimeIndex(bars.index).as_unit("ns").asi8, side="right")
    bars = bars.copy()
    bars[list(PRICES)] = bars[list(PRICES)].mul(price[place], axis=0)
    bars["volume"] = bars["volume"] * volume[place]
    return bars
