"""Timeframes: the spacing of bars, as `1h` or `1w`, and the grid on which they begin. Calendars live in calendars.py.

Bars that divide a day begin with it, in UTC. `1w` is a week from Monday 00:00 UTC on, `1w from Thursday` one that
begins on another day; `3d` begins every third day from 1970-01-01 on, `3d from 1970-01-02` a day later.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from typing import Annotated, Literal, overload

import pandas as pd
from pydantic import AfterValidator

DAY = pd.Timedelta(days=1)
_UNITS: dict[str, Literal["min", "h", "D", "W"]] = {"m": "min", "h": "h", "d": "D", "w": "W"}
_PATTERN = re.compile(r"[1-9][0-9]{0,3}[mhd]")
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_CLOCK = r"(?: (?P<clock>[01][0-9]:[0-5][0-9]|2[0-3]:[0-5][0-9]))?"
_WEEKS = re.compile(rf"1w(?: from (?P<day>{'|'.join(_WEEKDAYS)}){_CLOCK})?")
_THREE_DAYS = re.compile(rf"3d(?: from (?P<day>[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}){_CLOCK})?")
_EPOCH = pd.Timestamp(0, tz="UTC")
_MONDAY = pd.Timestamp("1970-01-05", tz="UTC")


def _validate(value: str) -> str:
    if _PATTERN.fullmatch(value) and not DAY % to_timedelta(value):
        return value
    with suppress(ValueError):  # a date that does not exist
        if not _PATTERN.fullmatch(value) or value == "3d":
            grid_origin(value)
            return value
    raise ValueError(
        f"{value!r} is no timeframe; allowed: a number of m, h or d that divides a day, as 5m, 1h, 1d; 3d; 1w; if bars "
        "begin on other days, as 1w from Thursday, 3d from 1970-01-02"
    )


Timeframe = Annotated[str, AfterValidator(_validate)]


def length_of(timeframe: str) -> str:
    """How long bars are, without the day on which they begin: `1w` of `1w from Thursday`."""
    return timeframe.partition(" ")[0]


def to_timedelta(timeframe: str) -> pd.Timedelta:
    """Length of one bar: `to_timedelta("1h") == pd.Timedelta(hours=1)`."""
    length = length_of(timeframe)
    return pd.Timedelta(int(length[:-1]), _UNITS[length[-1]])


@lru_cache(maxsize=64)
def grid_origin(timeframe: str) -> pd.Timestamp:
    """The start of one bar, within a bar's length of 1970-01-01 or 1970-01-05. ValueError if it is no timeframe."""
    if match := _WEEKS.fullmatch(timeframe):
        begin = _MONDAY + _WEEKDAYS.index(match["day"] or "Monday") * DAY
    elif match := _THREE_DAYS.fullmatch(timeframe):
        begin = pd.Timestamp(match["day"] or _EPOCH.date(), tz="UTC")
        begin = _EPOCH + (begin - _EPOCH) % (3 * DAY)
    elif _PATTERN.fullmatch(timeframe):
        return _EPOCH
    else:
        raise ValueError(f"{timeframe!r} is no timeframe")
    clock: pd.Timestamp = begin + pd.Timedelta(f"{match['clock'] or '00:00'}:00")
    return clock


@overload
def floor(times: pd.Timestamp, timeframe: str) -> pd.Timestamp: ...
@overload
def floor(times: pd.DatetimeIndex, timeframe: str) -> pd.DatetimeIndex: ...
def floor(times: pd.Timestamp | pd.DatetimeIndex, timeframe: str) -> pd.Timestamp | pd.DatetimeIndex:
    """The newest bar starts at or before UTC times, on the grid of a market that never closes."""
    origin = grid_origin(timeframe)
    return origin + (times - origin).floor(to_timedelta(timeframe))


def ceil(time: pd.Timestamp, timeframe: str) -> pd.Timestamp:
    """The first bar start at or after a UTC time, on the same grid."""
    origin = grid_origin(timeframe)
    start: pd.Timestamp = origin + (time - origin).ceil(to_timedelta(timeframe))
    return start


def beginning_at(timeframe: str, time: pd.Timestamp) -> str:
    """The timeframe of `3d` or `1w` bars of which one begins at a UTC time, as the settings have it."""
    length, clock = length_of(timeframe), time - time.normalize()
    if length == "1w":
        is_usual, day = time.weekday() == 0 and not clock, _WEEKDAYS[time.weekday()]
    else:
        first = _EPOCH + (time - _EPOCH) % (3 * DAY)
        is_usual, day = first == _EPOCH, f"{first:%Y-%m-%d}"
    if is_usual:
        return length
    return f"{length} from {day}{f' {time:%H:%M}' if clock else ''}"


def opens_before(time: pd.Timestamp, timeframe: str) -> pd.Timestamp:
    """The time before which bars open that are closed at `time`, the start of a UTC day.

    That is `time` itself if bars divide a day; one of several days may open before it and close after it.
    """
    length = to_timedelta(timeframe)
    return time if length <= DAY else time - length + pd.Timedelta(1, "ns")


def close_times(open_times: pd.DatetimeIndex, timeframe: str) -> pd.DatetimeIndex:
    """When each bar is known: its open_time plus one timeframe. A daily bar of an exchange is known at 00:00 UTC."""
    return open_times + to_timedelta(timeframe)


def end_of_bars(start: pd.Timestamp, end: pd.Timestamp, timeframe: str) -> pd.Timestamp:
    """When the last bar that opens in [start, end), whole UTC days, is closed: `end` if bars divide a day."""
    return end if to_timedelta(timeframe) <= DAY else max(end, ceil(end, timeframe))


def closed_by(bars: pd.DataFrame, time: pd.Timestamp, timeframe: str) -> pd.DataFrame:
    """Bars in any order without those of several days that are not closed at a time. Shorter ones stay as they are."""
    opened = opens_before(time, timeframe)
    return bars if opened == time else bars[bars.index < opened]


def known_at(frame: pd.DataFrame, as_of: pd.Timestamp, timeframe: str) -> pd.DataFrame:
    """The rows of a bar-indexed frame that are closed at `as_of` (close time <= as_of)."""
    return frame.loc[: as_of - to_timedelta(timeframe)]
