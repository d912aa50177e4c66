"""Days on which the bars of a symbol and its calendar say something unusual."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.market.calendars import ALWAYS_OPEN, expected_open_times
from quantum_training.market.timeframe import to_timedelta
from quantum_training.settings.schema import Symbol

_DAY = pd.Timedelta(days=1)
_HOURS_OF_A_SESSION = 20
"""With more, sessions go over midnight, and no date is one of them."""


class SpecialSessions(NamedTuple):
    """Dates, UTC. unknown: bars, but no session of the calendar. absent: a session, but no bar.

    short: sessions that the calendar has shorter than usual, and that have all their bars.
    """

    unknown: list[str]
    absent: list[str]
    short: list[str]


def special_sessions(market: Symbol, bars: pd.DataFrame) -> SpecialSessions:
    """The unusual days among those that the bars span. ValueError if the calendar does not have these years."""
    stamps = pd.DatetimeIndex(bars.index)
    if market.calendar == ALWAYS_OPEN or stamps.empty:
        return SpecialSessions([], [], [])
    due = expected_open_times(
        market.calendar, market.timeframe, stamps.min().normalize(), stamps.max().normalize() + _DAY
    )
    days = due.normalize()
    got = pd.Series(np.asarray(due.isin(stamps)), days).groupby(level=0).agg(["sum", "size"])
    short = got["size"] < got["size"].mode().max()
    if to_timedelta(market.timeframe) == _DAY or len(due.hour.unique()) > _HOURS_OF_A_SESSION:
        short[:] = False
    return SpecialSessions(
        _dates(stamps.normalize().difference(days)),
        _dates(got.index[got["sum"] == 0]),
        _dates(got.index[short & (got["sum"] == got["size"])]),
    )


def _dates(days: pd.Index) -> list[str]:
    return [f"{day:%Y-%m-%d}" for day in pd.DatetimeIndex(days)]
