"""Which timeframe, clock and calendar fit the stamps of unknown bars best."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from quantum_training.market.calendar_settings import ALWAYS_OPEN, Calendar, CustomCalendar, name_of
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.timeframe import beginning_at, length_of, to_timedelta
from quantum_training.sources.tables.zones import as_zone, instants

TIMEFRAMES = ("1m", "2m", "3m", "5m", "10m", "15m", "30m", "1h", "2h", "3h", "4h", "6h", "8h", "12h", "1d")
_NEW_YORK = "America/New_York"
_BROKER = f"{_NEW_YORK}+7h"
_DAY = pd.Timedelta(days=1)
_ROUND_THE_CLOCK = ("FX", "24/5", "CMES")
_EXTENDED = CustomCalendar(name="XNYS", hours="04:00-20:00")
_EXCHANGES = {  # the clock of each, and when it opens
    "XNYS": ("America/New_York", "09:30"),
    "XLON": ("Europe/London", "08:00"),
    "XETR": ("Europe/Berlin", "09:00"),
    "XTKS": ("Asia/Tokyo", "09:00"),
    "XHKG": ("Asia/Hong_Kong", "09:30"),
    "XSHG": ("Asia/Shanghai", "09:30"),
    "XBOM": ("Asia/Kolkata", "09:15"),
    "XKRX": ("Asia/Seoul", "09:00"),
    "XTSE": ("America/Toronto", "09:30"),
    "XASX": ("Australia/Sydney", "10:00"),
}
_GOOD = 0.005
_NEWEST = 5000
_HOURS_OF_A_SESSION = 14


class Hours(NamedTuple):
    """timezone: None if the stamps say it themselves. unlike: share of bars that are missing or should not be."""

    calendar: Calendar
    timezone: str | None
    unlike: float


def timeframe_of(stamps: pd.DatetimeIndex) -> str:
    """The most frequent step between bars. ValueError if it is none that a symbol can have."""
    steps = pd.Series(stamps.unique().sort_values()).diff().dropna()
    if steps.empty:
        if (stamps == stamps.normalize()).all():
            return "1d"
        raise ValueError("it has one bar only; two show the timeframe")
    step = steps.mode().iloc[0]
    for several_days in ("3d", "1w"):
        if step == to_timedelta(several_days):
            begins = [beginning_at(several_days, stamp) for stamp in stamps]
            return max(set(begins), key=begins.count)
    if step > _DAY:
        raise ValueError(f"its bars are {step / _DAY:g} days apart; timeframes longer than 1d are 3d and 1w")
    if step > pd.Timedelta(hours=20):
        return "1d"
    fitting = [timeframe for timeframe in TIMEFRAMES if to_timedelta(timeframe) == step]
    if not fitting:
        raise ValueError(f"its bars are {step} apart; timeframes are {', '.join(TIMEFRAMES)}")
    return fitting[0]


def hours_of(clock_times: pd.DatetimeIndex, timeframe: str, is_local: bool) -> list[Hours]:
    """What fits the newest bars, the best first. clock_times: stamps as the file has them, as if they were UTC.

    is_local: they do not say of which zone they are.
    """
    newest = clock_times.unique().sort_values()[-_NEWEST:]
    if length_of(timeframe) in ("3d", "1w"):
        return [Hours(ALWAYS_OPEN, None, _unlike(ALWAYS_OPEN, timeframe, newest))]
    if timeframe == "1d":
        midnight = (newest == newest.normalize()).all()
        days = newest if midnight else (newest + _DAY / 2 - pd.Timedelta("1ns")).normalize()
        candidates: Iterable[tuple[Calendar, str | None, pd.DatetimeIndex]] = (
            (c, None, days) for c in _calendars(days, "1d")
        )
    else:
        candidates = _intraday(newest, timeframe, is_local)
    fitted: list[Hours] = []
    for calendar, zone, times in candidates:
        if name_of(calendar) in _EXCHANGES and any(hours.unlike <= _GOOD for hours in fitted):
            break  # calendars of the library take a second each
        fitted.append(Hours(calendar, zone, _unlike(calendar, timeframe, times)))
    return sorted(fitted, key=lambda hours: round(hours.unlike, 2))


def _intraday(
    newest: pd.DatetimeIndex, timeframe: str, is_local: bool
) -> Iterable[tuple[Calendar, str | None, pd.DatetimeIndex]]:
    for calendar in _calendars(newest, timeframe):
        own, opens = _EXCHANGES.get(name_of(calendar), ("Etc/GMT+5", "")) if calendar != _EXTENDED else (_NEW_YORK, "")
        zones = (own, "UTC", _BROKER, _NEW_YORK, "Europe/Athens") if calendar != ALWAYS_OPEN else ("UTC",)
        for zone in dict.fromkeys(zones) if is_local else (None,):
            times = newest if zone is None else instants(newest.tz_localize(None), as_zone(zone)).dropna()
            if not opens:
                yield calendar, zone, times
                continue
            expected, first = pd.Timedelta(f"{opens}:00"), _opens(times, own)
            if first == expected:
                yield calendar, zone, times
            elif first == expected.floor("h") and to_timedelta(timeframe) >= pd.Timedelta("1h"):
                yield CustomCalendar(name=name_of(calendar), align="clock"), zone, times


def _opens(times: pd.DatetimeIndex, zone: str) -> pd.Timedelta:
    """The most frequent time of a clock at which the first bar of a day begins."""
    local = pd.Series(times.tz_convert(zone).tz_localize(None))
    first = local.groupby(local.dt.normalize()).min()
    usual: pd.Timedelta = (first - first.dt.normalize()).mode().iloc[0]
    return usual


def _calendars(times: pd.DatetimeIndex, timeframe: str) -> list[Calendar]:
    """Those that can fit: bars on most Saturdays are of a market that never closes, bars at night of currencies."""
    if times.max() - times.min() < 7 * _DAY:
        return [ALWAYS_OPEN, *_ROUND_THE_CLOCK, *_EXCHANGES]
    if (times.weekday == 5).sum() > 0.05 * len(times):
        return [ALWAYS_OPEN]
    if timeframe == "1d":
        return [*_EXCHANGES, *_ROUND_THE_CLOCK]
    many = len(times.hour.unique()) > _HOURS_OF_A_SESSION
    return [*_ROUND_THE_CLOCK, _EXTENDED] if many else [*_EXCHANGES, ALWAYS_OPEN]


def _unlike(calendar: Calendar, timeframe: str, times: pd.DatetimeIndex) -> float:
    if times.empty:
        return 1.0
    try:
        due = expected_open_times(calendar, timeframe, times.min().normalize(), times.max().normalize() + _DAY)
    except ValueError:
        return 1.0
    due = due[(due >= times.min()) & (due <= times.max())]
    both = len(due.intersection(times))
    return 1.0 - both / (len(due) + len(times) - both)
