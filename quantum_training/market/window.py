"""The bars that the quality gate judges, with what they are compared with, and the defects found in them.

The rules themselves: calendar_rules.py, feed_rules.py, price_rules.py and volume_rules.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from quantum_training.market.defects import Defect, QualityLimits, Severity
from quantum_training.market.periods import MarketPeriod
from quantum_training.market.schema import PRICES
from quantum_training.market.timeframe import to_timedelta

BARS_LISTED = 50
USUAL_BARS = 60  # what is usual at a bar: these many before it
_MIN_USUAL_BARS = 20  # if fewer are before it, those after it count, too


def stamp(bar: pd.Timestamp) -> str:
    """A bar's start as people write it."""
    return f"{bar:%Y-%m-%d %H:%M}"


@dataclass(frozen=True)
class Window:
    """The bars that are judged, and what they are compared with."""

    period: MarketPeriod
    limits: QualityLimits
    expected: pd.DatetimeIndex  # bar starts that the calendar expects in the period
    due: pd.DatetimeIndex  # those whose bars have closed by `end`
    stamps: pd.DatetimeIndex  # bar starts as the source gives them
    history: pd.DataFrame  # bars with usable numbers, in order, those before the period first
    first: int  # position in `history` of the period's first bar

    @cached_property
    def times(self) -> pd.DatetimeIndex:
        """Starts of the bars of `history`."""
        return pd.DatetimeIndex(self.history.index)

    @cached_property
    def prices(self) -> np.ndarray:
        """Open, high, low and close of `history`, one row a bar."""
        return np.asarray(self.history[list(PRICES)])

    @cached_property
    def volume(self) -> np.ndarray:
        """Volume of `history`."""
        return np.asarray(self.history["volume"])

    @cached_property
    def ranges(self) -> np.ndarray:
        """Log of high over low of each bar of `history`."""
        return np.asarray(np.log(self.prices[:, 1] / self.prices[:, 2]))

    @cached_property
    def gaps(self) -> np.ndarray:
        """Log move from the close before to each bar's open; 0 for the first."""
        return np.asarray(np.r_[0.0, np.log(self.prices[1:, 0] / self.prices[:-1, 3])])

    @cached_property
    def moves(self) -> np.ndarray:
        """Log move from the close before to each bar's close; 0 for the first."""
        return np.asarray(np.r_[0.0, np.diff(np.log(self.prices[:, 3]))])

    @cached_property
    def elapsed(self) -> np.ndarray:
        """Time since the start of the bar before, in bars; 1 for the first."""
        return np.asarray(np.r_[1.0, np.diff(self.times.asi8) / to_timedelta(self.period.timeframe).value])

    def usual(self, i: int) -> np.ndarray:
        """Positions of the bars that tell what is usual at bar i: 60 before it; after a listing also those after it."""
        before = np.arange(max(1, i - USUAL_BARS), i)
        if len(before) >= _MIN_USUAL_BARS:
            return before
        return np.asarray(np.r_[before, np.arange(i + 1, min(len(self.history), i + 1 + USUAL_BARS))])

    def defect(
        self, rule: str, bars: pd.DatetimeIndex, finding: str, remedy: str, severity: Severity = "error"
    ) -> Defect:
        """A defect whose message names symbol, rule, first bars, number of bars, finding and remedy."""
        place = f"{len(bars)} bar(s), first {', '.join(map(stamp, bars[:3]))}: " if len(bars) else ""
        message = f"{self.period.symbol} {self.period.timeframe} {rule}: {place}{finding}. {remedy}."
        return Defect(rule, severity, tuple(bars[:BARS_LISTED]), message, tuple(bars[BARS_LISTED:]))


Rule = Callable[[Window], Iterator[Defect]]
