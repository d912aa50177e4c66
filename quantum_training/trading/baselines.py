"""What every recipe is measured against: decisions that need no training. Positions decided at each bar's close."""

from __future__ import annotations

import zlib

import numpy as np
import pandas as pd

FAST, SLOW = 20, 50
HOLDING_BARS = 5
LOOKBACK_BARS = SLOW
BASELINES = ("buy_and_hold", "ma_crossover", "random")


def decide(name: str, candles: pd.DataFrame, seed: str) -> pd.Series:
    """Target positions of baseline `name` for each bar of `candles`; NaN where its history is too short."""
    if name == "buy_and_hold":
        return pd.Series(1.0, candles.index)
    if name == "ma_crossover":
        return ma_crossover(candles["close"])
    if name == "random":
        return random_trader(pd.DatetimeIndex(candles.index), seed)
    raise ValueError(f"unknown baseline {name!r}; known: {', '.join(BASELINES)}")


def ma_crossover(close: pd.Series) -> pd.Series:
    """Long while the mean of the last 20 closes is above that of the last 50, else flat."""
    fast, slow = close.rolling(FAST).mean(), close.rolling(SLOW).mean()
    return (fast > slow).astype("float64").where(slow.notna())


def random_trader(bars: pd.DatetimeIndex, seed: str) -> pd.Series:
    """Long or flat by a fair coin for every block of five bar lengths since 1970, the same however often it is asked.

    The bar length is the smallest step between `bars`, so two neighbours must be among them; one bar gives NaN.
    The coin is a SplitMix64 hash (Steele, Lea and Flood 2014) of seed and block, so no state has to be kept.
    """
    if len(bars) < 2:
        return pd.Series(np.nan, bars)
    block = int(np.diff(bars.asi8).min()) * HOLDING_BARS
    with np.errstate(over="ignore"):
        x = (bars.asi8 // block).astype("uint64") + np.uint64(zlib.crc32(seed.encode())) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return pd.Series(((x ^ (x >> np.uint64(31))) & np.uint64(1)).astype("float64"), bars)
