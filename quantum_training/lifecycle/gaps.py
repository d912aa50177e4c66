"""Gaps: months whose candles were refused, while later months are stored. Only what depends on them waits.

A month that is neither stored nor recorded as refused is no gap: it was not brought yet, or it was lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from quantum_training.lifecycle.records import CANDLES, StoredRecord, read_record, write_record
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.periods import MONTH, WEEK, Key
from quantum_training.market.timeframe import end_of_bars, opens_before
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings.schema import Symbol

STORED, REFUSED, NOT_LISTED, OUT_OF_REACH = "stored", "refused", "not_listed", "out_of_reach"
BEFORE_START = "before_start"
"""Outcomes of a month of candles. REFUSED: its bars are wrong, or its source gave none. NOT_LISTED: it lies before the
first bar of the market; OUT_OF_REACH: before the first bar that the source gives; BEFORE_START: before the first day
that the settings name for the symbol, which is not recorded."""

WITHOUT_BARS = frozenset({NOT_LISTED, OUT_OF_REACH})
"""Outcomes of months that have no bars and need none."""

GAP = "gap"
"""Outcome of a week that cannot be trained or scored because its bars lie in a gap."""


class MonthOutcome(StoredRecord):
    """What became of the newest attempt to bring a month of candles. errors: for which it was refused, in sentences.

    A month that was stored at its first attempt has none.
    """

    asset = CANDLES

    outcome: str
    reason: str = ""
    errors: tuple[str, ...] = ()


class Gap(NamedTuple):
    """The bars of [start, end) of a symbol are missing. month: the refused month; reason: why it was refused."""

    start: pd.Timestamp
    end: pd.Timestamp
    month: str
    reason: str

    def __str__(self) -> str:
        return f"the candles of {self.month} from {self.start:%Y-%m-%d} on were refused: {self.reason}"


class GapError(StoreError):
    """Bars that are asked for lie in a gap."""


def record_outcome(store: Store, key: Key, outcome: str, reason: str = "", errors: Sequence[str] = ()) -> MonthOutcome:
    """Record what became of the newest attempt to bring a month. A month that was never refused needs no record."""
    record = MonthOutcome(outcome=outcome, reason=reason, errors=tuple(errors))
    if outcome != STORED or month_outcome(store, key) is not None:
        write_record(store, key.symbol, key.period, record)
    return record


def month_outcome(store: Store, key: Key) -> MonthOutcome | None:
    """The recorded outcome of a month; None if there is none, as for a month that was stored at once."""
    return read_record(store, MonthOutcome, key.symbol, key.period)


def gaps(store: Store, symbol: str, timeframe: str) -> list[Gap]:
    """The gaps of a symbol, oldest first. The newest month, and those before the first stored one, are none."""
    stored = store.periods(CANDLES, symbol)
    symbol_gaps = []
    for month in store.periods(CANDLES, symbol, "json"):
        record = read_record(store, MonthOutcome, symbol, month)
        if record is None or record.outcome != REFUSED or not (stored and stored[0] < month < stored[-1]):
            continue
        start = pd.Timestamp(month, tz="UTC")
        covered = pd.Timestamp(store.attributes(CANDLES, symbol, month).get("covered_until", start))
        if covered < (end := end_of_bars(start, start + MONTH, timeframe)):
            symbol_gaps.append(Gap(covered, end, month, record.reason))
    return symbol_gaps


def refused_months(store: Store, symbol: str, first: str, last: str) -> list[str]:
    """The months from `first` to `last` of which the newest attempt to bring them was refused."""
    records = {m: read_record(store, MonthOutcome, symbol, m) for m in store.periods(CANDLES, symbol, "json")}
    return [m for m, record in records.items() if first <= m <= last and record and record.outcome == REFUSED]


def gap_of_week(store: Store, symbol: str, market: Symbol, week: pd.Timestamp) -> Gap | None:
    """The gap for which a week cannot be scored: bars of its seven days are missing, or there is none before them."""
    first = opens_before(week - WEEK, market.timeframe)
    for gap in gaps(store, symbol, market.timeframe):
        if gap.start < week and not len(
            expected_open_times(market.calendar, market.timeframe, gap.end, max(gap.end, first))
        ):
            return gap
    return None


def absent_months(store: Store, symbol: str, first: str, last: str) -> list[str]:
    """The months from `first` to `last` without candles, apart from those that need none."""
    stored = {*store.periods(CANDLES, symbol)}
    unlisted = {
        month
        for month in store.periods(CANDLES, symbol, "json")
        if (record := read_record(store, MonthOutcome, symbol, month)) and record.outcome in WITHOUT_BARS
    }
    months = pd.date_range(first, last, freq="MS").strftime("%Y-%m-%d")
    return [month for month in months if month not in stored and month not in unlisted]


def split_at_gaps(frame: pd.DataFrame, symbol_gaps: Sequence[Gap]) -> list[pd.DataFrame]:
    """The rows before, between and after the gaps, oldest first; each part may be empty."""
    if not symbol_gaps:
        return [frame]
    ends = pd.DatetimeIndex([gap.end for gap in symbol_gaps]).as_unit("ns")
    part_of_row = ends.searchsorted(pd.DatetimeIndex(frame.index), side="right")
    return [frame[part_of_row == number] for number in range(len(ends) + 1)]


def require_no_gap(symbol: str, asset: str, until: pd.Timestamp, symbol_gaps: Sequence[Gap]) -> None:
    """GapError if the bars just before `until` lie in a gap."""
    for gap in symbol_gaps:
        if gap.start < until <= gap.end:
            raise GapError(f"{symbol}: {asset} is needed until {until}, but {gap}; accept its bars, or mend the source")
