"""Fits of a recipe on synthetic markets, for the leakage test: the market, and the training context made of it.

What is measured on such fits is in model_leakage.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from quantum_training.features.pool import pool
from quantum_training.features.sets.feature_set import NO_SETS, FeatureSet, compute_with_sets, warmup_of
from quantum_training.features.windows import Window, WindowSize, build_window
from quantum_training.market.timeframe import to_timedelta
from quantum_training.models.contract import Model, TrainingContext, algorithm
from quantum_training.models.fitting import fit_model
from quantum_training.models.sizing import Sizing
from quantum_training.monitoring.random_markets import random_candles
from quantum_training.trading.costs import Costs
from quantum_training.trading.episodes import Market
from quantum_training.trading.own_label import RecipeLabel, labels_of

HOURLY = "1h"
"""Timeframe of the bars of a synthetic market, unless a recipe's feature sets are made for another one."""

ROWS = 2000
"""Rows of a fit, whatever the recipe's window: all families learn the planted signal from them."""

HORIZON = 8
"""Longest label horizon that is used. The longer the outcome, the less information a bar carries, and the smaller is
the skill that a leak of one bar gives: at 24 bars an IC of 0.047 for a small booster, at 8 bars twice LIMIT."""

SCORE = Sizing(break_even=1e-6, full=1.0, step=1e-4)
"""Makes the position of a classifier its probability, because skill below the break-even is skill, too."""

FREE = Costs(fee_bps=0.0, slippage_bps=0.0)
"""Costs of an agent: none, because the labels are without costs, too."""

MEMBERS = ("lightgbm", "xgboost")
"""Members of an ensemble in the test. Its own members are examined as recipes of their own."""

OTHER_SEED = 500_000
"""Added to the seed for the second market of a pool."""


class RecipeUnderTest(NamedTuple):
    """The parts of a recipe that skill can come from."""

    algorithm: str
    params: Mapping[str, Any]
    label: RecipeLabel
    columns: Sequence[str]
    validation_fraction: float
    seed: int
    feature_sets: Mapping[str, FeatureSet] = NO_SETS
    timeframe: str = HOURLY
    """Of the bars, which only the sets can tell: all are random."""


class SyntheticMarket(NamedTuple):
    """A synthetic market with features and labels. A fit may use everything before bar number `start`, at `as_of`.

    labels: for the fit; outcomes: to measure skill by. market: candles that end at as_of. horizon: of the label.
    shuffled: whether labels and candles of the fit are shuffled.
    """

    candles: pd.DataFrame
    features: pd.DataFrame
    labels: pd.DataFrame
    outcomes: pd.DataFrame
    market: Market
    start: int
    as_of: pd.Timestamp
    horizon: int
    drift: float
    shuffled: bool

    @classmethod
    def of(cls, recipe: RecipeUnderTest, drift: float, seed: int, new_bars: int, shuffled: bool) -> SyntheticMarket:
        """A market for this recipe with `new_bars` bars after as_of.

        drift: in standard deviations a bar, with a sign that persists; 0 makes a random walk.
        """
        label = recipe.label.model_copy(update={"horizon": min(recipe.label.horizon, HORIZON)})
        warmup, spacing = warmup_of(recipe.feature_sets, recipe.timeframe), to_timedelta(recipe.timeframe)
        start = warmup + label.span_bars + ROWS + label.span_bars
        times = pd.date_range("2000-01-03", periods=start + new_bars + label.span_bars, freq=spacing, tz="UTC")
        candles = random_candles(times, 100.0, seed, drift)
        features = compute_with_sets(candles, candles.index[warmup], recipe.feature_sets, recipe.timeframe)
        outcomes = labels_of(candles, label, 0.0)
        as_of = candles.index[start]
        labels = _shuffled_labels(outcomes, as_of, seed) if shuffled else outcomes
        history = _shuffled_candles(candles, as_of, seed) if shuffled else candles.loc[:as_of].iloc[:-1]
        market = Market(history, FREE)
        return cls(candles, features, labels, outcomes, market, start, as_of, label.horizon, drift, shuffled)

    def window(self, recipe: RecipeUnderTest, as_of: pd.Timestamp, rows: int) -> Window:
        """The newest `rows` labelled bars known at `as_of`. InsufficientData: fewer than half of them."""
        return build_window(
            self.features,
            self.labels,
            as_of=as_of,
            columns=tuple(recipe.columns),
            size=WindowSize(max_rows=rows, validation_fraction=recipe.validation_fraction, min_rows=rows // 2),
        )


def fit_on_synthetic(recipe: RecipeUnderTest, market: SyntheticMarket, seed: int) -> Model:
    """Fit the recipe on the market, with the training context that its algorithm needs."""
    traits = algorithm(recipe.algorithm).traits
    history = market.features.loc[: market.market.candles.index[-1]]
    if traits.is_ensemble:
        context = _ensemble_context(recipe, market, history, seed)
    else:
        window = market.window(recipe, market.as_of, ROWS)
        if traits.is_pooled:
            other = SyntheticMarket.of(recipe, market.drift, seed + OTHER_SEED, 1, market.shuffled)
            windows = {"one": window, "other": other.window(recipe, other.as_of, ROWS)}
            window = pool(windows, recipe.validation_fraction)
        context = TrainingContext(window, market=market.market, features=history, horizon=market.horizon)
    params = {**recipe.params, **traits.smoke_params}
    model = fit_model(recipe.algorithm, replace(context, params=params, sizing=SCORE, seed=recipe.seed + seed))
    return model.for_symbol("one") if traits.is_pooled else model


def _ensemble_context(
    recipe: RecipeUnderTest, market: SyntheticMarket, features: pd.DataFrame, seed: int
) -> TrainingContext:
    """Members that were fitted on the older half of the rows, their positions on the newer half, and its window."""
    middle = market.candles.index[market.start - ROWS // 2]
    member_context = TrainingContext(market.window(recipe, middle, ROWS // 2), sizing=SCORE, seed=recipe.seed + seed)
    members = {name: fit_model(name, member_context) for name in MEMBERS}
    positions = {name: model.positions(features) for name, model in members.items()}
    return TrainingContext(
        market.window(recipe, market.as_of, ROWS // 2),
        market=market.market,
        horizon=market.horizon,
        members=members,
        member_positions=pd.DataFrame(positions).shift(1).loc[middle:],
    )


def _shuffled_labels(labels: pd.DataFrame, as_of: pd.Timestamp, seed: int) -> pd.DataFrame:
    """Labels in which those that are known at `as_of` are permuted among themselves."""
    is_known = (labels["label_end"] <= as_of).to_numpy()
    values = labels["label"].to_numpy().copy()
    values[is_known] = np.random.default_rng([seed, 1]).permutation(values[is_known])
    return labels.assign(label=values)


def _shuffled_candles(candles: pd.DataFrame, as_of: pd.Timestamp, seed: int) -> pd.DataFrame:
    """The candles before `as_of` in another order: the same moves, and no bar says anything about the next."""
    history = candles[candles.index < as_of]
    close = np.log(history["close"].to_numpy())
    moves = {name: np.log(history[name].to_numpy()[1:]) - close[:-1] for name in ("open", "high", "low", "close")}
    order = np.random.default_rng([seed, 2]).permutation(len(close) - 1)
    path = close[0] + np.concatenate([[0.0], np.cumsum(moves["close"][order])])
    return pd.DataFrame({name: np.exp(path[:-1] + move[order]) for name, move in moves.items()}, history.index[1:])
