"""What a symbol's source gives, month by month, and what ingestion would say of it. Nothing of it is kept.

How it is shown is report.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pandas as pd

from quantum_training.lifecycle.data_end import data_end
from quantum_training.lifecycle.ingestion import CandleMonth, ingest_month
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.periods import MONTH, Key, month_of
from quantum_training.market.schema import empty_candles
from quantum_training.market.timeframe import opens_before
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.sources import OutOfReachError, SourceError


class Month(NamedTuple):
    """A month as ingestion would take it. expected, missing: numbers of bars up to the end of the source's data.

    errors: for which it would be refused; warnings: what would be said of it; facts: what the source says of its bars.
    """

    month: str
    bars: pd.DataFrame
    expected: int
    missing: int
    errors: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, str | int | float] = {}


class Inspection(NamedTuple):
    """All months of a symbol's source from the first with a bar on. oldest: of a source that keeps no older ones."""

    symbol: str
    end: pd.Timestamp
    months: list[Month]
    oldest: pd.Timestamp | None = None

    @property
    def bars(self) -> pd.DataFrame:
        """The bars of all months, also of those that would be refused."""
        return pd.concat([month.bars for month in self.months]) if self.months else empty_candles()


def inspect_source(settings: Settings, symbol: str, now: pd.Timestamp) -> Inspection:
    """Fetch all months of a symbol and judge them as ingestion does, into a store that is thrown away.

    Raises SourceError if the source cannot be read at all.
    """
    end = data_end(settings, symbol, now)
    first = pd.Timestamp(month_of(settings.symbols[symbol].first_day(settings.start)), tz="UTC")
    oldest, months, unread = None, list[Month](), None
    with TemporaryDirectory() as folder:
        store = Store(root=folder)
        for start in pd.date_range(first, end - pd.Timedelta("1ns"), freq="MS"):
            try:
                month = ingest_month(store, settings, Key(symbol, start), now)
            except OutOfReachError as error:
                oldest = error.oldest
            except SourceError as error:
                unread = error
                months.append(
                    Month(month_of(start), empty_candles(), *_expected(settings, symbol, start, end), (str(error),))
                )
            else:
                months.append(_month(settings, Key(symbol, start), month, end))
    if unread is not None and not any(len(month.bars) for month in months):
        raise unread
    begin = next((number for number, month in enumerate(months) if len(month.bars)), len(months))
    return Inspection(symbol, end, months[begin:], oldest)


def _month(settings: Settings, key: Key, month: CandleMonth, end: pd.Timestamp) -> Month:
    expected, missing = _expected(settings, key.symbol, key.start, end, pd.DatetimeIndex(month.bars.index))
    warnings = tuple(defect.message for defect in month.defects if defect.severity == "warning")
    errors = tuple(error.message for error in month.errors)
    return Month(month_of(key.start), month.bars, expected, missing, errors, warnings, month.notes.facts)


def _expected(
    settings: Settings, symbol: str, start: pd.Timestamp, end: pd.Timestamp, stamps: pd.DatetimeIndex | None = None
) -> tuple[int, int]:
    """How many bars the symbol's calendar expects in a month, and how many of them are missing."""
    market = settings.symbols[symbol]
    first = max(start, market.first_day(settings.start))
    try:
        opened = min(start + MONTH, opens_before(end, market.timeframe))
        due = expected_open_times(market.calendar, market.timeframe, first, max(first, opened))
    except ValueError:  # the gate says so
        return 0, 0
    return len(due), len(due) if stamps is None else int((~due.isin(stamps)).sum())
