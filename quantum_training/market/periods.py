"""Weeks and months in UTC, and the key of a symbol's period. Their Dagster partitions live in partitions.py."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from quantum_training.market.calendar_settings import Calendar

MONTH = pd.DateOffset(months=1)
WEEK = pd.Timedelta(days=7)


class Key(NamedTuple):
    """One partition: a symbol and the UTC start of its period."""

    symbol: str
    start: pd.Timestamp

    def __str__(self) -> str:
        return f"{self.symbol}|{self.period}"

    @property
    def period(self) -> str:
        """The time part of the key, `YYYY-MM-DD`; the partition's file name in the store."""
        return self.start.strftime("%Y-%m-%d")


class MarketPeriod(NamedTuple):
    """A symbol's bars that open in [start, end), and the market that they come from.

    leaves_out_untraded, fills_untraded: whether its source is known to give no bar in which nobody traded, or a flat
    one of volume 0.
    """

    symbol: str
    timeframe: str
    calendar: Calendar
    start: pd.Timestamp
    end: pd.Timestamp
    leaves_out_untraded: bool = False
    fills_untraded: bool = False


def month_of(time: pd.Timestamp) -> str:
    """The first day, `YYYY-MM-01`, of the month that holds a UTC time."""
    return time.strftime("%Y-%m-01")


def week_of(time: pd.Timestamp) -> pd.Timestamp:
    """The Monday 00:00 that begins the week of a UTC time."""
    return (time - pd.Timedelta(days=time.weekday())).normalize()
