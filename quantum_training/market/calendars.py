"""Functions of a calendar's code ('24/7', 'XNYS', ...): the bars it expects, bars per year, and the code's type.

'24/7' is plain arithmetic; every other code is a calendar of exchange_calendars, which is imported only then.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
from pydantic import AfterValidator

from quantum_training.market.timeframe import to_timedelta

ALWAYS_OPEN = "24/7"
SESSIONS_PER_YEAR = 252
_DAY = pd.Timedelta(days=1)
_FIRST_YEAR = 1990  # the library's own default begins 20 years before today, so it would move with the clock


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


class _Sessions(NamedTuple):
    """Sessions of an exchange. A lunch break makes two spans of one session."""

    labels: pd.DatetimeIndex  # session dates, 00:00 UTC
    session: np.ndarray  # position in `labels` of each span
    opens: np.ndarray  # of each span, int64 UTC nanoseconds, increasing
    closes: np.ndarray
    first: pd.Timestamp
    last: pd.Timestamp


def expected_open_times(calendar: str, timeframe: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.DatetimeIndex:
    """UTC starts (ns) of the bars that `calendar` expects in [start, end); `start` and `end` carry a time zone.

    24/7: the regular grid aligned to the UTC day. Exchange, daily: the session's date at 00:00 UTC. Exchange, intraday:
    from the session's open in steps of the timeframe until before its close, and anew from the end of a lunch break.
    ValueError if the calendar does not have these years.
    """
    start, end = start.tz_convert("UTC").as_unit("ns"), end.tz_convert("UTC").as_unit("ns")
    step = to_timedelta(timeframe)
    if calendar == ALWAYS_OPEN:
        times = pd.date_range(start.ceil(step), end, freq=step, unit="ns")
    else:
        sessions = _sessions_covering(calendar, start, end)
        times = sessions.labels if step == _DAY else _bar_starts(sessions, step, start, end)
    return times[(times >= start) & (times < end)].rename("open_time")


def periods_per_year(calendar: str, timeframe: str) -> float:
    """Bars per year, to annualise by. 24/7: 365 days; exchange: 252 sessions of the usual number of bars each."""
    step = to_timedelta(timeframe)
    if calendar == ALWAYS_OPEN:
        return pd.Timedelta(days=365) / step
    if step == _DAY:
        return float(SESSIONS_PER_YEAR)
    sessions = _sessions(calendar, _FIRST_YEAR, pd.Timestamp.now("UTC").year + 1)
    bars = np.bincount(sessions.session, weights=_bar_counts(sessions, step)).astype(int)
    return float(SESSIONS_PER_YEAR * np.bincount(bars[-SESSIONS_PER_YEAR:]).argmax())


def _bar_counts(sessions: _Sessions, step: pd.Timedelta) -> np.ndarray:
    counts: np.ndarray = -(-(sessions.closes - sessions.opens) // step.value)
    return counts


def _bar_starts(sessions: _Sessions, step: pd.Timedelta, start: pd.Timestamp, end: pd.Timestamp) -> pd.DatetimeIndex:
    near = slice(np.searchsorted(sessions.closes, start.value), np.searchsorted(sessions.opens, end.value))
    counts, opens = _bar_counts(sessions, step)[near], sessions.opens[near]
    nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return pd.DatetimeIndex(np.repeat(opens, counts) + nth * step.value, tz="UTC")


def _sessions_covering(calendar: str, start: pd.Timestamp, end: pd.Timestamp) -> _Sessions:
    last_year = max(end.year, pd.Timestamp.now("UTC").year) + 1
    sessions = _sessions(calendar, min(start.year, _FIRST_YEAR), last_year)
    if start < sessions.first or end > sessions.last:
        raise ValueError(
            f"calendar {calendar}: sessions of {start:%Y-%m-%d} to {end:%Y-%m-%d} asked for, but exchange_calendars "
            f"has {sessions.first:%Y-%m-%d} to {sessions.last:%Y-%m-%d} only; change the settings' start "
            "or the symbol's calendar, or install a newer exchange_calendars"
        )
    return sessions


@lru_cache(maxsize=64)
def _sessions(calendar: str, first_year: int, last_year: int) -> _Sessions:
    """Sessions of these years, as far as the library has them."""
    from exchange_calendars import get_calendar

    bounds = get_calendar(calendar)  # it refuses years outside of its bounds
    first, last = pd.Timestamp(first_year, 1, 1), pd.Timestamp(last_year, 12, 31)
    first, last = max(first, bounds.bound_min() or first), min(last, bounds.bound_max() or last)
    schedule = get_calendar(calendar, start=first, end=last).schedule
    opens, closes, breaks, resumes = (
        schedule[c].to_numpy("datetime64[ns]").view("int64") for c in ("open", "close", "break_start", "break_end")
    )
    pauses = np.flatnonzero(schedule["break_start"].notna().to_numpy())
    session = np.concatenate([np.arange(len(schedule)), pauses])
    starts = np.concatenate([opens, resumes[pauses]])
    ends = np.concatenate([np.where(schedule["break_start"].notna(), breaks, closes), closes[pauses]])
    order = np.argsort(starts, kind="stable")
    return _Sessions(
        labels=pd.DatetimeIndex(schedule.index, tz="UTC").as_unit("ns"),
        session=session[order],
        opens=starts[order],
        closes=ends[order],
        first=first.tz_localize("UTC"),
        last=last.tz_localize("UTC") + _DAY,
    )


def session_close(calendar: str, day: pd.Timestamp) -> pd.Timestamp | None:
    """The close of the session of a date (00:00 UTC); None if there is none, or the market never closes."""
    if calendar == ALWAYS_OPEN:
        return None
    try:
        sessions = _sessions_covering(calendar, day, day + _DAY)
    except ValueError:
        return None
    spans = np.flatnonzero(sessions.labels[sessions.session] == day)
    return pd.Timestamp(sessions.closes[spans].max(), tz="UTC") if len(spans) else None
