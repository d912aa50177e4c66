"""How often market data and signals are brought up to date if the settings name no cron: as often as bars close.

What a tick then asks for is automation/tick_requests.py.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from quantum_training.market.calendars import ALWAYS_OPEN
from quantum_training.market.timeframe import to_timedelta
from quantum_training.settings.schema import Symbol

MINUTE, HOUR, DAY = pd.Timedelta(minutes=1), pd.Timedelta(hours=1), pd.Timedelta(days=1)
SESSION_GRID = pd.Timedelta(minutes=30)
"""Exchanges open on the hour or at half past it, in UTC. If one opens at a quarter, its bars come 15 minutes later."""

RETRY_HOURS = 4
"""Hours after which daily bars that could not be fetched are asked for again."""


def refresh_interval(market: Symbol) -> pd.Timedelta:
    """The longest interval at whose ends, counted from 00:00 UTC, every bar of the market closes.

    A day, also for longer bars, or hours or minutes that divide a day or an hour. Bars of an exchange begin with its
    session, not at 00:00.
    """
    timeframe = to_timedelta(market.timeframe)
    if timeframe >= DAY:
        return DAY
    if market.calendar != ALWAYS_OPEN:
        return _common(timeframe, SESSION_GRID)
    return timeframe if timeframe >= HOUR and not timeframe % HOUR else _common(timeframe, HOUR)


def market_data_cron(markets: Iterable[Symbol]) -> str:
    """A minute after each hour, or after the bars of a shorter timeframe close; for daily bars 00:30 and later again.

    Ticks between the closes of a market are there for what the one before could not bring.
    """
    shortest = min(map(refresh_interval, markets))
    if shortest == DAY:
        return f"30 */{RETRY_HOURS} * * *"
    return "1 * * * *" if shortest >= HOUR else _minutes(shortest // MINUTE, 1)


def signals_cron(markets: Iterable[Symbol]) -> str:
    """Some minutes after the market data: each hour, or as often as bars close."""
    shortest = min(map(refresh_interval, markets))
    return "5 * * * *" if shortest >= HOUR else _minutes(shortest // MINUTE, 5)


def _minutes(step: int, offset: int) -> str:
    """Cron of every `step` minutes, `offset` minutes later if that is less than a step."""
    first = min(offset, step - 1)
    return f"{first}-59/{step} * * * *" if first else f"*/{step} * * * *"


def _common(one: pd.Timedelta, other: pd.Timedelta) -> pd.Timedelta:
    """The longest time that divides both."""
    while other:
        one, other = other, one % other
    return one
