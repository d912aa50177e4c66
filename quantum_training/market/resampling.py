"""Longer bars made of shorter ones, each within its session. What may be wrong with the shorter ones is judged here.

A bar covers the time from its start to its end, or to the close or break of its session if that is earlier; a daily bar
covers its whole session. Shorter bars outside of the sessions are left out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.market.calendar_settings import ALWAYS_OPEN, Calendar, CustomCalendar
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.schema import COLUMNS, PRICES, as_candles, empty_candles, passes
from quantum_training.market.sessions import Sessions, sessions_covering
from quantum_training.market.timeframe import floor, to_timedelta

_DAY = pd.Timedelta(days=1)
_NEAR = 4 * _DAY


class Resampled(NamedTuple):
    """bars: by their starts. ends: when the last of the time that each covers is over, UTC. outside: shorter bars left
    out, as they lie in no session."""

    bars: pd.DataFrame
    ends: pd.DatetimeIndex
    outside: int


def resampled(bars: pd.DataFrame, calendar: Calendar, timeframe: str) -> Resampled:
    """Open of the first, high, low, close of the last and the sum of volume of the shorter bars in each bar.

    A bar without any is left out. bars: strictly increasing by start, see `unusable`. ValueError if the calendar does
    not have these years.
    """
    stamps = pd.DatetimeIndex(bars.index)
    if stamps.empty:
        return Resampled(empty_candles(), stamps, 0)
    starts, ends, inside = _places(stamps, calendar, timeframe)
    first = np.flatnonzero(np.r_[True, starts[1:] != starts[:-1]]) if len(starts) else np.empty(0, int)
    values = bars[inside][list(COLUMNS)].to_numpy().T
    last = np.r_[first[1:], len(starts)] - 1
    made = {
        "open": values[0][first],
        "high": np.maximum.reduceat(values[1], first) if len(first) else values[1],
        "low": np.minimum.reduceat(values[2], first) if len(first) else values[2],
        "close": values[3][last] if len(first) else values[3],
        "volume": np.add.reduceat(values[4], first) if len(first) else values[4],
    }
    frame = as_candles(pd.DataFrame(made, index=pd.DatetimeIndex(starts[first], tz="UTC")))
    return Resampled(frame, pd.DatetimeIndex(ends[first], tz="UTC"), int((~inside).sum()))


def unusable(bars: pd.DataFrame) -> pd.DatetimeIndex:
    """Shorter bars of which no longer one can be made: not later than the one before, or with impossible values."""
    if bars.empty or passes(bars):
        return pd.DatetimeIndex([], tz="UTC")
    values = bars[list(COLUMNS)].to_numpy()
    stamps = pd.DatetimeIndex(bars.index)
    open_, high, low, close, volume = values.T
    wrong = ~np.isfinite(values).all(axis=1) | (values[:, : len(PRICES)] <= 0).any(axis=1) | (volume < 0)
    wrong |= (np.maximum(open_, close) > high * (1 + 1e-9)) | (np.minimum(open_, close) < low * (1 - 1e-9))
    latest = np.maximum.accumulate(stamps.asi8)
    wrong |= np.r_[False, stamps.asi8[1:] <= latest[:-1]]
    unusable_stamps: pd.DatetimeIndex = stamps[wrong]
    return unusable_stamps


def _places(stamps: pd.DatetimeIndex, calendar: Calendar, timeframe: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start and end of the bar in which each shorter bar lies, int64 ns, of those in a session; and which these are."""
    times, step = stamps.as_unit("ns").asi8, to_timedelta(timeframe)
    if calendar == ALWAYS_OPEN:
        starts = floor(stamps, timeframe).as_unit("ns").asi8
        return starts, starts + step.value, np.ones(len(times), bool)
    sessions = sessions_covering(calendar, stamps.min() - _NEAR, stamps.max() + _NEAR)
    span = np.searchsorted(sessions.opens, times, side="right") - 1
    inside = (span >= 0) & (times < sessions.closes[span])
    span, times = span[inside], times[inside]
    if step == _DAY and not (isinstance(calendar, CustomCalendar) and calendar.align != "session"):
        session = sessions.session[span]
        return sessions.labels.as_unit("ns").asi8[session], _closes(sessions)[session], inside
    grid = expected_open_times(calendar, timeframe, stamps.min() - _NEAR, stamps.max() + _NEAR).asi8
    starts = grid[np.searchsorted(grid, times, side="right") - 1]
    return starts, np.minimum(starts + step.value, np.maximum(sessions.closes[span], times)), inside


def _closes(sessions: Sessions) -> np.ndarray:
    """The close of each session, after its last span."""
    closes = np.zeros(len(sessions.labels), "int64")
    np.maximum.at(closes, sessions.session, sessions.closes)
    return closes
