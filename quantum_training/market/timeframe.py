"""Timeframes: the spacing of bars, as `1h` or `1d`. Calendars live in calendars.py."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import pandas as pd
from pydantic import AfterValidator

_UNITS: dict[str, Literal["min", "h", "D"]] = {"m": "min", "h": "h", "d": "D"}
_PATTERN = re.compile(r"[1-9][0-9]{0,3}[mhd]")


def _validate(value: str) -> str:
    if not _PATTERN.fullmatch(value) or pd.Timedelta("1D") % to_timedelta(value) != pd.Timedelta(0):
        raise ValueError(f"{value!r} is no timeframe; allowed: a number of m, h or d that divides a day, as 5m, 1h, 1d")
    return value


Timeframe = Annotated[str, AfterValidator(_validate)]


def to_timedelta(timeframe: str) -> pd.Timedelta:
    """Length of one bar: `to_timedelta("1h") == pd.Timedelta(hours=1)`."""
    return pd.Timedelta(int(timeframe[:-1]), _UNITS[timeframe[-1]])


def close_times(open_times: pd.DatetimeIndex, timeframe: str) -> pd.DatetimeIndex:
    """When each bar is known: its open_time plus one timeframe. A daily bar of an exchange is known at 00:00 UTC."""
    return open_times + to_timedelta(timeframe)


def known_at(frame: pd.DataFrame, as_of: pd.Timestamp, timeframe: str) -> pd.DataFrame:
    """The rows of a bar-indexed frame that are closed at `as_of` (close time <= as_of)."""
    return frame.loc[: as_of - to_timedelta(timeframe)]
