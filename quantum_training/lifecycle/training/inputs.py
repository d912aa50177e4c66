"""Gathers what a version is fitted on: its training window and, for algorithms that need more, the market around it.

The market is for agents and sequence models, other recipes' models are for ensembles, other symbols for pools.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from quantum_training.features.windows import InsufficientData, Window
from quantum_training.lifecycle.market_history import Bars, MarketHistory
from quantum_training.lifecycle.training.ensemble_members import DecisionCache, OutOfSampleSpan, read_members
from quantum_training.lifecycle.training.pools import pooled_window
from quantum_training.lifecycle.training.training_window import training_window
from quantum_training.lifecycle.training.version_loader import Load, VersionLoader
from quantum_training.market.periods import WEEK
from quantum_training.market.timeframe import known_at
from quantum_training.models.contract import Model, TrainingContext, algorithm
from quantum_training.models.feature_set_hash import label_hash, reward_hash, set_hashes, universe_hash
from quantum_training.resources.store.store import Store, content_hash
from quantum_training.settings import Settings
from quantum_training.settings.schema import Recipe
from quantum_training.trading.baselines import BASELINES, decide
from quantum_training.trading.episodes import Market
from quantum_training.trading.liquidity import UNTRADED
from quantum_training.trading.scoring import Version, decisions

CAPABILITIES = ("warm_start", "replay")
"""Options of a recipe that only some algorithms support."""

MAX_LAGS = 200
"""Bars before the window that the context holds at least, for what an algorithm derives from earlier bars."""

SHADOW = "shadow"
"""Column of a replay with the recipe's own past positions."""


class TrainingTarget(NamedTuple):
    """The version that is wanted: of which symbol and recipe, and the time up to which data may be used."""

    symbol: str
    recipe: str
    as_of: pd.Timestamp


class InputSources(NamedTuple):
    """Where the inputs of a fit are read.

    previous_versions: the recipe's accepted versions before the target, oldest first. load: the model of any version of
    the symbol. decisions: weeks of members that the same run has decided before.
    """

    store: Store
    settings: Settings
    previous_versions: Sequence[Version]
    load: Load
    decisions: DecisionCache

    def history(self, target: TrainingTarget) -> MarketHistory:
        """The stored bars and scores of the target's symbol."""
        return MarketHistory(self.store, self.settings, target.symbol)


class TrainingInputs(NamedTuple):
    """What a version is fitted on.

    identity_inputs: what the context adds to the version's identity beside the window. example_rows: rows of the
    symbol's features, on which a registered copy is compared with the model. excluded: members or symbols that could
    not be used, and why. deleted_versions: versions that the fit would have used and that MLflow no longer has.
    """

    context: TrainingContext
    identity_inputs: dict[str, Any]
    example_rows: pd.DataFrame
    excluded: dict[str, str]
    deleted_versions: tuple[str, ...] = ()

    @property
    def window(self) -> Window:
        """The labelled, purged bars."""
        return self.context.window


def build_training_inputs(sources: InputSources, target: TrainingTarget) -> TrainingInputs:
    """The inputs of a fit of this target.

    InsufficientData if there is too little to learn from. ValueError if the recipe uses an option that its algorithm
    does not support. StoreError if bars up to as_of are not stored.
    """
    recipe = sources.settings.recipes[target.recipe]
    check_recipe(target.recipe, recipe)
    inputs = _inputs(sources, target, recipe)
    own = {**own_code(recipe), **_memberships(sources.settings, recipe, inputs.context)}
    return inputs._replace(identity_inputs={**inputs.identity_inputs, **own})


def own_code(recipe: Recipe) -> dict[str, Any]:
    """The hashes of a recipe's feature sets, label and reward of one's own, as parts of an identity; empty without
    these."""
    hashes = {
        "feature_sets": set_hashes(recipe.feature_sets),
        "label_code": label_hash(recipe.label),
        "reward_code": reward_hash(recipe.params),
    }
    return {name: code for name, code in hashes.items() if code}


def _memberships(settings: Settings, recipe: Recipe, context: TrainingContext) -> dict[str, Any]:
    """The hashes of who was a member during the bars that a fit sees, as it was known at their end, of the recipe's
    universes."""
    names = {recipe.label_universe, *(made_by.within for made_by in recipe.feature_sets.values())} - {""}
    rows = context.window.full_times if context.features is None else context.features.index
    first, as_of = rows[0], context.window.as_of
    hashes = {name: universe_hash(settings.universes[name], first, as_of) for name in sorted(names)}
    return {"universes": hashes} if hashes else {}


def _inputs(sources: InputSources, target: TrainingTarget, recipe: Recipe) -> TrainingInputs:
    traits = algorithm(recipe.algorithm).traits
    if traits.is_pooled:
        return _pooled_inputs(sources, target)
    window = training_window(sources.store, sources.settings, target.symbol, recipe, target.as_of)
    if not traits.needs_market:
        example_rows = pd.DataFrame(window.full_x, window.full_times, list(window.columns))
        return TrainingInputs(TrainingContext(window), {}, example_rows, {})
    return _market_inputs(sources, target, window)


def check_recipe(name: str, recipe: Recipe) -> None:
    """ValueError if the recipe uses an option that its algorithm does not support."""
    traits = algorithm(recipe.algorithm).traits
    if unsupported := [c for c in CAPABILITIES if getattr(recipe, c) and c not in traits.capabilities]:
        raise ValueError(
            f"recipes.{name}: {recipe.algorithm} knows no {', '.join(unsupported)}; remove it from the recipe"
        )
    if recipe.members and not traits.is_ensemble:
        raise ValueError(f"recipes.{name}: {recipe.algorithm} combines nothing; remove members from the recipe")


def historical_positions(
    bars: Bars, window: Window, previous_versions: Sequence[Version], load: Callable[[str], Model | None]
) -> pd.DataFrame:
    """The positions held in the shadow on the window's bars, by the bar that filled them: a column per baseline and
    SHADOW.

    SHADOW holds the decisions of the recipe's previous versions, each from its as_of on, as shadow_scores records them.
    They are computed again, because a range run trains all weeks before it scores the first.
    """
    positions = pd.DataFrame({name: decide(name, bars.candles).shift(1) for name in BASELINES})
    if previous_versions:
        start = max(previous_versions[0].as_of, window.full_times[0])
        shadow = decisions(*bars, previous_versions, start, load).position
        positions[SHADOW] = shadow.reindex(bars.candles.index)
    return positions.loc[window.full_times[0] :]


def _market_inputs(sources: InputSources, target: TrainingTarget, window: Window) -> TrainingInputs:
    """The inputs of an agent, a sequence model or an ensemble: the window with the market around it."""
    recipe, history = sources.settings.recipes[target.recipe], sources.history(target)
    cls, loader, market = algorithm(recipe.algorithm), VersionLoader(sources.load), history.market
    first = history.first_month(window.full_times[0] - WEEK, max(cls.lookback_bars, MAX_LAGS) + 2)
    bars = history.known_bars(first, target.as_of)
    identity_inputs: dict[str, Any] = {
        "market": content_hash(bars.candles[["open", "close"]]),
        "costs": market.costs.model_dump(),
        "account": market.account.model_dump(),
    }
    if (untraded := bars.candles[UNTRADED]).any():
        identity_inputs["untraded"] = content_hash(untraded.to_frame())
    options: dict[str, Any] = {}
    excluded: dict[str, str] = {}
    if recipe.warm_start:
        identity_inputs["newest"], options["warm_start_from"] = loader.newest(sources.previous_versions)
    if recipe.replay:
        options["replay"] = historical_positions(bars, window, sources.previous_versions, loader)
        identity_inputs["replay"] = content_hash(options["replay"])
    if cls.traits.is_ensemble:
        span = OutOfSampleSpan(history, window.full_times[0], target.as_of, bars, loader, sources.decisions)
        members = read_members(span, target.recipe)
        options |= {"members": members.models, "member_positions": members.positions}
        identity_inputs |= {"members": members.model_ids, "record": content_hash(members.positions)}
        excluded = members.excluded
    context = TrainingContext(
        window,
        market=Market(bars.candles, market.costs, market.account),
        features=bars.features,
        horizon=recipe.label.horizon,
        **options,
    )
    example_rows = bars.features.reindex(window.full_times).join(bars.candles[["open", "close"]])
    return TrainingInputs(context, identity_inputs, example_rows, excluded, tuple(loader.deleted))


def _pooled_inputs(sources: InputSources, target: TrainingTarget) -> TrainingInputs:
    """The inputs of a pooled recipe: the windows of all its symbols as one, with this symbol's features as examples."""
    recipe, history = sources.settings.recipes[target.recipe], sources.history(target)
    window, excluded = pooled_window(history, target.recipe, target.as_of)
    first = history.first_month(target.as_of, recipe.window_bars)
    features = known_at(history.features(first, target.as_of), target.as_of, history.market.timeframe)
    example_rows = features[list(recipe.columns)].dropna()
    if example_rows.empty:
        raise InsufficientData(f"no whole row of features known at {target.as_of}, need 1", 0, 1)
    return TrainingInputs(TrainingContext(window), {}, example_rows, excluded)
