"""Sessions of a calendar: when its market is open, as spans of time.

The sessions are those of exchange_calendars. Some of its calendars end; from then on the usual week goes on. Which bars
a session has is calendars.py.
"""

from __future__ import annotations

from datetime import time
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

DAY = pd.Timedelta(days=1)
FIRST_YEAR = 1990  # the library's own default begins 20 years before today, so it would move with the clock

Times = tuple[tuple[pd.Timestamp | None, time | None], ...]
"""Local times of day, each with the session from which on it is usual, None for the first one; no time: no such."""

NEVER = np.iinfo("int64").min


class Sessions(NamedTuple):
    """Sessions of a market. A lunch break makes two spans of one session."""

    labels: pd.DatetimeIndex  # session dates, 00:00 UTC
    session: np.ndarray  # position in `labels` of each span
    opens: np.ndarray  # of each span, int64 UTC nanoseconds, increasing
    closes: np.ndarray
    first: pd.Timestamp
    last: pd.Timestamp
    known_until: pd.Timestamp  # where the library's sessions end; later ones follow the usual week


class UsualWeek(NamedTuple):
    """The weekdays and local hours of a market without holidays."""

    zone: str
    weekdays: str  # "1111100": Monday to Friday
    opens: Times
    closes: Times
    pauses: Times = ()
    resumes: Times = ()
    open_offset: int = 0  # days from the session's date to the day on which it opens
    close_offset: int = 0

    def dates(self, first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
        """Dates of its sessions from `first` to `last`, without zone."""
        days = pd.date_range(first, last, freq="D", unit="ns")
        return days[[self.weekdays[day] == "1" for day in days.weekday]]

    def spans(self, dates: pd.DatetimeIndex) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Position in `dates`, open and close of the usual spans of sessions on these dates."""
        position = np.arange(len(dates))
        opens = local_instants(self.zone, dates, self.opens, self.open_offset)
        closes = local_instants(self.zone, dates, self.closes, self.close_offset)
        if not self.pauses:
            return position, opens, closes
        pauses = local_instants(self.zone, dates, self.pauses, 0)
        resumes = local_instants(self.zone, dates, self.resumes, 0)
        paused = np.flatnonzero(pauses != NEVER)
        return (
            np.r_[position, paused],
            np.r_[opens, resumes[paused]],
            np.r_[np.where(pauses == NEVER, closes, pauses), closes[paused]],
        )


def local_instants(zone: str, dates: pd.DatetimeIndex, times: Times, offset: int) -> np.ndarray:
    """The usual local time on each date, `offset` days later, as int64 UTC nanoseconds; NEVER if there is none."""
    clock = np.full(len(dates), np.timedelta64("NaT", "ns"))
    for since, at in times:
        minutes = np.timedelta64("NaT") if at is None else np.timedelta64(at.hour * 60 + at.minute, "m")
        clock[slice(None) if since is None else dates >= since] = minutes
    local = (dates + offset * DAY + pd.TimedeltaIndex(clock)).tz_localize(
        zone, ambiguous=np.zeros(len(dates), bool), nonexistent="shift_forward"
    )
    return np.asarray(local.as_unit("ns").asi8)  # NaT is the least integer


def sessions_covering(calendar: str, start: pd.Timestamp, end: pd.Timestamp) -> Sessions:
    """The sessions of whole years around [start, end). ValueError if the calendar begins later than `start`."""
    last_year = max(end.year, pd.Timestamp.now("UTC").year) + 1
    sessions = sessions_of(calendar, min(start.year, FIRST_YEAR), last_year)
    if start < sessions.first:
        raise ValueError(
            f"calendar {calendar}: sessions of {start:%Y-%m-%d} to {end:%Y-%m-%d} asked for, but exchange_calendars "
            f"has them from {sessions.first:%Y-%m-%d} on only; change the settings' start or the symbol's calendar, or "
            "install a newer exchange_calendars"
        )
    return sessions


@lru_cache(maxsize=64)
def sessions_of(calendar: str, first_year: int, last_year: int) -> Sessions:
    """Sessions of these years from the first one that the library has; after its last one by the usual week."""
    from exchange_calendars import get_calendar

    bounds = get_calendar(calendar)  # it refuses years outside of its bounds
    first, last = pd.Timestamp(first_year, 1, 1), pd.Timestamp(last_year, 12, 31)
    first, known = max(first, bounds.bound_min() or first), min(last, bounds.bound_max() or last)
    library = get_calendar(calendar, start=first, end=known)
    dates = pd.DatetimeIndex(library.schedule.index).as_unit("ns")
    spans = [_spans(library.schedule)]
    if known < last:
        week = usual_week(library)
        unknown = week.dates(known + DAY, last)
        position, opens, closes = week.spans(unknown)
        spans.append((position + len(dates), opens, closes))
        dates = dates.append(unknown)
    session, opens, closes = map(np.concatenate, zip(*spans, strict=True))
    order = np.argsort(opens, kind="stable")
    return Sessions(
        labels=dates.tz_localize("UTC"),
        session=session[order],
        opens=opens[order],
        closes=closes[order],
        first=first.tz_localize("UTC"),
        last=last.tz_localize("UTC") + DAY,
        known_until=known.tz_localize("UTC") + DAY,
    )


def usual_week(library: Any) -> UsualWeek:
    """The usual week of a calendar of exchange_calendars."""
    return UsualWeek(
        zone=str(library.tz),
        weekdays=library.weekmask,
        opens=tuple(library.open_times),
        closes=tuple(library.close_times),
        pauses=tuple(library.break_start_times or ()),
        resumes=tuple(library.break_end_times or ()),
        open_offset=library.open_offset,
        close_offset=library.close_offset,
    )


def _spans(schedule: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position, open and close of the spans of the library's schedule."""
    opens, closes, breaks, resumes = (
        schedule[c].to_numpy("datetime64[ns]").view("int64") for c in ("open", "close", "break_start", "break_end")
    )
    has_break = schedule["break_start"].notna().to_numpy()
    pauses = np.flatnonzero(has_break)
    return (
        np.r_[np.arange(len(schedule)), pauses],
        np.r_[opens, resumes[pauses]],
        np.r_[np.where(has_break, breaks, closes), closes[pauses]],
    )
