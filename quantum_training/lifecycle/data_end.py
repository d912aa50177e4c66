"""How far a symbol's data reach, and the newest week that they allow. Whoever needs "the latest" asks here."""

from __future__ import annotations

import pandas as pd

from quantum_training.market.periods import WEEK, week_of
from quantum_training.settings import Settings

DAY = pd.Timedelta(days=1)


def data_end(settings: Settings, symbol: str, now: pd.Timestamp) -> pd.Timestamp:
    """The time up to which a symbol has bars at `now`: the end of its source, or of its last day in the settings."""
    market, last_day = settings.symbols[symbol], settings.last_day(symbol)
    available = market.source.available_until(symbol, market.timeframe, now)
    return min(available, pd.Timestamp(last_day, tz="UTC") + DAY) if last_day else available


def newest_week(settings: Settings, symbol: str, now: pd.Timestamp) -> pd.Timestamp:
    """The newest Monday at which a symbol's data are known, among the weeks that have a partition."""
    return min(week_of(data_end(settings, symbol, now)), _last_week(settings, symbol, now))


def newest_possible_as_of(settings: Settings, symbol: str, stored_until: pd.Timestamp) -> pd.Timestamp:
    """The newest time that lies in a week with a partition, given the time up to which bars are stored."""
    return min(stored_until, _last_week(settings, symbol, stored_until) + WEEK - pd.Timedelta("1s"))


def _last_week(settings: Settings, symbol: str, now: pd.Timestamp) -> pd.Timestamp:
    last_day = settings.last_day(symbol)
    return week_of(pd.Timestamp(last_day, tz="UTC")) if last_day else week_of(now)
