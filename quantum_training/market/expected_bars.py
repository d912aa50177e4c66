"""The bars that the quality gate expects of a period, and what is not sure about them.

What a calendar itself expects is calendars.py.
"""

from __future__ import annotations

import pandas as pd

from quantum_training.market.calendars import ALWAYS_OPEN, expected_open_times, known_until
from quantum_training.market.defects import Defect
from quantum_training.market.periods import MONTH, MarketPeriod
from quantum_training.market.timeframe import close_times

MAX_UNKNOWN_HOLIDAYS = 8
"""Days of a month that may be holidays which nobody told us: China's Spring Festival takes up to eight weekdays."""


def expected_bars(period: MarketPeriod, stamps: pd.DatetimeIndex) -> tuple[pd.DatetimeIndex, list[Defect]]:
    """The starts of the expected bars, and a warning if the calendar has ended. stamps: bar starts of the source.

    After its end a calendar knows no holidays. A day of the usual week without a bar is taken for one if a later bar
    exists or if the month is in progress, unless there are more than `MAX_UNKNOWN_HOLIDAYS`. ValueError as in
    calendars.expected_open_times.
    """
    symbol, timeframe, calendar, start, end = period
    expected = expected_open_times(calendar, timeframe, start, end)
    if calendar == ALWAYS_OPEN or end <= (known := known_until(calendar, start, end)):
        return expected, []
    days = expected.normalize()
    holidays = (expected >= known) & ~days.isin(stamps.normalize()) & (close_times(expected, timeframe) <= end)
    if end == start.normalize().replace(day=1) + MONTH or not len(stamps):
        holidays &= expected < stamps.max()
    if days[holidays].nunique() > MAX_UNKNOWN_HOLIDAYS:
        holidays[:] = False
    last = known - pd.Timedelta(1, "D")
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
