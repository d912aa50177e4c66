"""Simulated campaigns for promotion_rates.py: 26 weeks of hourly bars of a champion, its challengers and their market.

Recipes that share their variance: nine tenths of it, with Student's t shocks of 5 degrees of freedom and one GARCH(1,1)
volatility of 0.5 % a bar. The champion has a Sharpe ratio of 0.03 a bar; the market earns nothing and moves on its own.
A challenger is better or worse by its information ratio (IR) a bar: mean over standard deviation of its difference to
the champion. Each recipe's own tenth of the variance may have a memory: that of an AR(1) from bar to bar.

Recipes that are long or flat in one market, without costs: each changes its mind every 18 bars on average, for no
reason, so all earn nothing on average, as the market does. An IR is added evenly to a challenger's returns. Volatility
regimes: three times the volatility in half of the time, a change every ten days. Day and night: three times the
volatility by day. Rare crashes: a bar loses 25 %, once in 26 weeks on average, and the other bars make up for it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

WEEKS, WEEK_BARS, PERIODS = 26, 168, 8760
BARS = WEEKS * WEEK_BARS
BARS_BEFORE = 3 * PERIODS
DAY = np.arange(BARS) // 24
SHARPE, VOLATILITY, SHARED = 0.03, 0.005, 0.9
SPREAD = np.sqrt(2 * (1 - SHARED))  # of a difference of two recipes, in units of a recipe's volatility
CRASH, BARS_BETWEEN_CRASHES = 0.25, 26 * WEEK_BARS


class Case(NamedTuple):
    """Challengers of these information ratios against one champion, or against flat; `weeks` until the outcome counts.

    market: of long/flat recipes; empty: recipes that share their variance. leverage: of the challengers' positions.
    memory: autocorrelation of a recipe's own part of its returns, from bar to bar; champion_memory: that of the
    champion, by default the same.
    """

    name: str
    ratios: tuple[float, ...]
    goal: str
    weeks: int = WEEKS
    memory: float = 0.0
    market: str = ""
    champion: bool = True
    champion_sharpe: float = SHARPE
    leverage: float = 1.0
    champion_memory: float | None = None


class World(NamedTuple):
    """net, position: (bars, strategies), the champion first. market: returns (bars,); before: by day, (days,)."""

    net: np.ndarray
    position: np.ndarray
    market: np.ndarray
    before: np.ndarray


def worlds_of(case: Case, seed: int, worlds: int) -> Iterator[World]:
    """A chunk of worlds of a case."""
    return _one_market(case, seed, worlds) if case.market else _shared_variance(case, seed, worlds)


def ratio_of_equal_days(memory: float) -> float:
    """The IR by which a challenger with this memory has the Sharpe ratio of a champion without any, by day.

    The variance of the sum of n bars of an AR(1) is n times (1 + a) / (1 - a) - 2 a (1 - a^n) / (n (1 - a)^2).
    """
    a, n = memory, 24
    own = (1 + a) / (1 - a) - 2 * a * (1 - a**n) / (n * (1 - a) ** 2)
    return float(SHARPE * (np.sqrt(SHARED + (1 - SHARED) * own) - 1) / SPREAD)


def shocks(
    rng: np.random.Generator, worlds: int, bars: int, memories: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns without skill, (worlds, bars, recipes), in units of a recipe's volatility; one variance path a world.

    memories: of each recipe, as in Case.
    """
    common = rng.standard_t(5, (worlds, bars)) / np.sqrt(5 / 3)
    idiosyncratic = rng.standard_t(5, (worlds, bars, len(memories))) / np.sqrt(5 / 3)
    for recipe, memory in enumerate(memories):
        if memory:
            own = idiosyncratic[..., recipe]
            idiosyncratic[..., recipe] = lfilter([np.sqrt(1 - memory**2)], [1, -memory], own, axis=1)
    variance, path = np.ones(worlds), np.empty((worlds, bars))
    for t in range(bars):
        path[:, t] = variance
        variance = 0.01 + 0.05 * variance * common[:, t] ** 2 + 0.94 * variance
    mixed = np.sqrt(SHARED) * common[..., None] + np.sqrt(1 - SHARED) * idiosyncratic
    return mixed, np.sqrt(path)


def _shared_variance(case: Case, seed: int, worlds: int) -> Iterator[World]:
    rng = np.random.default_rng([seed, 1])
    skill = case.champion_sharpe + SPREAD * np.array([0.0, *case.ratios])
    first = case.memory if case.champion_memory is None else case.champion_memory
    noise, volatility = shocks(rng, worlds, BARS, [first, *(case.memory for _ in case.ratios)])
    for world in range(worlds):
        net = VOLATILITY * volatility[world][:, None] * (noise[world] + skill)
        net[:, 1:] *= case.leverage
        market = rng.normal(0, VOLATILITY, BARS_BEFORE + BARS)
        yield World(net, np.zeros_like(net), market[BARS_BEFORE:], _by_day(market[:BARS_BEFORE]))


def _one_market(case: Case, seed: int, worlds: int) -> Iterator[World]:
    rng = np.random.default_rng([seed, 3])
    for _ in range(worlds):
        market = _market(rng, case.market)
        strategies = len(case.ratios) + 1
        changes = np.cumsum(rng.random((BARS, strategies)) < 1 / 18, axis=0)
        position = ((changes + rng.integers(0, 2, strategies)) % 2).astype("float64")
        if not case.champion:
            position[:, 0] = 0.0
        net = position * market[BARS_BEFORE:, None]
        net[:, 1:] += np.array(case.ratios) * (net[:, 1:] - net[:, :1]).std(axis=0)
        yield World(net, position, market[BARS_BEFORE:], _by_day(market[:BARS_BEFORE]))


def _market(rng: np.random.Generator, kind: str) -> np.ndarray:
    bars = BARS_BEFORE + BARS
    if kind == "rare crashes":
        returns = rng.normal(CRASH / BARS_BETWEEN_CRASHES, 0.004, bars)
        return returns - CRASH * (rng.random(bars) < 1 / BARS_BETWEEN_CRASHES)
    by_day = np.arange(bars) % 24 >= 12
    wild = by_day if kind == "day and night" else np.cumsum(rng.random(bars) < 1 / 240) % 2 == 1
    return rng.standard_t(5, bars) / np.sqrt(5 / 3) * np.where(wild, 0.009, 0.003)


def _by_day(returns: np.ndarray) -> np.ndarray:
    return returns.reshape(-1, 24).sum(axis=1)
