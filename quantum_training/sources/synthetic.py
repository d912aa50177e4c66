"""Source `synthetic`: seeded candles with calm and turbulent spells and fat tails, on a 24/7 grid. No market's data.

The same seed, symbol and timeframe always give the same bars, whatever range is asked for.
"""

from __future__ import annotations

import hashlib
import math
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
VOLUME_RESPONSE = 0.5
"""Log volume that one standard deviation of the signal adds: more, and the quality gate sees switches of units."""
SIGNAL_MEMORY = 0.8
"""Lag-1 autocorrelation of the signal behind an edge: a half-life of 3 bars."""


class Source(CandleSource):
    """A log price that moves by Student-t steps; a two-state Markov chain switches its volatility.

    With an `edge` the next bar's return can be foretold from unusual volume, as on real markets (Gervais, Kaniel and
    Mingelgrin, 2001). A signal s, a Gaussian AR(1) of variance 1, multiplies a bar's volume by exp(s / 2) and makes the
    next bar's log return sigma (k s + sqrt(1 - k^2) e). e is the shock without an edge, so the volatility stays.

    The best position in [0, 1] is to be long while s > 0. Its return has the mean k sigma E[max(s, 0)] = k sigma /
    sqrt(2 pi). Its second moment is sigma^2 / 2, for half of the bars are held and s^2 has the mean 1 on them, too. So
    edge = mean / deviation = k / sqrt(pi - k^2) and k = edge sqrt(pi / (1 + edge^2)), before drift and costs, in one
    state of the volatility, and whatever the tails of the shocks.
    """

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
    edge: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Information ratio a bar of the best long or flat position, before costs; 0: nothing to foretell.",
    )
    edge_until: date | None = Field(
        None, description="Day, UTC, from whose first bar on the edge is gone; null: never."
    )

    @model_validator(mode="after")
    def _ends_after_start(self) -> Source:
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end {self.end} must be after start {self.start}")
        if self.edge_until is not None and not (self.edge and self.edge_until > self.start):
            raise ValueError(f"edge_until {self.edge_until} needs an edge above 0 and must be after start {self.start}")
        return self

    def fetch(
        self, symbol: str, timeframe: str, start: pd.Timestamp, end: pd.Timestamp, now: pd.Timestamp
    ) -> pd.DataFrame:
        """See CandleSource. Never raises; outside [start, end) of the options there are no bars."""
        # Whole years, so that the months of one year share one cached simulation.
        last = self.end or date(max(min(end, now).year, self.start.year) + 1, 1, 1)
        closed_until = self.available_until(symbol, timeframe, now)
        return closed_between(_simulate(self, symbol, timeframe, last), timeframe, start, end, closed_until)

    @property
    def signal_weight(self) -> float:
        """k: the share of a bar's standard deviation that one standard deviation of the signal moves it by."""
        return self.edge * math.sqrt(math.pi / (1 + self.edge**2))

    def known_edge(self, periods: float) -> str:
        """See CandleSource."""
        if not self.edge:
            return "Sharpe 0 before costs"
        until = f" until {self.edge_until}, then 0" if self.edge_until else ""
        return f"Sharpe {self.edge * math.sqrt(periods):.1f} before costs{until}"

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
    roots = np.random.SeedSequence([source.seed, *np.frombuffer(digest, "<u4").tolist()]).spawn(6)
    switches, shocks, tops, bottoms, volumes, signals = (np.random.default_rng(root) for root in roots)
    n, dof = len(times), source.tail_degrees_of_freedom
    bar_days = step / DAY

    turbulent = np.cumsum(switches.random(n) < 1 - (1 - source.switch_probability) ** bar_days) % 2 == 1
    annual = np.where(turbulent, source.turbulent_volatility, source.calm_volatility)
    deviation = annual * np.sqrt(bar_days / DAYS_PER_YEAR)
    shock = np.clip(shocks.standard_t(dof, n) / np.sqrt(dof / (dof - 2)), -TAIL_LIMIT, TAIL_LIMIT)
    if source.edge:
        signal = _autoregressive(signals.standard_normal(n))
        signal_before = np.concatenate([[0.0], signal[:-1]]) * (times < _midnight(source.edge_until or last))
        weight = source.signal_weight * (signal_before != 0)
        shock = weight * signal_before + np.sqrt(1 - weight**2) * shock
    move = source.annual_drift * bar_days / DAYS_PER_YEAR + deviation * shock

    def reach(stream: np.random.Generator) -> np.ndarray:
        return np.sqrt(move**2 - 2 * deviation**2 * np.log1p(-stream.random(n)))

    closes = source.start_price * np.exp(np.cumsum(move))
    opens = np.concatenate([[source.start_price], closes[:-1]])
    body_top, body_bottom = np.maximum(opens, closes), np.minimum(opens, closes)
    activity = np.exp(0.4 * volumes.standard_normal(n)) * (0.5 + np.abs(shock)) * annual / source.calm_volatility
    if source.edge:
        activity *= np.exp(VOLUME_RESPONSE * signal)
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


def _autoregressive(shocks: np.ndarray) -> np.ndarray:
    """s_t = SIGNAL_MEMORY s_{t-1} + shock, scaled to a variance of 1, (bars,)."""
    from scipy.signal import lfilter

    scaled = shocks * np.where(np.arange(len(shocks)), math.sqrt(1 - SIGNAL_MEMORY**2), 1.0)
    signal: np.ndarray = lfilter([1.0], [1.0, -SIGNAL_MEMORY], scaled)
    return signal


def _midnight(day: date) -> pd.Timestamp:
    return pd.Timestamp(day, tz="UTC")
