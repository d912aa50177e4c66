"""The recipes that an ensemble combines: which they are, their newest models, and their out-of-sample positions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from quantum_training.lifecycle.market_history import Bars, MarketHistory
from quantum_training.lifecycle.stored_months import NANOSECOND
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.market.periods import WEEK, week_of
from quantum_training.market.timeframe import opens_before
from quantum_training.models.contract import Model, algorithm
from quantum_training.settings import Settings
from quantum_training.trading.scoring import Version, assign_versions, decisions

DecisionCache = dict[tuple[str, str, str], pd.Series]
"""Positions of complete weeks, by symbol, recipe and the Monday that ends the week."""


def is_ensemble(name: str) -> bool:
    """Whether the algorithm of this name combines other recipes; False if it cannot be imported, which its own training
    reports."""
    with suppress(Exception):  # whatever a user's module raises, the other recipes' definitions load
        return algorithm(name).traits.is_ensemble
    return False


def members_of(settings: Settings, name: str) -> tuple[str, ...]:
    """The recipes that ensemble `name` combines; none for a recipe that is no ensemble.

    ValueError if it names another ensemble: an ensemble is fitted in the same week as its members.
    """
    recipe = settings.recipes[name]
    if not is_ensemble(recipe.algorithm):
        return ()
    ensembles = [other for other, r in settings.recipes.items() if is_ensemble(r.algorithm)]
    if nested := [member for member in recipe.members if member in ensembles]:
        raise ValueError(f"recipes.{name}.members: {', '.join(nested)} is an ensemble itself; name what it combines")
    return recipe.members or tuple(other for other in settings.recipes if other not in ensembles)


@dataclass(frozen=True)
class OutOfSampleSpan:
    """The bars [start, as_of) of a symbol, on which the past decisions of its recipes are wanted.

    bars: known at as_of, and from far enough before `start` for every recipe. load: a model by its id, None if it
    cannot be loaded. cache: weeks that were decided before in the same run.
    """

    history: MarketHistory
    start: pd.Timestamp
    as_of: pd.Timestamp
    bars: Bars
    load: Callable[[str], Model | None]
    cache: DecisionCache


class MemberInputs(NamedTuple):
    """What an ensemble is fitted on. positions: out of sample, a column per member. excluded: members, and why."""

    models: dict[str, Model]
    model_ids: dict[str, str]
    positions: pd.DataFrame
    excluded: dict[str, str]


def read_members(span: OutOfSampleSpan, ensemble: str) -> MemberInputs:
    """The newest versions of the members of recipe `ensemble`, and what each member decided on the bars of the span."""
    models, model_ids, excluded = dict[str, Model](), dict[str, str](), dict[str, str]()
    history = span.history
    for member in members_of(history.settings, ensemble):
        versions = [v for v in versions_of(history.store, history.symbol, member) if v.as_of <= span.as_of]
        if member not in history.market.recipes:
            excluded[member] = f"no recipe of {history.symbol}"
        elif not versions:
            excluded[member] = "it has no version yet"
        elif (model := span.load(versions[-1].model_id)) is None:
            excluded[member] = f"its version {versions[-1].model_id} cannot be loaded"
        else:
            models[member], model_ids[member] = model, versions[-1].model_id
    positions = pd.DataFrame({member: out_of_sample_positions(span, member) for member in models})
    return MemberInputs(models, model_ids, positions, excluded)


def out_of_sample_positions(span: OutOfSampleSpan, recipe: str) -> pd.Series:
    """The positions that the accepted versions of a recipe decided out of sample, by the bar that filled each.

    Week by week, as shadow_scores holds them. A week is read from there if the same versions decided on the same
    features, else it is decided again, because a range run trains all weeks before it scores the first.
    """
    history, candles, features = span.history, *span.bars
    versions, weeks = versions_of(history.store, history.symbol, recipe), []
    timeframe = history.market.timeframe
    for monday in pd.date_range(week_of(span.start), span.as_of - NANOSECOND, freq=WEEK):
        is_complete = monday + WEEK <= span.as_of
        end = monday + WEEK if is_complete else span.as_of
        cache_key = (history.symbol, recipe, f"{monday + WEEK:%Y-%m-%d}")
        week = span.cache.get(cache_key) if is_complete else None
        if week is None:
            versions_then = [v for v in versions if v.as_of < end]
            bars = Bars(candles.loc[: opens_before(end, timeframe) - NANOSECOND], features)
            week = _scored_positions(history, cache_key, versions_then, bars) if is_complete else None
            if week is None:
                first = opens_before(monday, timeframe)
                week = decisions(*bars, versions_then, first, span.load).position.loc[first:]
        if is_complete:
            span.cache[cache_key] = week
        weeks.append(week)
    return pd.concat(weeks).loc[span.start :]


def _scored_positions(
    history: MarketHistory, cache_key: tuple[str, str, str], versions: list[Version], bars: Bars
) -> pd.Series | None:
    """The stored positions of a week; None if it is not scored, or if these versions or features give others."""
    _, recipe, week = cache_key
    if week not in history.scored_weeks():
        return None
    scores = history.scores(week)
    recipe_scores = scores[scores["strategy"] == recipe]
    deciding = assign_versions(pd.DatetimeIndex(recipe_scores.index), versions)
    model_ids = [versions[n].model_id if n >= 0 else "" for n in deciding]
    if recipe_scores.empty or recipe_scores["model_id"].tolist() != model_ids:
        return None
    filled = pd.DatetimeIndex(scores.index.unique().sort_values())
    if history.scored_inputs_hash(week) != history.inputs_hash(bars, filled):
        return None
    return recipe_scores["target"].rename(None)
