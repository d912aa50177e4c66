"""The recipes that an ensemble combines: which they are, and what their versions decided out of sample."""

from collections.abc import Callable
from contextlib import suppress

import pandas as pd

from quantum_training.lifecycle.market_history import Bars, MarketHistory
from quantum_training.lifecycle.records import SHADOW_SCORES
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.market.periods import WEEK, week_of
from quantum_training.models.contract import Model, algorithm
from quantum_training.resources.store.store import Store
from quantum_training.settings.settings import Settings
from quantum_training.trading.scoring import Version, assign_versions, decisions

NANOSECOND = pd.Timedelta("1ns")
Seen = dict[tuple[str, str, str], pd.Series]
"""Whole weeks that were decided before, by symbol, recipe and the Monday that ends the week."""


def is_ensemble(name: str) -> bool:
    """Does the algorithm of this name combine other recipes? One that cannot be imported is found out in training."""
    with suppress(Exception):  # whatever a module of the user's fails with, the others' definitions load
        return algorithm(name).traits.is_ensemble
    return False


def members_of(settings: Settings, name: str) -> tuple[str, ...]:
    """The recipes that ensemble `name` combines; none for a recipe that is no ensemble.

    ValueError where it names another ensemble: an ensemble is fitted in the same week as those that it holds.
    """
    recipe = settings.recipes[name]
    if not is_ensemble(recipe.algorithm):
        return ()
    ensembles = [other for other, r in settings.recipes.items() if is_ensemble(r.algorithm)]
    if wrong := [member for member in recipe.members if member in ensembles]:
        raise ValueError(f"recipes.{name}.members: {', '.join(wrong)} is an ensemble itself; name what it combines")
    return recipe.members or tuple(other for other in settings.recipes if other not in ensembles)


def walk_forward(
    store: Store,
    settings: Settings,
    symbol: str,
    recipe: str,
    start: pd.Timestamp,
    as_of: pd.Timestamp,
    candles: pd.DataFrame,
    features: pd.DataFrame,
    load: Callable[[str], Model | None],
    seen: Seen,
) -> pd.Series:
    """What the accepted versions of a recipe decided out of sample, by the bar that filled it in [start, as_of).

    Week by week, as shadow_scores has it: read from there where the same versions decided on the same features, else
    decided again, because a range run trains all weeks before it scores the first. candles, features: known at as_of,
    and from far enough before `start` for every recipe.
    """
    versions, parts = versions_of(store, symbol, recipe), []
    for monday in pd.date_range(week_of(start), as_of - NANOSECOND, freq=WEEK):
        whole = monday + WEEK <= as_of
        end = monday + WEEK if whole else as_of
        key = (symbol, recipe, f"{monday + WEEK:%Y-%m-%d}")
        week = seen.get(key) if whole else None
        if week is None:
            known, bars = [v for v in versions if v.as_of < end], candles.loc[: end - NANOSECOND]
            week = _scored(store, settings, symbol, recipe, key[2], known, bars, features) if whole else None
            if week is None:
                week = decisions(bars, features, known, monday, load).position.loc[monday:]
        if whole:
            seen[key] = week
        parts.append(week)
    return pd.concat(parts).loc[start:]


def _scored(
    store: Store,
    settings: Settings,
    symbol: str,
    recipe: str,
    week: str,
    versions: list[Version],
    candles: pd.DataFrame,
    features: pd.DataFrame,
) -> pd.Series | None:
    """The stored positions of a week; None where there are none, or these versions or features give others."""
    if week not in store.periods(SHADOW_SCORES, symbol):
        return None
    scores = store.read_frame(SHADOW_SCORES, symbol, week)
    own = scores[scores["strategy"] == recipe]
    chosen = assign_versions(pd.DatetimeIndex(own.index), versions)
    if own.empty or own["model_id"].tolist() != [versions[n].model_id if n >= 0 else "" for n in chosen]:
        return None
    filled = pd.DatetimeIndex(scores.index.unique().sort_values())
    history = MarketHistory(store, settings, symbol)
    if history.scored_inputs_hash(week) != history.inputs_hash(Bars(candles, features), filled):
        return None
    return own["target"].rename(None)
