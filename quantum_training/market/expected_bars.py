"""The bars that the quality gate expects of a period, and what is not sure about them.

What a calendar itself expects is calendars.py.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from quantum_training.market.calendar_settings import ALWAYS_OPEN, name_of
from quantum_training.market.calendars import expected_open_times, known_until
from quantum_training.market.defects import Defect
from quantum_training.market.periods import MONTH, MarketPeriod
from quantum_training.market.special_sessions import is_corrected
from quantum_training.market.timeframe import close_times

MAX_UNKNOWN_HOLIDAYS = 8
"""Days of a month that may be holidays which nobody told us: China's Spring Festival takes up to eight weekdays."""


def expected_bars(period: MarketPeriod, stamps: pd.DatetimeIndex) -> tuple[pd.DatetimeIndex, list[Defect]]:
    """The starts of the expected bars, and a warning if the calendar has ended. stamps: bar starts of the source.

    If our corrections differ from the library's sessions, a day is judged by those that its bars fit better: sources
    have special sessions, or they have not. After its end a calendar knows no holidays. ValueError as in
    calendars.expected_open_times.
    """
    _, timeframe, calendar, start, end = period[:5]
    expected = expected_open_times(calendar, timeframe, start, end)
    if calendar == ALWAYS_OPEN:
        return expected, []
    if is_corrected(name_of(calendar)):
        listed = expected_open_times(calendar, timeframe, start, end, as_listed=True)
        expected = _better_fitting(expected, listed, stamps)
    listed_until = known_until(calendar, start, end)
    return (expected, []) if end <= listed_until else _without_holidays(period, expected, stamps, listed_until)


def _better_fitting(expected: pd.DatetimeIndex, listed: pd.DatetimeIndex, stamps: pd.DatetimeIndex) -> pd.DatetimeIndex:
    days = expected.symmetric_difference(listed).normalize().unique()
    if not len(days):
        return expected

    def on(times: pd.DatetimeIndex, some: pd.DatetimeIndex) -> pd.DatetimeIndex:
        return times[times.normalize().isin(some)]

    def misfits(grid: pd.DatetimeIndex) -> np.ndarray:
        wrong = on(grid, days).symmetric_difference(on(stamps.unique(), days)).normalize()
        return np.bincount(days.get_indexer(wrong), minlength=len(days))

    as_listed = days[misfits(listed) < misfits(expected)]
    others = expected[~expected.normalize().isin(as_listed)]
    return others.union(on(listed, as_listed)).rename(expected.name)


def _without_holidays(
    period: MarketPeriod, expected: pd.DatetimeIndex, stamps: pd.DatetimeIndex, listed_until: pd.Timestamp
) -> tuple[pd.DatetimeIndex, list[Defect]]:
    """The expected bars without days that may be holidays, and a warning. listed_until: where the calendar ends.

    A day of the usual week without a bar is taken for a holiday if a later bar exists or if the month is in progress,
    unless there are more than `MAX_UNKNOWN_HOLIDAYS`.
    """
    symbol, timeframe, calendar, start, end = period[:5]
    days = expected.normalize()
    holidays = (expected >= listed_until) & ~days.isin(stamps.normalize()) & (close_times(expected, timeframe) <= end)
    if end == start.normalize().replace(day=1) + MONTH or not len(stamps):
        holidays &= expected < stamps.max()
    if days[holidays].nunique() > MAX_UNKNOWN_HOLIDAYS:
        holidays[:] = False
    last = listed_until - pd.Timedelta(1, "D")
    message = (
        f"{symbol} {timeframe} calendar: the sessions of {calendar} are known until {last:%Y-%m-%d} only; "
        "later ones follow its usual week, and its holidays are not known. "
        f"{_taken_for_holidays(days[holidays].unique())} Install a newer exchange_calendars once it has these years."
    )
    return expected[~holidays], [Defect("calendar", "warning", tuple(expected[holidays][:50]), message)]


def _taken_for_holidays(days: pd.DatetimeIndex) -> str:
    if not len(days):
        return "Every day of it has bars."
    return f"Without a bar, and taken for holidays: {', '.join(day.strftime('%Y-%m-%d') for day in days)}."
