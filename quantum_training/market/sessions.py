"""Sessions of a calendar: when its market is open, as spans of time.

They are those of exchange_calendars, corrected by special_sessions.py and changed as the settings say. Some calendars
of the library end; from then on the usual week goes on. Which bars a session has is calendars.py.
"""

from __future__ import annotations

from datetime import time
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from quantum_training.market.calendar_settings import FX_WEEK, Calendar, CustomCalendar, name_of
from quantum_training.market.session_spans import (
    DAY,
    Spans,
    UsualWeek,
    joined,
    with_days,
    with_hours,
    without_break,
)
from quantum_training.market.special_sessions import corrected
from quantum_training.market.trading_hours import DaySession, day_session, hours_of

FIRST_YEAR = 1990  # the library's own default begins 20 years before today, so it would move with the clock

_FIVE_PM = ((None, time(17)),)
_FX = UsualWeek("America/New_York", "1111100", opens=_FIVE_PM, closes=_FIVE_PM, open_offset=-1)


class Sessions(NamedTuple):
    """Sessions of a market. A lunch break makes two spans of one session."""

    labels: pd.DatetimeIndex  # session dates, 00:00 UTC
    session: np.ndarray  # position in `labels` of each span
    opens: np.ndarray  # of each span, int64 UTC nanoseconds, increasing
    closes: np.ndarray
    zone: str  # of the exchange
    first: pd.Timestamp
    known_until: pd.Timestamp  # where the library's sessions end; later ones follow the usual week


class _Listed(NamedTuple):
    """The sessions of some years as the library has them, and the usual week that goes on after them."""

    spans: Spans
    week: UsualWeek
    first: pd.Timestamp
    known_until: pd.Timestamp


def sessions_covering(calendar: Calendar, start: pd.Timestamp, end: pd.Timestamp, as_listed: bool = False) -> Sessions:
    """The sessions of whole years around [start, end). ValueError if the calendar begins later than `start`.

    as_listed: without the corrections of special_sessions.py.
    """
    last_year = max(end.year, pd.Timestamp.now("UTC").year) + 1
    sessions = sessions_of(calendar, min(start.year, FIRST_YEAR), last_year, as_listed)
    if start < sessions.first:
        raise ValueError(
            f"calendar {calendar}: sessions of {start:%Y-%m-%d} to {end:%Y-%m-%d} asked for, but exchange_calendars "
            f"has them from {sessions.first:%Y-%m-%d} on only; change the settings' start or the symbol's calendar, or "
            "install a newer exchange_calendars"
        )
    return sessions


@lru_cache(maxsize=128)
def sessions_of(calendar: Calendar, first_year: int, last_year: int, as_listed: bool = False) -> Sessions:
    """Sessions of these years from the first one that the library has; after its last one by the usual week."""
    name = name_of(calendar)
    spans, week, first, known_until = _listed(name, first_year, last_year)
    if not as_listed:
        spans = corrected(name, spans, week)
    if isinstance(calendar, CustomCalendar):
        spans = _changed(calendar, spans, week)
    order = np.argsort(spans.opens, kind="stable")
    return Sessions(
        labels=spans.dates.tz_localize("UTC"),
        session=spans.session[order],
        opens=spans.opens[order],
        closes=spans.closes[order],
        zone=week.zone,
        first=first,
        known_until=known_until,
    )


def _changed(calendar: CustomCalendar, spans: Spans, week: UsualWeek) -> Spans:
    """The spans as the settings change them."""
    own_days = [*map(day_session, calendar.add), *(DaySession(pd.Timestamp(day), ()) for day in calendar.drop)]
    at_usual_hours = [day for day in own_days if day.hours is None]
    spans = with_days(spans, week, at_usual_hours)
    if calendar.hours:
        spans = with_hours(spans, week, hours_of(calendar.hours))
    for pause in calendar.breaks:
        spans = without_break(spans, week, hours_of(pause))
    return with_days(spans, week, [day for day in own_days if day.hours is not None])


@lru_cache(maxsize=64)
def _listed(name: str, first_year: int, last_year: int) -> _Listed:
    first, last = pd.Timestamp(first_year, 1, 1), pd.Timestamp(last_year, 12, 31)
    if name == FX_WEEK:
        return _Listed(_FX.spans(_FX.dates(first, last)), _FX, *_utc(first, last + DAY))
    from exchange_calendars import get_calendar

    bounds = get_calendar(name)  # it refuses years outside of its bounds
    first, known = max(first, bounds.bound_min() or first), min(last, bounds.bound_max() or last)
    library = get_calendar(name, start=first, end=known)
    week = _usual_week(library)
    spans = _scheduled(library.schedule)
    if known < last:
        spans = joined([spans, week.spans(week.dates(known + DAY, last))])
    return _Listed(spans, week, *_utc(first, known + DAY))


def _utc(first: pd.Timestamp, last: pd.Timestamp) -> tuple[pd.Timestamp, pd.Timestamp]:
    return first.tz_localize("UTC"), last.tz_localize("UTC")


def _usual_week(library: Any) -> UsualWeek:
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


def _scheduled(schedule: pd.DataFrame) -> Spans:
    opens, closes, breaks, resumes = (
        schedule[c].to_numpy("datetime64[ns]").view("int64") for c in ("open", "close", "break_start", "break_end")
    )
    has_break = schedule["break_start"].notna().to_numpy()
    pauses = np.flatnonzero(has_break)
    return joined(
        [
            Spans(
                pd.DatetimeIndex(schedule.index).as_unit("ns"),
                np.r_[np.arange(len(schedule)), pauses],
                np.r_[opens, resumes[pauses]],
                np.r_[np.where(has_break, breaks, closes), closes[pauses]],
            )
        ]
    )
