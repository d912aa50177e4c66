"""Sessions as spans of time that can be changed: other hours, breaks, and other sessions on single days. Pure.

Where they come from is sessions.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import time
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.market.trading_hours import DaySession, Hours

DAY = pd.Timedelta(days=1)
NEVER = np.iinfo("int64").min

Times = tuple[tuple[pd.Timestamp | None, time | None], ...]
"""Local times of day, each with the session from which on it is usual, None for the first one; no time: no such."""


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

    def usual_opens(self, dates: pd.DatetimeIndex) -> np.ndarray:
        """The usual open of each date, int64 UTC nanoseconds."""
        return _usual(self.zone, dates, self.opens, self.open_offset)

    def usual_closes(self, dates: pd.DatetimeIndex) -> np.ndarray:
        """The usual close of each date, int64 UTC nanoseconds."""
        return _usual(self.zone, dates, self.closes, self.close_offset)

    def spans(self, dates: pd.DatetimeIndex) -> Spans:
        """The usual spans of sessions on these dates."""
        session, opens, closes = np.arange(len(dates)), self.usual_opens(dates), self.usual_closes(dates)
        if not self.pauses:
            return Spans(dates, session, opens, closes)
        pauses, resumes = (_usual(self.zone, dates, times, 0) for times in (self.pauses, self.resumes))
        paused = np.flatnonzero(pauses != NEVER)
        return Spans(
            dates,
            np.r_[session, paused],
            np.r_[opens, resumes[paused]],
            np.r_[np.where(pauses == NEVER, closes, pauses), closes[paused]],
        )


class Spans(NamedTuple):
    """Spans of sessions. A lunch break makes two of one session."""

    dates: pd.DatetimeIndex  # of the sessions, increasing, without zone
    session: np.ndarray  # position in `dates` of each span
    opens: np.ndarray  # int64 UTC nanoseconds
    closes: np.ndarray

    @property
    def span_dates(self) -> pd.DatetimeIndex:
        """The session's date of each span."""
        return self.dates[self.session]


def local_instants(zone: str, dates: pd.DatetimeIndex, minutes: int | np.ndarray) -> np.ndarray:
    """The instants so many minutes after local midnight, by the wall clock; int64 UTC nanoseconds."""
    return _localized(zone, dates + pd.to_timedelta(np.broadcast_to(minutes, len(dates)), unit="min"))


def _localized(zone: str, local: pd.DatetimeIndex) -> np.ndarray:
    instants = local.tz_localize(zone, ambiguous=np.zeros(len(local), bool), nonexistent="shift_forward")
    return np.asarray(instants.as_unit("ns").asi8)  # NaT is the least integer


def _usual(zone: str, dates: pd.DatetimeIndex, times: Times, offset: int) -> np.ndarray:
    clock = np.full(len(dates), np.timedelta64("NaT", "ns"))
    for since, at in times:
        minutes = np.timedelta64("NaT") if at is None else np.timedelta64(at.hour * 60 + at.minute, "m")
        clock[slice(None) if since is None else dates >= since] = minutes
    return _localized(zone, dates + offset * DAY + pd.TimedeltaIndex(clock))


def joined(parts: Sequence[Spans]) -> Spans:
    """Spans of different dates as one, in order. Sessions without a span are left out."""
    dates = parts[0].dates.append([part.dates for part in parts[1:]])
    shifts = np.cumsum([0, *(len(part.dates) for part in parts[:-1])])
    session = np.concatenate([part.session + shift for part, shift in zip(parts, shifts, strict=True)])
    opens, closes = (np.concatenate([getattr(part, name) for part in parts]) for name in ("opens", "closes"))
    present, position = np.unique(pd.DatetimeIndex(dates[session]).to_numpy(), return_inverse=True)
    order = np.lexsort((opens, position))
    return Spans(pd.DatetimeIndex(present), position[order], opens[order], closes[order])


def with_days(spans: Spans, week: UsualWeek, days: Sequence[DaySession]) -> Spans:
    """The spans with other sessions on single days: added, closed, or with other hours."""
    if not days:
        return spans
    changed = pd.DatetimeIndex([day.date for day in days]).as_unit("ns")
    kept = ~spans.span_dates.isin(changed)
    parts = [Spans(spans.dates, spans.session[kept], spans.opens[kept], spans.closes[kept])]
    usual = pd.DatetimeIndex([day.date for day in days if day.hours is None]).as_unit("ns").sort_values().unique()
    parts.append(week.spans(usual))
    for day in days:
        for hours in day.hours or ():
            date = pd.DatetimeIndex([day.date]).as_unit("ns")
            opens, closes = (local_instants(week.zone, date, minutes) for minutes in hours)
            parts.append(Spans(date, np.zeros(1, int), opens, closes))
    return joined(parts)


def with_hours(spans: Spans, week: UsualWeek, hours: Hours, of: np.ndarray | slice = slice(None)) -> Spans:
    """The spans with other usual hours on some of the dates (`of`).

    A session that opens late or closes early does so by as much if the hours are longer than the usual ones, else it
    keeps its time.
    """
    dates = spans.dates
    first = np.unique(spans.session, return_index=True)[1]
    last = len(spans.session) - 1 - np.unique(spans.session[::-1], return_index=True)[1]
    shift = local_instants(week.zone, dates, hours.opens) - week.usual_opens(dates)
    new_open = local_instants(week.zone, dates, hours.opens)
    opens = np.where(shift < 0, spans.opens[first] + shift, np.maximum(spans.opens[first], new_open))
    shift = local_instants(week.zone, dates, hours.closes) - week.usual_closes(dates)
    new_close = local_instants(week.zone, dates, hours.closes)
    closes = np.where(shift > 0, spans.closes[last] + shift, np.minimum(spans.closes[last], new_close))
    all_opens, all_closes = spans.opens.copy(), spans.closes.copy()
    all_opens[first[of]], all_closes[last[of]] = opens[of], closes[of]
    open_at_all = all_opens < all_closes
    return Spans(dates, spans.session[open_at_all], all_opens[open_at_all], all_closes[open_at_all])


def without_break(spans: Spans, week: UsualWeek, pause: Hours, since: pd.Timestamp | None = None) -> Spans:
    """The spans without a daily break, which the sessions from `since` on have."""
    for days_before in (1, 0):  # a session may have opened on the day before
        dates = spans.span_dates
        starts, ends = (local_instants(week.zone, dates - days_before * DAY, minutes) for minutes in pause)
        cut = (starts < spans.closes) & (ends > spans.opens)
        cut &= np.ones(len(cut), bool) if since is None else np.asarray(dates >= since)
        before, after = cut & (spans.opens < starts), cut & (ends < spans.closes)
        spans = Spans(
            spans.dates,
            np.concatenate([spans.session[~cut], spans.session[before], spans.session[after]]),
            np.concatenate([spans.opens[~cut], spans.opens[before], ends[after]]),
            np.concatenate([spans.closes[~cut], starts[before], spans.closes[after]]),
        )
    return joined([spans])
