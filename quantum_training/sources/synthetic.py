"""Source `synthetic`: seeded candles with calm and turbulent spells and fat tails, on a 24/7 grid. No market's data.

The same seed, symbol and timeframe always give the same bars, whatever range is asked for.
"""

from __future__ import annotations

import hashlib
from datetime import date
from functools import lru_cache

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from quantum_training.market.schema import as_candles
from quantum_training.market.timeframe import ceil, to_timedelta
from quantum_training.sources.base import CandleSource, closed_between

DAY = pd.Timedelta(days=1)
DAYS_PER_YEAR = 365.0
DAILY_VOLUME = 1e6
TAIL_LIMIT = 20.0


class Source(CandleSource):
    """A log price that moves by Student-t steps; a two-state Markov chain switches its volatility."""

    not_identifying = frozenset({"end"})  # a later end only adds bars

    seed: int = Field(7, ge=0, le=2**32 - 1, description="Another seed gives another market.")
    start: date = Field(
        date(2015, 1, 1), ge=date(1970, 1, 1), lt=date(2100, 1, 1), description="Day of the first bar, UTC."
    )
    end: date | None = Field(
        None, le=date(2100, 1, 1), description="Day after the last bar, as a recording has one; null: a live market."
    )
    start_price: float = Field(100.0, ge=1e-3, le=1e9, description="Open of the first bar.")
    annual_drift: float = Field(0.05, ge=-1, le=1, description="Drift of the log price a year.")
    calm_volatility: float = Field(
        0.15, gt=0, le=2, description="Standard deviation of a year's log return while calm."
    )
    turbulent_volatility: float = Field(0.45, gt=0, le=2, description="The same while turbulent.")
    switch_probability: float = Field(0.02, ge=0, le=0.5, description="Chance a day that calm turns turbulent or back.")
    tail_degrees_of_freedom: float = Field(4.0, gt=2, le=100, description="Of the Student t: lower means fatter tails.")

    @model_validator(mode="after")
    def _ends_after_start(self) -> Source:
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end {self.end} must be after start {self.start}")
        return self

    def fetch(
        self, symbol: str, timeframe: str, start: pd.Timestamp, end: pd.Timestamp, now: pd.Timestamp
    ) -> pd.DataFrame:
        """See CandleSource. Never raises; outside [start, end) of the options there are no bars."""
        # Whole years, so that the months of one year share one cached simulation.
        last = self.end or date(max(min(end, now).year, self.start.year) + 1, 1, 1)
        closed_until = self.available_until(symbol, timeframe, now)
        return closed_between(_simulate(self, symbol, timeframe, last), timeframe, start, end, closed_until)

    def available_until(self, symbol: str, timeframe: str, now: pd.Timestamp) -> pd.Timestamp:
        """`now`, or the option `end` if that is earlier."""
        return now if self.end is None else min(now, pd.Timestamp(self.end, tz="UTC"))


@lru_cache(maxsize=4)
def _simulate(source: Source, symbol: str, timeframe: str, last: date) -> pd.DataFrame:
    """Bars of [source.start, last). A later `last` only adds bars: each quantity has its own stream of numbers.

    High and low are drawn from the law of a Brownian bridge's maximum: for a path that starts at 0, ends at x and has
    variance v, the maximum is (x + sqrt(x^2 - 2 v ln U)) / 2 with U uniform (Karatzas and Shreve, 1991, 4.3.40).
    """
    step = to_timedelta(timeframe)
    first = ceil(pd.Timestamp(source.start, tz="UTC"), timeframe)
    times = pd.date_range(first, pd.Timestamp(last, tz="UTC"), freq=step, inclusive="left")
    digest = hashlib.sha256(f"{symbol}|{timeframe}".encode()).digest()
    roots = np.random.SeedSequence([source.seed, *np.frombuffer(digest, "<u4").tolist()]).spawn(5)
    switches, shocks, tops, bottoms, volumes = (np.random.default_rng(root) for root in roots)
    n, dof = len(times), source.tail_degrees_of_freedom
    bar_days = step / DAY

    turbulent = np.cumsum(switches.random(n) < 1 - (1 - source.switch_probability) ** bar_days) % 2 == 1
    annual = np.where(turbulent, source.turbulent_volatility, source.calm_volatility)
    deviation = annual * np.sqrt(bar_days / DAYS_PER_YEAR)
    shock = np.clip(shocks.standard_t(dof, n) / np.sqrt(dof / (dof - 2)), -TAIL_LIMIT, TAIL_LIMIT)
    move = source.annual_drift * bar_days / DAYS_PER_YEAR + deviation * shock

    def reach(stream: np.random.Generator) -> np.ndarray:
        return np.sqrt(move**2 - 2 * deviation**2 * np.log1p(-stream.random(n)))

    closes = source.start_price * np.exp(np.cumsum(move))
    opens = np.concatenate([[source.start_price], closes[:-1]])
    body_top, body_bottom = np.maximum(opens, closes), np.minimum(opens, closes)
    activity = np.exp(0.4 * volumes.standard_normal(n)) * (0.5 + np.abs(shock)) * annual / source.calm_volatility
    return as_candles(
        pd.DataFrame(
            {
                "open": opens,
                "high": np.maximum(body_top, opens * np.exp((move + reach(tops)) / 2)),
                "low": np.minimum(body_bottom, opens * np.exp((move - reach(bottoms)) / 2)),
                "close": closes,
                "volume": DAILY_VOLUME * bar_days * activity,
            },
            index=times,
        )
    )
