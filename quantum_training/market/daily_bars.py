"""Which day a daily bar is of, if its source stamps it otherwise than 00:00 UTC of that day.

Venues begin their days at 16:00 or 08:00 UTC, files have the exchange's midnight or the session's open. How bars are
fetched is lifecycle/fetching.py.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from quantum_training.market.calendar_settings import ALWAYS_OPEN, Calendar, CustomCalendar
from quantum_training.market.session_spans import DAY
from quantum_training.market.sessions import sessions_covering
from quantum_training.market.timeframe import to_timedelta

MAX_SHIFT = pd.Timedelta(hours=1)
"""How far the begin of a day may move: by the clock change of a time zone."""

_NONE = pd.Timedelta(0)
_EVENING_BEFORE = pd.Timedelta(hours=2)  # a midnight of standard time in summer, or the other way round


def with_dates(bars: pd.DataFrame, calendar: Calendar) -> tuple[pd.DataFrame, pd.Timedelta]:
    """Daily bars by the date that they are of, 00:00 UTC, and how much later than it the newest is stamped.

    24/7: the UTC day in which most of the bar lies. Others: the session in which the stamp lies, else the exchange's
    date. Bars that are not stamped alike keep their stamps, for the gate to refuse. ValueError if the calendar does not
    have these years.
    """
    stamps = pd.DatetimeIndex(bars.index)
    if not len(stamps) or stamps.hasnans or is_midnight(stamps):
        return bars, _NONE
    dates = _days(stamps) if calendar == ALWAYS_OPEN or _has_days(calendar) else _sessions(stamps, calendar)
    late = pd.Series(stamps - dates, stamps)
    alike = (late - late.median()).abs() <= MAX_SHIFT
    if not _has_days(calendar) and calendar != ALWAYS_OPEN:
        alike |= _opens_session(stamps, calendar)
    if not alike.all():
        return bars, _NONE
    return bars.set_axis(dates.rename(bars.index.name)), pd.Timedelta(late.to_numpy()[stamps.argmax()])


def bar_ends(stamps: pd.DatetimeIndex, timeframe: str, calendar: Calendar) -> pd.DatetimeIndex:
    """When bars are known: a timeframe after their stamp; a session's daily bar at the end of its date, 24:00 UTC."""
    length = to_timedelta(timeframe)
    if length != DAY or calendar == ALWAYS_OPEN or _has_days(calendar) or stamps.empty or is_midnight(stamps):
        return stamps + length
    return session_dates(stamps, calendar) + length


def session_dates(stamps: pd.DatetimeIndex, calendar: Calendar) -> pd.DatetimeIndex:
    """The date of the session in which each stamp lies, else the exchange's date; the stamp itself in unknown years."""
    try:
        return _sessions(stamps, calendar)
    except ValueError:
        return stamps


def is_midnight(stamps: pd.DatetimeIndex) -> bool:
    """Whether all bars are stamped 00:00 UTC."""
    return bool((stamps == stamps.normalize()).all())


def _has_days(calendar: Calendar) -> bool:
    """Whether daily bars are of days of a clock, not of sessions."""
    return isinstance(calendar, CustomCalendar) and calendar.align != "session"


def _days(stamps: pd.DatetimeIndex) -> pd.DatetimeIndex:
    return (stamps + (DAY / 2 - pd.Timedelta(1, "ns"))).normalize()


def _sessions(stamps: pd.DatetimeIndex, calendar: Calendar) -> pd.DatetimeIndex:
    sessions = sessions_covering(calendar, stamps.min() - 2 * DAY, stamps.max() + 2 * DAY)
    times = stamps.as_unit("ns").asi8
    span = np.clip(np.searchsorted(sessions.opens, times, side="right") - 1, 0, None)
    is_open = (sessions.opens[span] <= times) & (times < sessions.closes[span])
    local = (stamps.tz_convert(sessions.zone) + _EVENING_BEFORE).tz_localize(None).normalize().tz_localize("UTC")
    return local.where(~is_open, sessions.labels[sessions.session[span]])


def _opens_session(stamps: pd.DatetimeIndex, calendar: Calendar) -> np.ndarray:
    """Whether a session opens at the stamp: after a storm it may do so hours later than usual."""
    sessions = sessions_covering(calendar, stamps.min() - 2 * DAY, stamps.max() + 2 * DAY)
    return np.isin(stamps.as_unit("ns").asi8, sessions.opens)
