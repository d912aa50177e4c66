"""The score of a trial: a purged, embargoed walk-forward over the newest known bars. It reads no shadow score."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.lifecycle.search.known_market import Fold, KnownMarket
from quantum_training.lifecycle.training.inputs import MAX_LAGS
from quantum_training.lifecycle.training.train_version import SEED_STRIDE
from quantum_training.market.timeframe import known_at
from quantum_training.models.contract import Model, TrainingContext, algorithm
from quantum_training.models.fitting import fit_seeds
from quantum_training.settings.schema import Recipe
from quantum_training.trading.episodes import Market
from quantum_training.trading.metrics import sharpe
from quantum_training.trading.scoring import positions_at, trade


class Walk(NamedTuple):
    """A trial up to the end of a fold. net: net returns of the scored bars so far; score: their Sharpe ratio per bar,
    None if it is undefined as `reason` says."""

    net: np.ndarray
    score: float | None
    reason: str | None


def walk_forward(market: KnownMarket, recipe: Recipe, each_fold: bool = True) -> Iterator[Walk]:
    """What a recipe would have earned on the scored bars: after each fold, which has a fit of its own, or at the end.

    A fit for a fold sees labels that are known `embargo_bars` before the fold's first bar opens. A position decided at
    a bar's close is filled at the next open, by the simulator and costs of the symbol; the account is kept from fold to
    fold. InsufficientData if a window is too short; else what the algorithm raises.
    """
    positions = np.full(len(market.scored), np.nan)
    rules = market.history.market
    for fold, bars in zip(market.folds, market.fold_bars, strict=True):
        model = _fit(market, recipe, fold)
        features = market.newest.features if model.lookback_bars else bars.features
        positions[fold.start : fold.stop] = positions_at(model, bars.candles, features, bars.decided, bars.filled)
        if not each_fold and fold is not market.folds[-1]:
            continue  # nobody looks at the accounts before the end
        trial = {"trial": pd.Series(positions, market.scored)}
        result = trade(bars.candles, market.scored[0], trial, rules.costs, rules.account)
        net = result.net_return[:, 0]
        yield Walk(net, *sharpe(net, 1.0))


def _fit(market: KnownMarket, recipe: Recipe, fold: Fold) -> Model:
    """The model that a training of the recipe as of the fold would give, but for what a training starts from."""
    window = market.window(recipe, fold.as_of)
    context = TrainingContext(window, recipe.params, recipe.sizing)
    cls = algorithm(recipe.algorithm)
    if cls.traits.needs_market:
        rules, timeframe = market.history.market, market.history.market.timeframe
        candles, features = (known_at(frame, fold.as_of, timeframe) for frame in market.newest)
        first = max(candles.index.searchsorted(window.full_times[0]) - max(cls.lookback_bars, MAX_LAGS) - 2, 0)
        context = TrainingContext(
            window,
            recipe.params,
            recipe.sizing,
            market=Market(candles.iloc[first:], rules.costs, rules.account),
            features=features.iloc[first:],
            horizon=recipe.label.horizon,
        )
    cls.check_inputs(context)
    seeds = range(recipe.seed, recipe.seed + recipe.seeds * SEED_STRIDE, SEED_STRIDE)
    return fit_seeds(recipe.algorithm, context, seeds)[0]
