"""A synthetic market with a known best policy: a random walk plus a sine wave whose phase is among the features.

For the learning tests and the benchmark of agents, which both measure against `SineMarket.best_positions`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from quantum_training.features.labels import ForwardReturn, make_labels
from quantum_training.features.windows import WindowSize, build_window
from quantum_training.models.contract import TrainingContext
from quantum_training.trading.costs import Costs
from quantum_training.trading.episodes import Market
from quantum_training.trading.simulator import simulate

PERIOD = 24
NOISE = 0.01
NUISANCE = 18
COSTS = Costs(fee_bps=5, slippage_bps=5)
COLUMNS = ("sine", "cosine", *(f"nuisance_{i}" for i in range(NUISANCE)))


@dataclass(frozen=True)
class SineMarket:
    """candles, features (COLUMNS) and the expected log return of each bar, by open_time."""

    candles: pd.DataFrame
    features: pd.DataFrame
    drift: np.ndarray

    @property
    def rows(self) -> pd.DataFrame:
        """The rows that `Model.positions` takes."""
        return self.features.join(self.candles[["open", "close"]])

    def growth(self, positions: np.ndarray) -> float:
        """Net log growth per bar of positions decided at the closes, (bars,), by the simulator. NaN is flat."""
        target = pd.Series(positions, self.candles.index).shift().fillna(0.0)
        return float(np.log(simulate(self.candles, target, COSTS).equity[-1, 0] / 100_000) / len(target))

    def best_positions(self) -> np.ndarray:
        """Flat or long at each close with the largest expected net log growth: exact dynamic programming.

        A full position's log growth is the sum of log returns less a constant for each fill, so only the drift counts.
        """
        fee, slip = COSTS.fee_bps / 1e4, COSTS.slippage_bps / 1e4
        buy, sell = np.log((1 + fee) * (1 + slip)), -np.log((1 - fee) * (1 - slip))
        flat = long = 0.0
        choice = np.zeros((len(self.drift), 2))
        for t in range(len(self.drift) - 2, -1, -1):
            enter, stay = self.drift[t + 1] + long - buy, self.drift[t + 1] + long
            choice[t] = enter > flat, stay > flat - sell
            flat, long = max(flat, enter), max(flat - sell, stay)
        positions, position = np.zeros(len(self.drift)), 0
        for t in range(len(self.drift)):
            position = int(choice[t, position])
            positions[t] = position
        return positions


def sine_market(seed: int, bars: int, strength: float = 0.2) -> SineMarket:
    """Hourly bars. strength: largest expected log return of the wave, in standard deviations of the noise; 0 gives a
    random walk on which the features carry no information."""
    rng = np.random.default_rng(seed)
    phase = 2 * np.pi * (np.arange(bars) + rng.integers(PERIOD)) / PERIOD
    drift = strength * NOISE * np.cos(phase)
    close = 100 * np.exp(np.cumsum(drift + rng.normal(0, NOISE, bars)))
    open_ = np.append(100.0, close[:-1])
    index = pd.date_range("2020-01-01", periods=bars, freq="h", tz="UTC", name="open_time")
    high, low = np.maximum(open_, close), np.minimum(open_, close)
    body = {"open": open_, "high": high, "low": low, "close": close, "volume": np.ones(bars)}
    columns = np.column_stack([np.sin(phase), np.cos(phase), rng.normal(size=(bars, NUISANCE))])
    return SineMarket(pd.DataFrame(body, index), pd.DataFrame(columns, index, list(COLUMNS)), drift)


def training_context(market: SineMarket) -> TrainingContext:
    """The context of a fit on all bars but the first hundred, which the last returns reach back to."""
    features = market.features.iloc[100:]
    labels = make_labels(market.candles, ForwardReturn(kind="forward_return", horizon=1), 0.0)
    window = build_window(
        features,
        labels,
        as_of=features.index[-1],
        columns=COLUMNS,
        size=WindowSize(max_rows=len(features), validation_fraction=0.2, min_rows=100),
    )
    return TrainingContext(window, market=Market(market.candles, COSTS))
