"""Reads the candles that a caller sends with a request and refuses what a decision cannot be made from, by name.

They come as people send them: whole numbers, texts of numbers, times as an index or a column. Nothing is repaired.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from quantum_training.market.calendar_settings import Calendar
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.schema import COLUMNS, PRICES, ROUNDING, as_candles, passes
from quantum_training.market.timeframe import to_timedelta

OPEN_TIME = "open_time"
NAMED = 5
"""Bars that a message names."""
CLOCK_SKEW = pd.Timedelta(10, "s")
"""How far the clock of this machine may be behind that of the venue."""
_ZONE = r"(?:Z|UTC|[+-]\d\d:?\d\d)$"
_MILLISECONDS = (1e11, 1e13)
"""Unix times in milliseconds from 1973 to 2286; no other unit has such numbers for these years."""


class CallerError(ValueError):
    """A request that cannot be answered. The message names the symbol, the bar, the rule and what to do."""


def read_candles(
    frame: pd.DataFrame, symbol: str, timeframe: str, calendar: Calendar, accepted: Sequence[str]
) -> pd.DataFrame:
    """The candles of a request, as market.schema has them. CallerError if a bar breaks a rule.

    accepted: open times of bars that are missing, or that the calendar does not expect, in truth.
    """
    candles = as_candles(numbers(frame, COLUMNS, symbol).set_axis(open_times(frame, symbol)))
    times = pd.DatetimeIndex(candles.index)
    if not len(candles):
        raise CallerError(f"{symbol}: no bar was sent; send {', '.join(COLUMNS)} with a row per bar")
    _check_order(times, symbol)
    if not passes(candles):
        _check_values(candles, symbol)
    now = pd.Timestamp.now("UTC")
    if (closes := times[-1] + to_timedelta(timeframe)) > now + CLOCK_SKEW:
        raise _refusal(symbol, times[-1:], "closed", f"closes at {closes:%Y-%m-%d %H:%M} only", "leave it out")
    expected = expected_open_times(calendar, timeframe, times[0], times[-1] + pd.Timedelta(1, "ns"))
    allowed = _utc(pd.Index(accepted), symbol, "accepted_bars")
    remedy = "name it in params accepted_bars if that is what really happened"
    if len(extra := times.difference(expected).difference(allowed)):
        problem = f"no bar of {timeframe} begins then on calendar {calendar}"
        raise _refusal(symbol, extra, "off_calendar", problem, f"leave it out, or {remedy}")
    if len(missing := expected.difference(times).difference(allowed)):
        problem = f"missing between {times[0]:%Y-%m-%d %H:%M} and {times[-1]:%Y-%m-%d %H:%M}"
        raise _refusal(symbol, missing, "missing_bars", problem, f"send it, or {remedy}")
    return candles


def open_times(frame: pd.DataFrame, symbol: str) -> pd.DatetimeIndex:
    """When each row opens, UTC: from the column `open_time`, or else from the index. CallerError if neither says it."""
    if OPEN_TIME in frame:
        return _utc(pd.Index(frame[OPEN_TIME]), symbol, OPEN_TIME)
    if isinstance(frame.index, pd.RangeIndex) or frame.index.nlevels > 1:
        raise CallerError(
            f"{symbol}: nothing says when the bars open; send a column {OPEN_TIME} (as 2024-01-08T13:00:00Z, or Unix "
            "milliseconds), or an index of UTC times"
        )
    return _utc(frame.index, symbol, "the index")


def numbers(frame: pd.DataFrame, columns: Sequence[str], symbol: str) -> pd.DataFrame:
    """These columns as float64. CallerError for one that is absent or holds something else; a null becomes NaN."""
    if absent := [column for column in columns if column not in frame]:
        raise CallerError(f"{symbol}: column {', '.join(absent)} is missing; the version reads {', '.join(columns)}")
    read = {}
    for column in columns:
        try:
            read[column] = pd.to_numeric(frame[column]).astype("float64").to_numpy()
        except (ValueError, TypeError) as error:
            raise CallerError(f"{symbol}: column {column} holds no numbers: {error}; send numbers") from None
    return pd.DataFrame(read, frame.index, list(columns))


def _utc(values: pd.Index, symbol: str, where: str) -> pd.DatetimeIndex:
    zone = f"{symbol}: {where} has times without a time zone; send UTC, as 2024-01-08T13:00:00Z"
    if not len(values):
        return pd.DatetimeIndex([], tz="UTC").as_unit("ns")
    if isinstance(values, pd.DatetimeIndex):
        if values.tz is None:
            raise CallerError(zone)
        return values.tz_convert("UTC").as_unit("ns")
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        lowest, highest = _MILLISECONDS
        if not values.to_series().between(lowest, highest).all():
            raise CallerError(f"{symbol}: {where} holds {values[0]}, which is no Unix time in milliseconds; send that")
        return pd.DatetimeIndex(pd.to_datetime(values.astype("int64"), unit="ms", utc=True)).as_unit("ns")
    texts = values.map(str)
    if not texts.str.contains(_ZONE).all():
        without = texts[~texts.str.contains(_ZONE)][0]
        raise CallerError(f"{zone} (the first is {without!r})")
    try:
        return pd.DatetimeIndex(pd.to_datetime(texts, utc=True, format="ISO8601")).as_unit("ns")
    except ValueError as error:
        problem = str(error).splitlines()[0]
        raise CallerError(f"{symbol}: {where} holds no times: {problem}; send them as 2024-01-08T13:00:00Z") from None


def _check_order(times: pd.DatetimeIndex, symbol: str) -> None:
    if times.hasnans:
        raise CallerError(f"{symbol}: row {int(np.flatnonzero(times.isna())[0])} has no open time; send one for each")
    if len(twice := times[times.duplicated()]):
        raise _refusal(symbol, twice, "strictly_increasing", "there twice", "send each bar once")
    late = np.flatnonzero(np.diff(times.asi8) < 0)
    if len(late):
        problem = f"after {times[late[0]]:%Y-%m-%d %H:%M}"
        raise _refusal(symbol, times[late + 1], "strictly_increasing", problem, "sort the bars by time")


def _check_values(candles: pd.DataFrame, symbol: str) -> None:
    """CallerError for the first rule of market.schema.candle_schema that a bar breaks."""
    low, high = candles["low"], candles["high"]

    def outside(column: str) -> Any:
        return (candles[column] < low * (1 - ROUNDING)) | (candles[column] > high * (1 + ROUNDING))

    rules: dict[str, Callable[[], Any]] = {
        "finite": lambda: ~np.isfinite(candles).all(axis=1),
        "positive_price": lambda: (candles[list(PRICES)] <= 0).any(axis=1),
        "volume_not_negative": lambda: candles["volume"] < 0,
        "open_in_range": lambda: outside("open"),
        "close_in_range": lambda: outside("close"),
    }
    for rule, breaks in rules.items():
        if (wrong := breaks()).any():
            bar = candles[wrong].iloc[0]
            values = ", ".join(f"{name} {value:g}" for name, value in bar.items())
            raise _refusal(
                symbol, pd.DatetimeIndex(candles.index[wrong]), rule, f"the first has {values}", "send what was traded"
            )


def _refusal(symbol: str, bars: pd.DatetimeIndex, rule: str, problem: str, remedy: str) -> CallerError:
    """The error for the first of these bars, with the number of the others."""
    named = ", ".join(f"{bar:%Y-%m-%d %H:%M}" for bar in bars[:NAMED])
    more = f" and {len(bars) - NAMED} more" if len(bars) > NAMED else ""
    return CallerError(f"{symbol}: bar {named}{more} breaks {rule}: {problem}; {remedy}")
