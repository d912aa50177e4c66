"""The candle source contract and its error. What one source needs beyond it lives in that source's file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import pandas as pd
from pydantic import BaseModel, ConfigDict, PrivateAttr

from quantum_training.market.calendar_settings import ALWAYS_OPEN, Calendar
from quantum_training.market.daily_bars import bar_ends


class SourceError(RuntimeError):
    """A source could not give candles. The message names symbol, source, what happened and what to do."""

    def __init__(self, symbol: str, source: str, problem: str, remedy: str):
        super().__init__(f"{symbol}: source {source}: {problem}. {remedy}")


class OutOfReachError(SourceError):
    """All bars asked for are older than those that the source keeps. oldest: open time of the first that it gives."""

    def __init__(self, symbol: str, source: str, oldest: pd.Timestamp):
        self.oldest = oldest
        super().__init__(
            symbol,
            source,
            f"it gives no bars before {oldest:%Y-%m-%d %H:%M} UTC",
            f"Set symbols.{symbol}.start to {oldest.ceil('D'):%Y-%m-%d}, or take older bars from another source",
        )


class CandleSource(BaseModel, ABC):
    """Where a symbol's candles come from. Fields are the source's options; unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    not_identifying: ClassVar[frozenset[str]] = frozenset()
    """Options that say how bars are fetched or read, not of which market they are."""

    _calendar: Calendar = PrivateAttr("24/7")

    def traded_by(self, calendar: Calendar) -> None:
        """Tell the source the trading hours of its market: they say when a daily bar is final."""
        self._calendar = calendar

    @property
    def kind(self) -> str:
        """The name of the source's module, as the settings have it."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def identity(self) -> dict[str, Any]:
        """What says of which market the bars are: the kind and the options, but for `not_identifying`, as plain JSON.

        It is stored with every month of candles. Another identity is another market.
        """
        return {"kind": self.kind, **self.model_dump(mode="json", exclude=set(self.not_identifying))}

    def with_begin(self, timeframe: str) -> str:
        """The timeframe with the day on which the source begins bars of several days, if it is known and not named."""
        return timeframe

    @abstractmethod
    def fetch(
        self, symbol: str, timeframe: str, start: pd.Timestamp, end: pd.Timestamp, now: pd.Timestamp
    ) -> pd.DataFrame:
        """Closed bars with start <= open_time < end, in the dtypes of market.schema.as_candles, oldest first.

        A bar that is not closed at `now` is left out. Duplicates and values are not repaired here: the quality gate
        judges them. Rows that came over the network in pages are sorted; those of a file keep its order, which the
        gate judges too. An empty answer is for the caller to judge. If the source keeps no bars as old as `start`, it
        gives those that it keeps. Raises OutOfReachError if it keeps none of the range, SourceError if it cannot be
        read.
        """

    @abstractmethod
    def available_until(self, symbol: str, timeframe: str, now: pd.Timestamp) -> pd.Timestamp:
        """The close time of the newest bar this source can have: `now` for a live one, the end of a recording."""

    @property
    def venue(self) -> str:
        """The server that requests go to, as binance or yahoo: runs are limited per venue. "" for a local source."""
        return ""

    @property
    def leaves_out_untraded_bars(self) -> bool:
        """Whether it is known to give no bar in which nobody traded: such a bar is not missing."""
        return False

    @property
    def fills_untraded_bars(self) -> bool:
        """Whether it is known to give a flat bar of volume 0 if nobody traded: such bars are no stuck feed."""
        return False

    @property
    def revises_history(self) -> bool:
        """Whether older prices change later (adjusted for splits and dividends): stored months are then compared."""
        return False

    def known_edge(self, periods: float) -> str:
        """What the best long or flat position is known to earn, for people; "" of a real market, of which nobody knows.

        periods: bars in a year.
        """
        return ""


def closed_between(
    bars: pd.DataFrame,
    timeframe: str,
    start: pd.Timestamp,
    end: pd.Timestamp,
    now: pd.Timestamp,
    calendar: Calendar = ALWAYS_OPEN,
) -> pd.DataFrame:
    """A copy of the bars with start <= open_time < end that are closed at `now`, in the order they came."""
    opens = pd.DatetimeIndex(bars.index)
    return bars.loc[(opens >= start) & (opens < end) & (bar_ends(opens, timeframe, calendar) <= now)].copy()
