"""A fit of a recipe on a synthetic market, for the leak sentinel: the market, and what its algorithm is given of it.

What is measured of such fits is model_sentinel.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from quantum_training.features.indicators import WARMUP_BARS, compute_features
from quantum_training.features.labels import Label, make_labels
from quantum_training.features.pool import pool
from quantum_training.features.windows import Window, build_window
from quantum_training.models.contract import Model, TrainingContext, algorithm
from quantum_training.models.fitting import fit_model
from quantum_training.models.sizing import Sizing
from quantum_training.monitoring.feature_sentinel import random_candles
from quantum_training.trading.costs import Costs
from quantum_training.trading.episodes import Market

ROWS = 2000
"""Rows of a fit, whatever the recipe's window: all families learn the planted signal from them."""

HORIZON = 8
"""Longest label horizon tried: the longer the outcome, the less a bar of evidence says, and the less of it is a leak of
one bar (at 24 bars such a leak was worth an IC of 0.047 to a small booster, here it is worth twice LIMIT)."""

SCORE = Sizing(break_even=1e-6, full=1.0, step=1e-4)
"""Makes the position of a classifier its probability: skill below the break-even is skill too."""

FREE = Costs(fee_bps=0.0, slippage_bps=0.0)
"""What trading costs an agent here: the labels are net of no cost either."""

MEMBERS = ("lightgbm", "xgboost")
"""What an ensemble combines here: its own members are examined as the recipes that they are."""

OTHER_SEED = 500_000
"""Added to the seed for the second market of a pool."""


class Trial(NamedTuple):
    """The parts of a recipe that skill can come from."""

    algorithm: str
    params: Mapping[str, Any]
    label: Label
    columns: Sequence[str]
    validation_fraction: float
    seed: int


class Stage(NamedTuple):
    """A synthetic market. All up to bar number `start`, which opens at `as_of`, may be learnt from.

    labels: to learn from; outcomes: to be measured by. market: candles that end at as_of. What is learnt from is
    shuffled where that was asked for, labels and bars alike. horizon: of the label.
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
    def of(cls, trial: Trial, drift: float, seed: int, new_bars: int, shuffled: bool) -> Stage:
        """A market whose drift, this many standard deviations a bar, persists (0: a random walk), with `new_bars` bars
        after as_of."""
        label = trial.label.model_copy(update={"horizon": min(trial.label.horizon, HORIZON)})
        start = WARMUP_BARS + label.span_bars + ROWS + label.span_bars
        times = pd.date_range("2000-01-03", periods=start + new_bars + label.span_bars, freq="h", tz="UTC")
        candles = random_candles(times, 100.0, seed, drift)
        features = compute_features(candles, candles.index[WARMUP_BARS])
        outcomes = make_labels(candles, label, 0.0)
        as_of = candles.index[start]
        labels = _shuffled(outcomes, as_of, seed) if shuffled else outcomes
        known = _shuffled_market(candles, as_of, seed) if shuffled else candles.loc[:as_of].iloc[:-1]
        market = Market(known, FREE)
        return cls(candles, features, labels, outcomes, market, start, as_of, label.horizon, drift, shuffled)

    def window(self, trial: Trial, as_of: pd.Timestamp, rows: int) -> Window:
        """The newest `rows` labelled bars known at `as_of`. InsufficientData: fewer than half of them."""
        return build_window(
            self.features,
            self.labels,
            as_of=as_of,
            columns=tuple(trial.columns),
            max_rows=rows,
            validation_fraction=trial.validation_fraction,
            min_rows=rows // 2,
        )


def fit_on_synthetic(trial: Trial, stage: Stage, seed: int) -> Model:
    """Fit the recipe on the stage, with what its algorithm asks for."""
    cls = algorithm(trial.algorithm)
    window = stage.window(trial, stage.as_of, ROWS)
    known = stage.features.loc[: stage.market.candles.index[-1]]
    if cls.traits.is_pooled:
        other = Stage.of(trial, stage.drift, seed + OTHER_SEED, 1, stage.shuffled)
        window = pool({"one": window, "other": other.window(trial, other.as_of, ROWS)}, trial.validation_fraction)
    context = TrainingContext(window, market=stage.market, features=known, horizon=stage.horizon)
    if cls.traits.is_ensemble:
        context = _council(trial, stage, known, seed)
    params = {**trial.params, **cls.traits.smoke_params}
    model = fit_model(trial.algorithm, replace(context, params=params, sizing=SCORE, seed=trial.seed + seed))
    return model.for_symbol("one") if cls.traits.is_pooled else model


def _council(trial: Trial, stage: Stage, known: pd.DataFrame, seed: int) -> TrainingContext:
    """Members that learnt from the older half of the rows, their record on the newer half, and that half's window."""
    half = stage.candles.index[stage.start - ROWS // 2]
    learnt = stage.window(trial, half, ROWS // 2)
    context = TrainingContext(learnt, sizing=SCORE, seed=trial.seed + seed)
    members = {m: fit_model(m, context) for m in MEMBERS}
    record = pd.DataFrame({m: model.positions(known) for m, model in members.items()}).shift(1).loc[half:]
    return TrainingContext(
        stage.window(trial, stage.as_of, ROWS // 2),
        market=stage.market,
        horizon=stage.horizon,
        members=members,
        member_positions=record,
    )


def _shuffled(labels: pd.DataFrame, as_of: pd.Timestamp, seed: int) -> pd.DataFrame:
    """Labels with those that are known at `as_of` permuted among themselves."""
    known = (labels["label_end"] <= as_of).to_numpy()
    values = labels["label"].to_numpy().copy()
    values[known] = np.random.default_rng([seed, 1]).permutation(values[known])
    return labels.assign(label=values)


def _shuffled_market(candles: pd.DataFrame, as_of: pd.Timestamp, seed: int) -> pd.DataFrame:
    """The candles before `as_of` with their bars in another order: the same moves, none of which anything foretells."""
    known = candles[candles.index < as_of]
    close = np.log(known["close"].to_numpy())
    moves = {name: np.log(known[name].to_numpy()[1:]) - close[:-1] for name in ("open", "high", "low", "close")}
    order = np.random.default_rng([seed, 2]).permutation(len(close) - 1)
    path = close[0] + np.concatenate([[0.0], np.cumsum(moves["close"][order])])
    return pd.DataFrame({name: np.exp(path[:-1] + move[order]) for name, move in moves.items()}, known.index[1:])
