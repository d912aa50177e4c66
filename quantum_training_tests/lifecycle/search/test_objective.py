"""The score of a trial on a market whose edge is known: what only some values can learn is found, by those values."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from quantum_training.lifecycle.market_history import Bars
from quantum_training.lifecycle.search.known_market import Fold, KnownMarket
from quantum_training.lifecycle.search.objective import walk_forward
from quantum_training.lifecycle.search.study import TrialRunner, open_study
from quantum_training.settings.schema import Recipe, Symbol
from quantum_training.trading.metrics import sharpe
from quantum_training.trading.simulator import simulate

BARS, SCORED = 2600, 900


def xor_market(seed: int = 0, edge: float = 0.5) -> KnownMarket:
    """Hours whose next return has the sign of the product of two features: no sum of functions of each foretells it."""
    rng = np.random.default_rng(seed)
    index = pd.date_range("2024-01-01", periods=BARS, freq="h", tz="UTC", name="open_time")
    a, b = rng.standard_normal((2, BARS))
    known = np.r_[0.0, 0.0, np.sign(a * b)[:-2]]  # decided at a bar's close, filled at the next open, earned after it
    log_open = np.cumsum(0.01 * (edge * known + np.sqrt(1 - edge**2) * rng.standard_normal(BARS)))
    opens = 100 * np.exp(log_open)
    closes = np.r_[opens[1:], opens[-1]]
    candles = pd.DataFrame({"open": opens, "high": np.maximum(opens, closes), "low": np.minimum(opens, closes)}, index)
    candles = candles.assign(close=closes, volume=1.0)
    features = pd.DataFrame({"return_1": a, "rsi_14": b}, index)
    market = Symbol.model_validate(
        {
            "source": {"kind": "synthetic"},
            "timeframe": "1h",
            "recipes": ["r"],
            "costs": {"fee_bps": 0, "slippage_bps": 0},
        }
    )
    settings = SimpleNamespace(training_batch_size=None, min_training_data_points=100)
    history = SimpleNamespace(settings=settings, market=market)
    scored = pd.DatetimeIndex(index[-SCORED:])
    parts = np.array_split(np.arange(SCORED), 3)
    folds = tuple(Fold(scored[part[0]], int(part[0]), int(part[-1]) + 1) for part in parts)
    return KnownMarket(history, (Bars(candles, features),), scored, folds)


def recipe(**search) -> Recipe:
    return Recipe.model_validate(
        {
            "algorithm": "xgboost",
            "features": ["return_1", "rsi_14"],
            "label": {"kind": "forward_return", "horizon": 1},
            "window_bars": 1500,
            "params": {"max_rounds": 40, "max_depth": 1},
            **({"search": search} if search else {}),
        }
    )


@pytest.fixture(scope="module")
def market() -> KnownMarket:
    return xor_market()


def score(market: KnownMarket, recipe: Recipe) -> float | None:
    return [*walk_forward(market, recipe)][-1].score


def test_only_a_deep_tree_with_a_long_window_has_the_edge(market):
    deep = recipe().with_values({"params.max_depth": 3})
    assert score(market, deep) > 0.2
    assert abs(score(market, recipe()) or 0) < 0.1
    assert score(market, deep) > 2 * max(score(market, deep.with_values({"window_bars": 100})) or 0, 0)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_search_finds_the_depth_that_has_the_edge(market, tmp_path, sampler):
    import optuna

    space = {"params.max_depth": {"low": 1, "high": 4}, "window_bars": {"low": 100, "high": 1500, "log": True}}
    searched = recipe(space=space, trials=12, bars=SCORED, folds=3, sampler=sampler)
    study = open_study(optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/trials.db"), "xor")
    trials = TrialRunner(market, searched, searched.search, study, tmp_path / "returns", lambda line: None).run()
    best = max(trials, key=lambda trial: trial.score or -9)
    assert best.chosen["params.max_depth"] >= 2
    assert best.chosen["window_bars"] > 300
    assert best.score > 0.2
    shallow = [trial.score for trial in trials if trial.chosen["params.max_depth"] == 1 and trial.score is not None]
    assert max(shallow) < best.score / 2
    assert all(trial.score == sharpe(trial.net, 1.0)[0] for trial in trials if trial.state == "complete")


def test_each_fold_adds_to_the_same_returns(market):
    walks = [*walk_forward(market, recipe().with_values({"params.max_depth": 3}))]
    assert [len(walk.net) for walk in walks] == [300, 600, 900]
    for walk in walks:
        assert np.array_equal(walk.net, walks[-1].net[: len(walk.net)])
        assert walk.score == sharpe(walk.net, 1.0)[0]


def test_a_market_without_an_edge_has_no_score_worth_having():
    without = xor_market(seed=1, edge=0.0)
    assert abs(score(without, recipe().with_values({"params.max_depth": 3}))) < 0.1


def test_the_returns_are_those_of_the_simulator(market):
    """Of always being long: the first fill is at the open of the first scored bar."""
    always = recipe().with_values({"sizing.break_even": 0.01, "sizing.full": 0.02})
    net = [*walk_forward(market, always)][-1].net
    candles = market.newest.candles.loc[market.scored[0] :]
    costs = market.history.market.costs
    assert net == pytest.approx(simulate(candles, pd.Series(1.0, candles.index), costs).net_return[:, 0])
