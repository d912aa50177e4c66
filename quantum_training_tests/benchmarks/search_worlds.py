"""The markets of search_rates.py, with an edge that only deeper trees can learn and without, and the search on one."""

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from quantum_training.features.indicators import compute_features
from quantum_training.lifecycle.market_history import Bars
from quantum_training.lifecycle.search.counted import count_trials
from quantum_training.lifecycle.search.known_market import KnownMarket, known_market
from quantum_training.lifecycle.search.study import TrialRunner, open_study
from quantum_training.market.periods import WEEK
from quantum_training.market.timeframe import known_at
from quantum_training.settings.schema import Recipe
from quantum_training.settings.search import Search
from quantum_training_tests.benchmarks.edge_life import SYMBOL, World, demo_settings

START, AS_OF = pd.Timestamp("2018-01-01", tz="UTC"), pd.Timestamp("2018-07-02", tz="UTC")
END = AS_OF + 52 * WEEK
DEFAULT = "default"

RECIPE = {
    "algorithm": "xgboost",
    "features": ["volatility_ratio", "range_ratio", "volume_z_60", "hour_sin", "hour_cos"],
    "label": {"kind": "forward_return", "horizon": 3},
    "window_bars": 1000,
    "params": {"max_depth": 1, "learning_rate": 0.2, "max_rounds": 20},
    "search": {
        "space": {
            "params.max_depth": {"low": 1, "high": 6},
            "params.learning_rate": {"low": 0.02, "high": 0.5, "log": True},
            "params.colsample_bytree": {"low": 0.3, "high": 1.0},
            "window_bars": {"low": 500, "high": 2000, "step": 500},
            "label.horizon": {"choices": [1, 3, 6]},
        },
        "trials": 200,
        "bars": 2000,
        "folds": 3,
    },
}


EDGES = {"without edge": 0.0, "edge by day, its mirror by night": 0.25}
"""Information ratio a bar of the best long or flat position, by kind of market. Chosen on seeds from 10,001 on."""


def world_of(edge: float, seed: int) -> World:
    """A market of the demo's source up to a year after AS_OF, and its recipe with the search.

    Without drift and costs, a strategy without skill earns nothing on average, so that no loss helps to refuse it.
    """
    settings = demo_settings()
    market = settings.symbols[SYMBOL]
    changes = {"seed": seed, "edge": edge, "edge_until": None, "annual_drift": 0.0}
    costs = market.costs.model_copy(update={"fee_bps": 0.0, "slippage_bps": 0.0})
    candles = market.source.model_copy(update=changes).fetch(SYMBOL, market.timeframe, START, END, END)
    candles = mirrored_by_night(candles)
    market = market.model_copy(update={"costs": costs, "recipes": [DEFAULT]})
    recipes = {DEFAULT: Recipe.model_validate(RECIPE)}
    settings = settings.model_copy(update={"recipes": recipes, "symbols": {SYMBOL: market}})
    weeks = pd.date_range(AS_OF, END, freq=WEEK)
    return World(settings, market, DEFAULT, Bars(candles, compute_features(candles, START)), weeks)


def mirrored_by_night(candles: pd.DataFrame) -> pd.DataFrame:
    """The market with the log move of each bar turned round if the bar before it opened in the second half of the day.

    Unusual volume, which foretold a rise, then foretells a fall by night. Neither the volume nor the hour alone tells
    anything, so no sum of functions of one feature each does: trees of depth 1 cannot learn it. The moves are
    symmetric, so without an edge the market is another one of the same law.
    """
    logs = np.log(candles[["open", "high", "low", "close"]])
    is_night = (candles.index - pd.Timedelta(hours=1)).hour >= 12
    moves = logs.sub(logs["open"], axis=0).mul(np.where(is_night, -1.0, 1.0), axis=0)
    high, low = moves.max(axis=1), moves.min(axis=1)
    opens = logs["open"].iloc[0] + moves["close"].cumsum().shift(fill_value=0.0)
    return candles.assign(**np.exp(moves.assign(high=high, low=low).add(opens, axis=0)))


def market_of(world: World, search: Search) -> KnownMarket:
    """The market as the search sees it."""
    bars = Bars(*(known_at(frame, AS_OF, world.market.timeframe) for frame in world.bars))
    history: Any = SimpleNamespace(settings=world.settings, market=world.market)
    return known_market(history, (bars,), search)


def search(world: World) -> tuple[Recipe, dict[str, Any]]:
    """The recipe of the best trial, and the numbers of the search."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    recipe = world.settings.recipes[DEFAULT]
    assert recipe.search is not None
    study = open_study(optuna.storages.InMemoryStorage(), "search")
    with tempfile.TemporaryDirectory() as folder:
        market = market_of(world, recipe.search)
        runner = TrialRunner(market, recipe, recipe.search, study, Path(folder), lambda line: None)
        results = [trial for trial in runner.run() if trial.score is not None]
    best = max(results, key=lambda trial: (trial.score, -trial.number))
    count = count_trials(results, best)
    numbers = {
        "in_sample": best.score,
        "effective": count.effective.number,
        "overfitting": count.overfitting[0],
        "deflated_sharpe": count.deflated_sharpe[0],
        "chosen": best.chosen,
    }
    return recipe.with_values(best.chosen), numbers
