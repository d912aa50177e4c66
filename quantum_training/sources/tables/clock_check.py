"""Whether the clock of a file was read right: the hours of a market show it when clocks are set.

A market keeps its hours in UTC, or moves them with the clock of New York, London or its own place. Whatever else its
hours do on the day on which a clock is set, comes from stamps that were read by the wrong one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.market.timeframe import to_timedelta
from quantum_training.sources.tables.zones import Zone, clock_changes

NEAR = pd.Timedelta(days=28)
MAX_TIMEFRAME = pd.Timedelta(hours=1)
"""Longer bars do not show an hour."""
_CLOCKS = ("America/New_York", "Europe/London")
_MIN_DAYS = 5
_MIN_LIKENESS = 0.7
_CLEARER = 3.0  # times as unlike is every other shift
_HOUR, _SHIFTS = pd.Timedelta(hours=1), range(-3, 4)


class Change(NamedTuple):
    """A clock that is set by `hours` at `time`."""

    clock: str
    time: pd.Timestamp
    hours: int


def changes_between(zone: Zone, start: pd.Timestamp, end: pd.Timestamp) -> list[Change]:
    """The changes in [start, end) of the clocks that many markets follow, and of the file's, oldest first."""
    clocks = dict.fromkeys((*_CLOCKS, zone.name))
    changes = [Change(c, time, hours) for c in clocks for time, hours in clock_changes(c, start, end).items()]
    return sorted(changes, key=lambda change: change.time)


def clock_findings(bars: pd.DataFrame, timeframe: str, zone: Zone, change: Change) -> Iterator[str]:
    """What is wrong with the hours of bars around a change, in sentences. bars: of 28 days on each side, if there are.

    Nothing is said of bars of more than an hour, of fewer than five days on a side, or without a clear profile.
    """
    others = [c.time for c in changes_between(zone, change.time - NEAR, change.time + NEAR)]
    first = max([t for t in others if t < change.time], default=change.time - NEAR)
    last = min([t for t in others if t > change.time], default=change.time + NEAR)
    sides = [bars.loc[first : change.time - pd.Timedelta("1ns")], bars.loc[change.time : last - pd.Timedelta("1ns")]]
    if to_timedelta(timeframe) > MAX_TIMEFRAME or any(
        pd.DatetimeIndex(s.index).normalize().nunique() < _MIN_DAYS for s in sides
    ):
        return
    opening = [_week_opening(bars, side) for side in sides]
    if None not in opening and opening[0] != opening[1]:
        yield f"the week opens at {opening[0]}:00 of New York before and at {opening[1]}:00 after"
        return
    moved = _shift(*sides)
    is_fixed = not clock_changes(zone.name, change.time - NEAR, change.time + NEAR)
    if moved is not None and moved not in (0, -change.hours):
        yield f"the hours of trading move by {moved:+d} h in UTC, and no market does so"
    elif moved == 0 and is_fixed and zone.name.startswith("Etc/GMT") and change.clock == _CLOCKS[0]:
        yield "the hours of trading stay where they are in UTC, as if market and clock had no summer time"


def _week_opening(bars: pd.DataFrame, side: pd.DataFrame) -> int | None:
    """The hour of New York at which the week mostly opens; None for a market that pauses at night, or never."""
    hours = np.unique(pd.DatetimeIndex(bars.index).as_unit("ns").asi8 // _HOUR.value)
    times = pd.DatetimeIndex(hours * _HOUR.value, tz="UTC")
    midweek = times[(times.dayofweek >= 1) & (times.dayofweek <= 3)]
    openings = times[1:][np.diff(hours) > 30]
    openings = openings[(openings >= side.index[0].floor("h")) & (openings <= side.index[-1])]
    if len(set(midweek.hour)) < 23 or not len(openings):
        return None
    return int(np.bincount(openings.tz_convert(_CLOCKS[0]).hour).argmax())


def _shift(before: pd.DataFrame, after: pd.DataFrame) -> int | None:
    """By how many hours the profile of a day moves, later being positive; None if that is not clear."""
    by_volume = bool(before["volume"].std() > 0 and after["volume"].std() > 0)
    profiles = [_profile(side, by_volume) for side in (before, after)]
    if any(profile.std() == 0 for profile in profiles):
        return None
    likeness = {s: float(np.corrcoef(profiles[0], np.roll(profiles[1], -s))[0, 1]) for s in _SHIFTS}
    best, second = sorted(likeness, key=lambda s: -likeness[s])[:2]
    clear = likeness[best] >= _MIN_LIKENESS and 1 - likeness[second] >= _CLEARER * (1 - likeness[best])
    return best if clear else None


def _profile(bars: pd.DataFrame, by_volume: bool) -> np.ndarray:
    """Mean activity of each hour of the UTC day: of volume, or of range if volume says nothing."""
    activity = (bars["volume"] if by_volume else bars["high"] / bars["low"] - 1).to_numpy("float64")
    typical = np.nanmedian(activity[activity > 0]) if (activity > 0).any() else 1.0
    logs = np.nan_to_num(np.log1p(activity / typical))
    return np.bincount(pd.DatetimeIndex(bars.index).hour, weights=logs, minlength=24)
