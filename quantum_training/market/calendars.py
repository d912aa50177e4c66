"""Functions of a calendar's code ('24/7', 'XNYS', ...): the bars it expects, bars per year, and the code's type.

'24/7' is plain arithmetic; every other code is a calendar of exchange_calendars, which is imported only then.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import AfterValidator

from quantum_training.market.sessions import DAY, FIRST_YEAR, Sessions, sessions_covering, sessions_of
from quantum_training.market.timeframe import to_timedelta

ALWAYS_OPEN = "24/7"
SESSIONS_PER_YEAR = 252


def _validate(value: str) -> str:
    if value != ALWAYS_OPEN:
        from exchange_calendars import get_calendar_names

        if value not in get_calendar_names():
            raise ValueError(
                f"unknown calendar {value!r}; allowed: '24/7' or a code of exchange_calendars, as XNYS, XNAS, XLON, "
                "XETR, XTKS, CMES (all: python -c 'import exchange_calendars as c; print(c.get_calendar_names())')"
            )
    return value


CalendarName = Annotated[str, AfterValidator(_validate)]


def expected_open_times(calendar: str, timeframe: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.DatetimeIndex:
    """UTC starts (ns) of the bars that `calendar` expects in [start, end); `start` and `end` carry a time zone.

    24/7: the regular grid aligned to the UTC day. Exchange, daily: the session's date at 00:00 UTC. Exchange, intraday:
    from the session's open in steps of the timeframe until before its close, and anew from the end of a lunch break.
    Where a calendar of the library ends, its usual week goes on. ValueError if it begins later than `start`.
    """
    start, end = start.tz_convert("UTC").as_unit("ns"), end.tz_convert("UTC").as_unit("ns")
    step = to_timedelta(timeframe)
    if calendar == ALWAYS_OPEN:
        times = pd.date_range(start.ceil(step), end, freq=step, unit="ns")
    else:
        sessions = sessions_covering(calendar, start, end)
        times = sessions.labels if step == DAY else _bar_starts(sessions, step, start, end)
    return times[(times >= start) & (times < end)].rename("open_time")


def known_until(calendar: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.Timestamp:
    """Where the library's sessions around [start, end) end, at `end` or later if it has them all. For exchanges only.

    Later sessions follow the calendar's usual week; its holidays are not known.
    """
    return sessions_covering(calendar, start, end).known_until


def periods_per_year(calendar: str, timeframe: str) -> float:
    """Bars per year, to annualise by. 24/7: 365 days; exchange: 252 sessions of the usual number of bars each."""
    step = to_timedelta(timeframe)
    if calendar == ALWAYS_OPEN:
        return pd.Timedelta(days=365) / step
    if step == DAY:
        return float(SESSIONS_PER_YEAR)
    sessions = sessions_of(calendar, FIRST_YEAR, pd.Timestamp.now("UTC").year + 1)
    bars = np.bincount(sessions.session, weights=_bar_counts(sessions, step)).astype(int)
    return float(SESSIONS_PER_YEAR * np.bincount(bars[-SESSIONS_PER_YEAR:]).argmax())


def _bar_counts(sessions: Sessions, step: pd.Timedelta) -> np.ndarray:
    counts: np.ndarray = -(-(sessions.closes - sessions.opens) // step.value)
    return counts


def _bar_starts(sessions: Sessions, step: pd.Timedelta, start: pd.Timestamp, end: pd.Timestamp) -> pd.DatetimeIndex:
    near = slice(np.searchsorted(sessions.closes, start.value), np.searchsorted(sessions.opens, end.value))
    counts, opens = _bar_counts(sessions, step)[near], sessions.opens[near]
    nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return pd.DatetimeIndex(np.repeat(opens, counts) + nth * step.value, tz="UTC")


def session_close(calendar: str, day: pd.Timestamp) -> pd.Timestamp | None:
    """The close of the session of a date (00:00 UTC); None if there is none, or the market never closes."""
    if calendar == ALWAYS_OPEN:
        return None
    try:
        sessions = sessions_covering(calendar, day, day + DAY)
    except ValueError:
        return None
    spans = np.flatnonzero(sessions.labels[sessions.session] == day)
    return pd.Timestamp(sessions.closes[spans].max(), tz="UTC") if len(spans) else None
