"""What exchange_calendars 4.13.2 has wrong: single sessions, and usual hours. Each with its source.

special_sessions.tsv has the single sessions. A row or rule changes nothing any more once the library is right; a test
says so. docs/markets/calendars.md shows them all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files

import numpy as np
import pandas as pd

from quantum_training.market.calendar_settings import FX_WEEK
from quantum_training.market.session_spans import Spans, UsualWeek, with_days, with_hours, without_break
from quantum_training.market.trading_hours import DaySession, day_session, hours_of


def _maintenance(pause: str, since: str | None = None) -> Callable[[Spans, UsualWeek], Spans]:
    first = pd.Timestamp(since) if since else None
    return lambda spans, week: without_break(spans, week, hours_of(pause), first)


def _sao_paulo(spans: Spans, week: UsualWeek) -> Spans:
    """The cash market closes at 17:00 while New York has summer time, from 2020 on."""
    noon = (spans.dates + pd.Timedelta(hours=12)).tz_localize("America/New_York")
    summer = np.array([bool(day.dst()) for day in noon]) & np.asarray(spans.dates >= pd.Timestamp("2020-03-09"))
    return with_hours(spans, week, hours_of("10:00-17:00"), summer)


def _tel_aviv(spans: Spans, week: UsualWeek) -> Spans:
    return with_hours(spans, week, hours_of("10:00-17:15"))


USUAL_HOURS: dict[str, Callable[[Spans, UsualWeek], Spans]] = {
    "BVMF": _sao_paulo,
    "CMES": _maintenance("16:00-17:00"),
    "us_futures": _maintenance("17:00-18:00"),
    "XSES": _maintenance("12:00-13:00", "2017-11-13"),
    "XTAE": _tel_aviv,
}
"""Usual hours that differ from the library's, by calendar. Sources: docs/markets/calendars.md."""


@lru_cache(maxsize=1)
def special_sessions() -> pd.DataFrame:
    """The table: calendar, date, hours (local; usual, closed, or spans), source."""
    with files("quantum_training.market").joinpath("special_sessions.tsv").open() as table:
        return pd.read_csv(table, sep="\t", dtype=str)


def special_days(calendar: str, dates: pd.DatetimeIndex) -> list[DaySession]:
    """The special sessions of a calendar among these years' dates. FX: closed on Christmas Day and New Year's Day."""
    if calendar == FX_WEEK:
        return [DaySession(date, ()) for date in dates[dates.strftime("%m-%d").isin(["12-25", "01-01"])]]
    rows = special_sessions()
    days = [day_session(f"{row.date} {row.hours}") for row in rows[rows["calendar"] == calendar].itertuples()]
    return [day for day in days if len(dates) and dates[0] <= day.date <= dates[-1]]


@lru_cache(maxsize=64)
def is_corrected(calendar: str) -> bool:
    """Whether anything of a calendar is corrected."""
    return calendar == FX_WEEK or calendar in USUAL_HOURS or bool((special_sessions()["calendar"] == calendar).any())


def corrected(calendar: str, spans: Spans, week: UsualWeek) -> Spans:
    """The spans with the usual hours and the special sessions that the market really had."""
    days = special_days(calendar, spans.dates)
    spans = with_days(spans, week, [day for day in days if day.hours is None])
    if calendar in USUAL_HOURS:
        spans = USUAL_HOURS[calendar](spans, week)
    return with_days(spans, week, [day for day in days if day.hours is not None])
