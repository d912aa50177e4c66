"""Baselines that every recipe is compared with: positions that need no training, decided at each bar's close."""

from __future__ import annotations

import numpy as np
import pandas as pd

FAST, SLOW = 20, 50
LOOKBACK_BARS = SLOW
BUY_AND_HOLD = "buy_and_hold"
BASELINES = (BUY_AND_HOLD, "ma_crossover")


def decide(name: str, candles: pd.DataFrame) -> pd.Series:
    """Target positions of baseline `name` for each bar of `candles`; NaN if its history is too short."""
    if name == BUY_AND_HOLD:
        return pd.Series(1.0, candles.index)
    if name == "ma_crossover":
        return ma_crossover(candles["close"])
    raise ValueError(f"unknown baseline {name!r}; known: {', '.join(BASELINES)}")


def ma_crossover(close: pd.Series) -> pd.Series:
    """Long while the mean of the last 20 closes is above that of the last 50, else flat."""
    fast, slow = close.rolling(FAST).mean(), close.rolling(SLOW).mean()
    return (fast > slow).astype("float64").where(slow.notna())


def random_timing(target: pd.Series, count: int, seed: int) -> pd.DataFrame:
    """`count` random traders, (bars, count): the positions of `target`, each moved round by a random number of bars.

    Each holds the same positions for the same times as `target`, with its exposure and its turnover (except at the seam
    where the end meets the start). Only the timing is random. Fewer than two bars cannot be moved: no column.
    """
    bars = len(target)
    if bars < 2:
        return pd.DataFrame(index=target.index)
    moved = np.random.default_rng(seed).integers(1, bars, count)
    return pd.DataFrame(target.to_numpy()[(np.arange(bars)[:, None] - moved) % bars], target.index)
