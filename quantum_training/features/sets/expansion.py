"""The expansion of a feature set: its columns for several values of its params, on higher timeframes, and bars ago."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from quantum_training.market.timeframe import close_times, floor, length_of, to_timedelta


class Variant(NamedTuple):
    """One way to compute the columns of a set.

    params: for its function. chosen: those that differ between variants. timeframe: None for the symbol's own bars.
    shift: how many bars of that timeframe ago.
    """

    params: Mapping[str, Any]
    chosen: Mapping[str, Any]
    timeframe: str | None
    shift: int

    @property
    def suffix(self) -> str:
        """What follows the name of each column: `_bars_14_4h_shift_1`; empty if there is but one variant."""
        parts = [f"{param}_{value}" for param, value in self.chosen.items()]
        parts += [length_of(self.timeframe)] if self.timeframe else []
        parts += [f"shift_{self.shift}"] if self.shift else []
        return "".join(map(suffix_of, parts))

    @property
    def description(self) -> str:
        """The same in words, to follow the description of each column."""
        parts = [f"{param} = {value}" for param, value in self.chosen.items()]
        parts += [f"of bars of {self.timeframe}"] if self.timeframe else []
        parts += [f"{self.shift} bars before"] if self.shift else []
        return "".join(f", {part}" for part in parts)


def suffix_of(part: str) -> str:
    """A part of a column's name after the first: `_BTC_USDT` of BTC-USDT."""
    return f"_{re.sub('[^A-Za-z0-9]+', '_', part).strip('_')}"


def variants(
    params: Mapping[str, Any], grid: Mapping[str, Sequence[Any]], timeframes: Sequence[str], shifts: Sequence[int]
) -> Iterator[Variant]:
    """Every combination of the values in `grid`, on the symbol's bars and each timeframe, now and each shift ago."""
    for values in product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        for timeframe, shift in product((None, *timeframes), (0, *shifts)):
            yield Variant({**params, **chosen}, chosen, timeframe, shift)


def bars_needed(warmup: int, timeframe: str | None, own: str) -> int:
    """Bars of the timeframe `own` that hold `warmup` whole ones of a higher timeframe, wherever they begin."""
    if timeframe is None:
        return warmup
    return (warmup + 2) * -(-to_timedelta(timeframe) // to_timedelta(own))


def higher_bars(candles: pd.DataFrame, timeframe: str) -> pd.DataFrame:
    """Candles of a higher timeframe, on its grid in UTC, without the first, of which bars may be missing."""
    groups = candles.groupby(floor(pd.DatetimeIndex(candles.index), timeframe))
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    return groups.agg(how).iloc[1:]


def known_rows(values: np.ndarray, opened: pd.DatetimeIndex, timeframe: str, closed: pd.DatetimeIndex) -> np.ndarray:
    """For each time `closed`, the row of the newest bar of a timeframe that is closed then, else NaN.

    values: a row for each bar, which opens at `opened`.
    """
    newest = newest_known(opened, timeframe, closed)
    rows = np.full((len(closed), values.shape[1]), np.nan)
    rows[newest >= 0] = values[newest[newest >= 0]]
    return rows


def newest_known(opened: pd.DatetimeIndex, timeframe: str, closed: pd.DatetimeIndex) -> np.ndarray:
    """For each time `closed`, the position of the newest bar of a timeframe that is closed then, below 0 if none is.

    opened: when its bars open. So no bar is known before its nominal end, also not on a day with fewer hours.
    """
    positions: np.ndarray = close_times(opened, timeframe).searchsorted(closed, side="right") - 1
    return positions
