"""Candles for the tests of trading."""

from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.episodes import Bars, Market
from quantum_training.trading.observation import View
from quantum_training_tests.support import reference_simulator


@pytest.fixture(scope="session")
def bars() -> Callable[..., pd.DataFrame]:
    """`bars([(open, close), ...])`: candles by 4 hours from 2024-01-01, a Monday, with no wick beyond the body."""

    def make(prices: Sequence[tuple[float, float]], freq: str = "4h") -> pd.DataFrame:
        index = pd.date_range("2024-01-01", periods=len(prices), freq=freq, tz="UTC", name="open_time")
        opens, closes = np.array(prices, "float64").reshape(-1, 2).T
        body = {"open": opens, "high": np.maximum(opens, closes), "low": np.minimum(opens, closes), "close": closes}
        return pd.DataFrame(body, index)

    return make


@pytest.fixture(scope="session")
def walk(bars: Callable[..., pd.DataFrame]) -> Callable[..., pd.DataFrame]:
    """`walk(count, seed)`: a random walk with gaps between close and open."""

    def make(count: int, seed: int = 0, freq: str = "4h") -> pd.DataFrame:
        steps = np.random.default_rng(seed).normal(0, 0.01, (count, 2))
        prices = 100 * np.exp(np.cumsum(steps.ravel()).reshape(-1, 2))
        return bars(list(map(tuple, prices)), freq)

    return make


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """The simulator in plain Python."""
    return reference_simulator


@pytest.fixture(scope="session")
def ready(walk: Callable[..., pd.DataFrame]) -> Callable[..., Bars]:
    """`ready(count, seed)`: bars of a random walk to trade, two random features and one lag observed."""

    def make(count: int = 60, seed: int = 0, costs: Costs | None = None, account: Account | None = None) -> Bars:
        candles = walk(count + 1, seed)
        x = np.random.default_rng(seed).normal(size=(count, 2))
        features = pd.DataFrame(x, candles.index[1:], ["a", "b"])
        view = View.fit(("a", "b"), x, candles["close"].to_numpy(), 1)
        return Bars.of(view, Market(candles, costs or Costs(), account or Account()), features)

    return make
