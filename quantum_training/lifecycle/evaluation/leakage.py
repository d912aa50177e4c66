"""Examining features, versions and recipes for look-ahead. The rules: monitoring."""

from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

import pandas as pd

from quantum_training.features.indicators import FEATURES, WARMUP_BARS, compute_features
from quantum_training.features.windows import InsufficientData
from quantum_training.lifecycle.evaluation.perturbed_store import PerturbedStore
from quantum_training.lifecycle.market_history import first_month_needed, read_bars
from quantum_training.lifecycle.records import model_asset
from quantum_training.lifecycle.training.inputs import lesson
from quantum_training.lifecycle.training.pools import pool_of
from quantum_training.lifecycle.training.refresh_gate import REFUSED, TRAINED
from quantum_training.market.periods import Key
from quantum_training.market.timeframe import to_timedelta
from quantum_training.models.contract import algorithm
from quantum_training.models.provenance import code_hash, identity
from quantum_training.monitoring.feature_leakage import FUTURE_BARS, FeatureReport, examine_features
from quantum_training.monitoring.leakage_source import source_hash
from quantum_training.monitoring.model_leakage import (
    examine,
    moved_position,
)
from quantum_training.monitoring.synthetic_training import RecipeUnderTest
from quantum_training.resources.registry.errors import VersionDeleted
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings.schema import Recipe, Symbol
from quantum_training.settings.settings import Settings

SENTINEL_RECORD = "leak_sentinel"


DECIDED_BARS = 200


SKILL_FREE = {"window_bars", "sizing", "seeds", "warm_start", "replay", "every_weeks", "members", "resources"}
"""Fields of a recipe that the sentinel sets itself: recipes that differ in them alone are measured once."""


def feature_report(store: Store, symbol: Symbol, key: Key) -> FeatureReport:
    """Examine the stored features of a month against the stored candles up to the same instant."""
    stored = store.read_frame("features", key.symbol, key.period)
    until = pd.Timestamp(store.attributes("features", key.symbol, key.period)["covered_until"])
    first = first_month_needed(symbol, key.start, WARMUP_BARS)
    candles = read_bars(store, "candles", key.symbol, first, until)
    return examine_features(compute_features, candles, stored, to_timedelta(symbol.timeframe))


class VersionReport(NamedTuple):
    """What another future did to a week's newest version. `rows` of its window, 0 where nothing was examined."""

    outcome: str
    as_of: str | None = None
    rows: int = 0
    bars_changed: int = 0
    failure: str | None = None


def version_report(store: Store, registry: ModelRegistry, settings: Settings, name: str, key: Key) -> VersionReport:
    """Give the newest version of a week two futures in turn: its training window and its positions must be the same."""
    recipe, symbol = settings.recipes[name], settings.symbols[key.symbol]
    record = store.read_record(model_asset(name), key.symbol, key.period) or {"outcome": "not materialised"}
    if record["outcome"] not in (TRAINED, REFUSED):
        return VersionReport(record["outcome"])
    as_of = pd.Timestamp(record["versions"][-1]["as_of"])
    cut = as_of - to_timedelta(symbol.timeframe)
    bars = FUTURE_BARS + recipe.label.span_bars
    names = pool_of(settings, key.symbol, name) if algorithm(recipe.algorithm).traits.is_pooled else [key.symbol]
    markets = {peer: settings.symbols[peer] for peer in names}
    futures = [PerturbedStore.after(store, markets, cut, bars, rising) for rising in (True, False)]
    load = lru_cache(maxsize=8)(partial(registry.load, key.symbol))
    try:
        taught = [lesson(future, settings, key.symbol, name, as_of, (), load, {}) for future in futures]
    except InsufficientData as short:
        return VersionReport(f"insufficient: {short}")
    failure = None
    one, other = (told.window for told in taught)
    if one.content_hash != other.content_hash:
        failure = (
            f"the training window as of {as_of} changes with the bars after it ({len(one.full_y)} rows up to "
            f"{one.full_times[-1]}, under another future {len(other.full_y)} up to {other.full_times[-1]}); keep only "
            "rows and outcomes known at as_of"
        )
    elif changed := [part for part, value in taught[0].made_of.items() if taught[1].made_of[part] != value]:
        failure = (
            f"what it learns from beside the window ({', '.join(changed)}) changes with the bars after {as_of}; keep "
            "only what was known then"
        )
    else:
        try:
            model = registry.load(key.symbol, record["versions"][-1]["model_id"])
        except VersionDeleted:
            return VersionReport("removed since")
        first = first_month_needed(symbol, cut, DECIDED_BARS)
        rows = [
            future.read_frames("features", key.symbol, first, "9999").join(
                future.read_frames("candles", key.symbol, first, "9999")[["open", "close"]]
            )
            for future in futures
        ]
        if moved := moved_position(model, rows[0], rows[1], cut):
            failure = f"positions look ahead: {moved}; let each row's position depend on that row and earlier ones"
    return VersionReport("trained", str(as_of), len(one.full_y), bars, failure)


def skill_record(store: Store, name: str, recipe: Recipe) -> dict[str, Any]:
    """The recipe's record of skill on synthetic markets: read, or measured and stored where code or recipe is new."""
    code = code_hash(recipe.algorithm)
    made_of = identity(recipe=recipe.model_dump(mode="json", exclude=SKILL_FREE), code=code, sentinel=source_hash())
    record = store.read_record(SENTINEL_RECORD, name, f"recipe-{made_of}")
    if record is None:
        record = measure_skill(recipe.model_dump_json(exclude=SKILL_FREE), code)
        store.write_record(SENTINEL_RECORD, name, f"recipe-{made_of}", record)
    return record


@cache
def measure_skill(recipe_json: str, code: str) -> dict[str, Any]:
    """Once per process, so that several stores cost no more than one. `code` is there to tell versions apart."""
    recipe = Recipe.model_validate_json(recipe_json)
    recipe_under_test = RecipeUnderTest(
        recipe.algorithm,
        recipe.params,
        recipe.label,
        recipe.features or FEATURES,
        recipe.validation_fraction,
        recipe.seed,
    )
    try:
        return {"code_hash": code, "experiments": examine(recipe_under_test)}
    except InsufficientData as short:
        return {"code_hash": code, "insufficient": str(short)}
