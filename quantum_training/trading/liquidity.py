"""Bars in which nobody traded: which they are, and what a fill in one costs.

What becomes of an order there is kernel.py; the option is `untraded_slippage_bps` of costs.py.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from quantum_training.trading.costs import Costs

UNTRADED = "untraded"
"""Column of candles that says of each bar whether nobody traded in it."""


def with_volume(candles: pd.DataFrame) -> pd.DatetimeIndex:
    """Open times of the bars that report a volume above 0; none if the candles have no `volume`."""
    return pd.DatetimeIndex(candles.index[candles["volume"] > 0] if "volume" in candles else candles.index[:0])


def untraded_bars(candles: pd.DataFrame) -> np.ndarray:
    """Did nobody trade in the bar? bool, (bars,), from the column UNTRADED, or else from `volume`.

    A volume of 0 says so only after a bar with volume: a market that has had none so far (indices, currencies) does not
    report it, and its bars count as traded. So do those of candles without `volume`.
    """
    if UNTRADED in candles:
        return candles[UNTRADED].to_numpy(bool)
    if "volume" not in candles:
        return np.zeros(len(candles), bool)
    volume = candles["volume"].to_numpy("float64")
    untraded: np.ndarray = (volume == 0) & np.logical_or.accumulate(volume > 0)
    return untraded


def mark_untraded(candles: pd.DataFrame) -> pd.DataFrame:
    """The candles with the column UNTRADED. Mark them before they are cut: earlier bars say whether volume is known."""
    return candles if UNTRADED in candles else candles.assign(**{UNTRADED: untraded_bars(candles)})


def extra_slippage(candles: pd.DataFrame, costs: Costs) -> np.ndarray:
    """What a fill at each bar's open costs beyond `slippage_bps`, as a fraction, (bars,). NaN: nothing is filled."""
    bps = costs.untraded_slippage_bps
    return np.where(untraded_bars(candles), np.nan if bps is None else bps / 1e4, 0.0)


def last_fill(candles: pd.DataFrame, costs: Costs) -> int:
    """Number of the newest bar in which an order can have been filled; -1 if there is none."""
    return int(np.flatnonzero(np.append(True, ~np.isnan(extra_slippage(candles, costs))))[-1]) - 1
