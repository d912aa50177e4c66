"""Functions of a calendar ('24/7', 'XNYS', ...): the bars that it expects, and bars per year.

'24/7' is plain arithmetic; the others have sessions, see sessions.py. How the settings name a calendar, and what may
differ from it, is calendar_settings.py.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from quantum_training.market.calendar_settings import ALWAYS_OPEN, Calendar, CalendarName, CustomCalendar, name_of
from quantum_training.market.session_spans import DAY
from quantum_training.market.sessions import FIRST_YEAR, Sessions, sessions_covering, sessions_of
from quantum_training.market.timeframe import ceil, to_timedelta

__all__ = ["ALWAYS_OPEN", "Calendar", "CalendarName", "expected_open_times", "periods_per_year", "session_close"]

SESSIONS_PER_YEAR = 252

LONGEST_CLOSURE = pd.Timedelta(days=31)
"""Longest time between two neighbouring bars of a market, holidays included."""


def expected_open_times(
    calendar: Calendar, timeframe: str, start: pd.Timestamp, end: pd.Timestamp, as_listed: bool = False
) -> pd.DatetimeIndex:
    """UTC starts (ns) of the bars that `calendar` expects in [start, end); `start` and `end` carry a time zone.

    24/7: the regular grid of the timeframe. Exchange, daily: the session's date at 00:00 UTC. Exchange, intraday:
    from the session's open in steps of the timeframe until before its close, and anew from the end of a break; or on
    the clock's hours, if the calendar is aligned to a clock. Where a calendar of the library ends, its usual week goes
    on. as_listed: without our corrections of the library. ValueError if the calendar begins later than `start`.
    """
    start, end = start.tz_convert("UTC").as_unit("ns"), end.tz_convert("UTC").as_unit("ns")
    step = to_timedelta(timeframe)
    if calendar == ALWAYS_OPEN:
        times = pd.date_range(ceil(start, timeframe), end, freq=step, unit="ns")
    else:
        sessions = sessions_covering(calendar, start, end, as_listed)
        times = _bar_starts(calendar, sessions, step, start, end)
    return times[(times >= start) & (times < end)].rename("open_time")


def known_until(calendar: Calendar, start: pd.Timestamp, end: pd.Timestamp) -> pd.Timestamp:
    """Where the library's sessions around [start, end) end, at `end` or later if it has them all. For exchanges only.

    Later sessions follow the calendar's usual week; its holidays are not known.
    """
    return sessions_covering(calendar, start, end).known_until


def session_close(calendar: Calendar, day: pd.Timestamp) -> pd.Timestamp | None:
    """The close of the session of a date (00:00 UTC); None if there is none, or the market never closes."""
    if calendar == ALWAYS_OPEN:
        return None
    try:
        sessions = sessions_covering(calendar, day, day + DAY)
    except ValueError:
        return None
    spans = np.flatnonzero(sessions.labels[sessions.session] == day)
    return pd.Timestamp(sessions.closes[spans].max(), tz="UTC") if len(spans) else None


def periods_per_year(calendar: Calendar, timeframe: str) -> float:
    """Bars per year, to annualise by. 24/7: 365 days; others: 252 sessions of the usual number of bars each."""
    step = to_timedelta(timeframe)
    if calendar == ALWAYS_OPEN:
        return pd.Timedelta(days=365) / step
    per_year = 365 if name_of(calendar) == ALWAYS_OPEN else SESSIONS_PER_YEAR
    if step == DAY:
        return float(per_year)
    sessions = sessions_of(calendar, FIRST_YEAR, pd.Timestamp.now("UTC").year + 1)
    starts, session = _grid(calendar, sessions, step, slice(None))
    bars = np.bincount(session[np.unique(starts, return_index=True)[1]])
    return float(per_year * np.bincount(bars[-per_year:]).argmax())


def _bar_starts(
    calendar: Calendar, sessions: Sessions, step: pd.Timedelta, start: pd.Timestamp, end: pd.Timestamp
) -> pd.DatetimeIndex:
    aligned = bool(_clock(calendar, sessions))
    if step == DAY and not aligned:
        return sessions.labels
    margin = 2 * DAY.value if aligned else 0
    near = slice(
        np.searchsorted(sessions.closes, start.value - margin), np.searchsorted(sessions.opens, end.value + margin)
    )
    starts, _ = _grid(calendar, sessions, step, near)
    if not aligned:
        return pd.DatetimeIndex(starts, tz="UTC")
    return pd.DatetimeIndex(np.unique(starts), tz="UTC")


def _grid(calendar: Calendar, sessions: Sessions, step: pd.Timedelta, spans: slice) -> tuple[np.ndarray, np.ndarray]:
    """Starts of the bars of these spans, int64 UTC nanoseconds, and the session of each; some twice if aligned.

    Days of a clock are their dates at 00:00 UTC.
    """
    opens, closes, session = sessions.opens[spans], sessions.closes[spans], sessions.session[spans]
    if zone := _clock(calendar, sessions):
        utc = pd.DatetimeIndex(opens, tz="UTC")
        ahead = utc.tz_convert(zone).tz_localize(None).as_unit("ns").asi8 - opens  # no span has a clock change inside
        if step == DAY:
            closes, opens = closes + ahead, (opens + ahead) // step.value * step.value
        else:
            opens = (opens + ahead) // step.value * step.value - ahead
    counts = -(-(closes - opens) // step.value)
    nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(opens, counts) + nth * step.value, np.repeat(session, counts)


def _clock(calendar: Calendar, sessions: Sessions) -> str:
    """The zone on whose clock the bars begin; "" if they begin with the session."""
    if not isinstance(calendar, CustomCalendar) or calendar.align == "session":
        return ""
    return sessions.zone if calendar.align == "clock" else "UTC"
