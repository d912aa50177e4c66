"""The bars of one symbol out of the tables of a path: its rows, in order, each counted that is left out.

A row that cannot be read stays a defect of its month. Which bars of a history are asked for is files.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.market.calendar_settings import ALWAYS_OPEN, Calendar
from quantum_training.market.calendars import session_close
from quantum_training.market.daily_bars import is_midnight, session_dates
from quantum_training.market.schema import PRICES
from quantum_training.market.timeframe import to_timedelta
from quantum_training.sources.tables.options import STAMP, TableOptions
from quantum_training.sources.tables.table import Table, UnreadableError

_DAY = pd.Timedelta(days=1)
_SETTLED = pd.Timedelta(minutes=30)
"""After a session's close, its daily bar is final in a vendor's file."""

EMPTY, REPEATED, SORTED, RUNNING = "empty_rows_dropped", "repeated_rows_dropped", "rows_sorted", "running_bars_left_out"


class Market(NamedTuple):
    """Whose bars they are."""

    symbol: str
    timeframe: str
    calendar: Calendar


@dataclass(frozen=True)
class History:
    """Bars by their start, and what became of other rows, by the stamp of the row or of the one before it.

    bars: as market.schema.as_candles has them, in the order of the file. unread: as Table has it, but for the keys.
    counted: column `reason`, one of EMPTY, REPEATED, SORTED, RUNNING.
    """

    bars: pd.DataFrame
    unread: pd.DataFrame
    counted: pd.DataFrame


def history_of(options: TableOptions, market: Market, table: Table, written: pd.Timestamp | None) -> History:
    """The history in one table. written: when its file was; None if that is not known or means nothing.

    UnreadableError if all its stamps are later than that.
    """
    bars, unread = table.bars, table.unread
    if options.stamp == "end":
        bars = bars.set_axis(_starts(bars.index, market))
        unread = unread.set_axis(_starts(unread.index, market))
    history = History(bars, unread, _counted(EMPTY, bars.index[:0]))
    return _without_empty(options, _without_late(market, history, written))


def _starts(ends: pd.Index, market: Market) -> pd.DatetimeIndex:
    return (pd.DatetimeIndex(ends) - to_timedelta(market.timeframe)).rename(STAMP)


def _without_late(market: Market, history: History, written: pd.Timestamp | None) -> History:
    """Without bars that were not closed when the file was written. One of a later day has a wrong stamp."""
    opens = pd.DatetimeIndex(history.bars.index)
    wrong = np.asarray(opens >= (written or pd.Timestamp.now("UTC")) + _DAY)
    if len(opens) and wrong.all():
        time = f"the file's time, {written:%Y-%m-%d %H:%M}" if written else "tomorrow"
        raise UnreadableError(
            f"its stamps, from {opens.min():%Y-%m-%d %H:%M} to {opens.max():%Y-%m-%d %H:%M}, are after {time}; if that "
            "means nothing, set source.ignore_file_time, else mend source.datetime_format or source.timezone"
        )
    running = np.zeros(len(opens), bool)
    if written is not None:
        late = np.flatnonzero(opens + to_timedelta(market.timeframe) > written).tolist()
        running[late] = [not wrong[i] and not _is_final(market, opens[i], written) for i in late]
    if not (wrong | running).any():
        return history
    stamps = opens.to_series().mask(wrong).ffill().bfill()
    texts = {"column": "stamp", "text": opens.strftime("%Y-%m-%d %H:%M")[wrong], "empty": False}
    late_rows = pd.DataFrame(texts, index=pd.DatetimeIndex(stamps[wrong], name=STAMP))
    return History(
        history.bars[~(wrong | running)],
        pd.concat([history.unread, late_rows]),
        pd.concat([history.counted, _counted(RUNNING, opens[running])]),
    )


def _is_final(market: Market, day: pd.Timestamp, written: pd.Timestamp) -> bool:
    """Whether a daily bar of an exchange was final: its session had been closed."""
    if to_timedelta(market.timeframe) != _DAY or market.calendar == ALWAYS_OPEN:
        return False
    stamp = pd.DatetimeIndex([day])
    date = day if is_midnight(stamp) else session_dates(stamp, market.calendar)[0]
    close = session_close(market.calendar, date)
    return close is not None and close + _SETTLED <= written


def _without_empty(options: TableOptions, history: History) -> History:
    if not options.drop_empty:
        return history
    empty = history.bars[list(PRICES)].isna().all(axis=1).to_numpy()
    stampless = (history.unread["empty"] & (history.unread["column"] == "stamp")).to_numpy(bool)
    stamps = history.bars.index[empty].append(history.unread.index[stampless])
    return History(
        history.bars[~empty],
        history.unread[~history.unread["empty"].to_numpy(bool)],
        pd.concat([history.counted, _counted(EMPTY, stamps)]),
    )


def joined(options: TableOptions, histories: list[History]) -> History:
    """One history of the tables of a path, the oldest table first; sorted and without repeated rows, if so wished."""
    histories = sorted(
        histories, key=lambda h: h.bars.index.min() if len(h.bars) else pd.Timestamp.max.tz_localize("UTC")
    )
    whole = (
        histories[0]
        if len(histories) == 1
        else History(*(pd.concat([getattr(h, name) for h in histories]) for name in ("bars", "unread", "counted")))
    )
    if options.sort:
        times = whole.bars.index
        moved = times[times < pd.Series(times).cummax().to_numpy()]
        whole = replace(
            whole,
            bars=whole.bars.sort_index(kind="stable"),
            counted=pd.concat([whole.counted, _counted(SORTED, moved)]),
        )
    if options.deduplicate:
        repeated = whole.bars.reset_index().duplicated().to_numpy()
        counted = pd.concat([whole.counted, _counted(REPEATED, whole.bars.index[repeated])])
        whole = replace(whole, bars=whole.bars[~repeated], counted=counted)
    return whole


def _counted(reason: str, stamps: pd.Index) -> pd.DataFrame:
    return pd.DataFrame({"reason": reason}, index=pd.DatetimeIndex(stamps, tz="UTC"))
