"""Agents learn a market whose best policy is known, and find nothing in a random walk."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from quantum_training.models.agent import Agent
from quantum_training.models.contract import algorithm
from quantum_training.trading.simulator import simulate
from quantum_training_tests.support.synthetic_edges import COSTS, SineMarket, sine_market, training_context

BUDGETS = {
    "ppo": {"total_steps": 65_536, "environments": 256, "rollout_bars": 32},
    "sac": {"total_steps": 40_960, "environments": 256, "network": [64, 64], "learning_rate": 3e-3},
}
"""About 2 seconds of one core each. Steps are bars traded."""

SEEDS = (1, 2, 3)
TRAIN_BARS, TEST_BARS = 3_000, 4_000
ENOUGH = 0.8


Fits = Callable[[str, float], list[Agent]]


@pytest.fixture(scope="module")
def fits() -> Fits:
    """`fits(kind, strength)`: agents of an algorithm, each with its own seed and training market of that strength."""
    cache: dict[tuple[str, float], list[Agent]] = {}

    def get(kind: str, strength: float) -> list[Agent]:
        if (kind, strength) not in cache:
            cache[kind, strength] = [
                algorithm(kind).fit(replace(context, params={**BUDGETS[kind], "device": "cpu"}, seed=seed))
                for seed in SEEDS
                for context in [training_context(sine_market(seed, TRAIN_BARS, strength))]
            ]
        return cache[kind, strength]

    return get


def growth_on_new_markets(agents: list[Agent], strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Net log growth per bar of each agent's account on a new market, and the best possible mean growth there.

    Shapes (agents, bars) and (agents,).
    """
    markets = [sine_market(100 + i, TEST_BARS, strength) for i in range(len(agents))]
    equity = np.array([agent.trade(market.rows).equity for agent, market in zip(agents, markets, strict=True)])
    best = np.array([market.growth(market.best_positions()) for market in markets])
    return np.diff(np.log(equity), axis=1, prepend=0.0), best


def least_skill(growth: np.ndarray) -> float:
    """Lower end of the two-sided 95 % interval of the mean growth per bar, all agents' bars together."""
    return float(growth.mean() - 1.96 * growth.std(ddof=1) / np.sqrt(growth.size))


@pytest.mark.long
@pytest.mark.parametrize("kind", BUDGETS)
def test_reaches_most_of_the_best_net_growth_for_every_seed(fits, kind):
    growth, best = growth_on_new_markets(fits(kind, 0.5), 0.5)
    assert (growth.mean(axis=1) >= ENOUGH * best).all(), growth.mean(axis=1) / best
    assert least_skill(growth) > 0


@pytest.mark.long
@pytest.mark.parametrize("kind", BUDGETS)
def test_shows_no_skill_on_a_random_walk(fits, kind):
    growth, best = growth_on_new_markets(fits(kind, 0.0), 0.0)
    assert (best == 0).all()
    assert least_skill(growth) <= 0


def test_no_choice_of_positions_beats_the_best_on_the_expected_path():
    """Against every sequence of flat and long over 13 bars, costs of the simulator included."""
    market = sine_market(3, 13, 0.5)
    close = 100 * np.exp(np.cumsum(market.drift))
    candles = market.candles.assign(open=np.append(100.0, close[:-1]), close=close)
    candles["high"], candles["low"] = candles[["open", "close"]].max(axis=1), candles[["open", "close"]].min(axis=1)
    expected = SineMarket(candles, market.features, market.drift)
    all_sequences = np.vstack([np.zeros(2**12), np.arange(2**12) >> np.arange(12)[:, None] & 1])
    targets = pd.DataFrame(all_sequences, candles.index)
    growth = np.log(simulate(candles, targets, COSTS).equity[-1] / 100_000) / len(candles)
    assert expected.growth(expected.best_positions()) == pytest.approx(growth.max(), abs=1e-12)
    assert growth.max() > 0
