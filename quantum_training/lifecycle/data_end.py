"""How far a symbol's data reach, and the newest week that they allow. Whoever needs "the latest" asks here."""

from __future__ import annotations

import pandas as pd

from quantum_training.market.periods import WEEK, week_of
from quantum_training.settings import Settings

DAY = pd.Timedelta(days=1)


def data_end(settings: Settings, symbol: str, now: pd.Timestamp) -> pd.Timestamp:
    """The time up to which a symbol has bars at `now`: the end of its source, or of the settings' last day."""
    market = settings.symbols[symbol]
    available = market.source.available_until(symbol, market.timeframe, now)
    return min(available, pd.Timestamp(settings.end, tz="UTC") + DAY) if settings.end else available


def newest_week(settings: Settings, symbol: str, now: pd.Timestamp) -> pd.Timestamp:
    """The newest Monday at which a symbol's data are known, among the weeks that have a partition."""
    return min(week_of(data_end(settings, symbol, now)), _last_week(settings, now))


def newest_possible_as_of(settings: Settings, stored_until: pd.Timestamp) -> pd.Timestamp:
    """The newest time that lies in a week with a partition, given the time up to which bars are stored."""
    return min(stored_until, _last_week(settings, stored_until) + WEEK - pd.Timedelta("1s"))


def _last_week(settings: Settings, now: pd.Timestamp) -> pd.Timestamp:
    return week_of(pd.Timestamp(settings.end, tz="UTC")) if settings.end else week_of(now)
