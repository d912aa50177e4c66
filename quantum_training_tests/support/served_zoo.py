"""Every recipe of the zoo, small, and what the platform itself decides with it: for tests of versions that are used
elsewhere."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from quantum_training.features.indicators import FEATURES, compute_features
from quantum_training.features.labels import ForwardReturn, make_labels
from quantum_training.features.pool import pool
from quantum_training.features.windows import WindowSize, build_window
from quantum_training.models.contract import Model, TrainingContext, algorithm
from quantum_training.models.sizing import Sizing
from quantum_training.resources.registry.new_version import NewVersion
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.trading.costs import Costs
from quantum_training.trading.episodes import Market
from quantum_training.trading.scoring import positions_at

SYMBOL = "SP500"
BARS = 1_400
HOUR = pd.Timedelta("1h")
NETWORK = {"input_bars": 16, "hidden": 4, "batch_windows": 16, "max_steps": 2, "check_steps": 1}
AGENTS = {
    "ppo": {"total_steps": 256, "environments": 8, "rollout_bars": 16, "batch_size": 64, "network": [4]},
    "sac": {"total_steps": 100, "environments": 8, "batch_size": 32, "network": [4], "learning_starts": 40},
}
BOOSTERS = ("xgboost", "lightgbm", "pooled")
NETWORKS = ("lstm", "nhits", "patchtst")
BOOSTER_ENSEMBLES = ("vote", "regime", "stack")
EVERYTHING = "everything"
"""An ensemble of one recipe of each kind, with an account, a memory and all packages."""
FINE = Sizing(break_even=0.2, full=0.8, step=0.01)


def context_of(candles: pd.DataFrame, features: pd.DataFrame) -> TrainingContext:
    """A training context as of the end of the candles."""
    labels = make_labels(candles, ForwardReturn(kind="forward_return", horizon=2), 0.0)
    size = WindowSize(max_rows=300, validation_fraction=0.25, min_rows=50)
    window = build_window(features, labels, as_of=candles.index[-1] + HOUR, columns=FEATURES, size=size)
    market = Market(candles, Costs(fee_bps=1, slippage_bps=1))
    return TrainingContext(window, sizing=FINE, seed=7, market=market, features=features, horizon=2)


def fit_zoo(candles: pd.DataFrame, without_torch: bool = False) -> dict[str, tuple[str, Model]]:
    """A model of every recipe with its algorithm, by recipe."""
    features = compute_features(candles, candles.index[0])
    context = context_of(candles, features)
    zoo = {
        name: (name, algorithm(name).fit(replace(context, params={"max_rounds": 20})))
        for name in ("xgboost", "lightgbm")
    }
    pooled = replace(context, window=pool({SYMBOL: context.window, "OTHER": context.window}, 0.25))
    fitted = algorithm("pooled_lightgbm").fit(replace(pooled, params={"max_rounds": 20, "min_data_in_leaf": 5}))
    zoo["pooled"] = "pooled_lightgbm", fitted.for_symbol(SYMBOL)
    for kind in BOOSTER_ENSEMBLES:
        zoo[kind] = (
            f"ensemble_{kind}",
            _ensemble(kind, context, {name: zoo[name][1] for name in ("xgboost", "lightgbm")}),
        )
    if without_torch:
        return zoo
    for kind, params in AGENTS.items():
        zoo[kind] = kind, algorithm(kind).fit(replace(context, params=params))
    for kind in NETWORKS:
        zoo[kind] = (
            "forecaster",
            algorithm("forecaster").fit(replace(context, params={**NETWORK, "architecture": kind})),
        )
    members = {name: zoo[name][1] for name in ("xgboost", "lightgbm", "ppo", "nhits")}
    zoo[EVERYTHING] = "ensemble_vote", _ensemble("vote", context, members)
    return zoo


def _ensemble(kind: str, context: TrainingContext, members: Mapping[str, Model]) -> Model:
    rng, times = np.random.default_rng(1), context.window.full_times
    positions = pd.DataFrame({name: rng.random(len(times)) for name in members}, times)
    params: dict[str, Any] = {"min_bars": 30, "penalties": (1.0,)} if kind == "stack" else {}
    return algorithm(f"ensemble_{kind}").fit(
        replace(context, params=params, members=members, member_positions=positions)
    )


def publish(registry: ModelRegistry, candles: pd.DataFrame, zoo: Mapping[str, tuple[str, Model]]) -> None:
    """Register every model, with its recipe as an alias."""
    features = compute_features(candles, candles.index[0])
    rows = features.join(candles[["open", "close"]]).tail(600)
    for recipe, (name, model) in zoo.items():
        tags = {"model_id": f"id-{recipe}", "recipe": recipe, "as_of": "2024-01-08T00:00:00+00:00"}
        now = pd.Timestamp.now("UTC")
        new = NewVersion(model, name, rows, tags, params={}, metrics={}, started=now, timeframe="1h")
        registry.register(SYMBOL, new)
        registry.aliases.move(SYMBOL, {recipe: f"id-{recipe}"})


def decided(model: Model, candles: pd.DataFrame, bars: pd.DatetimeIndex) -> np.ndarray:
    """What the platform decides at these bars from all candles."""
    features = compute_features(candles, candles.index[0])
    return positions_at(model, candles.loc[: bars[-1]], features, bars, bars + HOUR)
