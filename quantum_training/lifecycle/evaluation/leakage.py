"""Examines features, versions and recipes for look-ahead. The statistics and limits are in monitoring/."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import pandas as pd
from cachetools import LRUCache

from quantum_training.features.sets.feature_set import DEFAULT, NO_SETS, FeatureSet
from quantum_training.features.windows import InsufficientData
from quantum_training.lifecycle.evaluation.perturbed_store import Perturbation, PerturbedStore
from quantum_training.lifecycle.feature_sets import computation, with_sets
from quantum_training.lifecycle.market_history import first_month_needed
from quantum_training.lifecycle.other_markets import other_symbols, symbols_read_by
from quantum_training.lifecycle.records import CANDLES, ModelRecord, model_asset, read_record
from quantum_training.lifecycle.restatement import RESTATEMENTS
from quantum_training.lifecycle.stored_months import read_bars
from quantum_training.lifecycle.stored_sets import feature_asset
from quantum_training.lifecycle.training.inputs import (
    InputSources,
    TrainingInputs,
    TrainingTarget,
    build_training_inputs,
    own_code,
)
from quantum_training.lifecycle.training.refresh_gate import REFUSED, TRAINED
from quantum_training.lifecycle.training.training_window import training_window
from quantum_training.market.periods import Key
from quantum_training.market.timeframe import to_timedelta
from quantum_training.models.contract import Model, TrainingContext, algorithm
from quantum_training.models.provenance import code_hash, identity
from quantum_training.monitoring.feature_leakage import FUTURE_BARS, FeatureReport, examine_features
from quantum_training.monitoring.leakage_source import source_hash
from quantum_training.monitoring.model_leakage import examine, inconclusive_reason, leak_findings, moved_position
from quantum_training.monitoring.synthetic_training import HOURLY, RecipeUnderTest
from quantum_training.resources.registry.errors import VersionDeleted
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.settings.schema import Recipe, Symbol

SKILL_RECORDS = "leak_sentinel"
"""Name in the store of the records of recipes' skill on synthetic markets."""

_NEWEST_VIEWS: LRUCache[tuple[Any, ...], tuple[Settings, list[PerturbedStore]]] = LRUCache(maxsize=1)
"""The newest views of this process: recipes that read the same are examined on the same ones, and so are all symbols of
a universe."""

CUTS_OF_SETS = 6
"""Bars of a month after which the future is replaced: a leak within days or weeks shows only at some of their hours."""

POSITION_BARS = 200
"""Bars before the cut on which a version's positions are compared."""

FIELDS_NOT_IN_SKILL = {"window_bars", "sizing", "seeds", "warm_start", "replay", "every_weeks", "members", "resources",
                       "search", "found_by"}  # fmt: skip
"""Fields of a recipe that the measurement of skill replaces or ignores: recipes that differ in these alone share one
record."""


def feature_report(
    store: Store, symbol: Symbol, key: Key, name: str = DEFAULT, sets: Mapping[str, FeatureSet] = NO_SETS
) -> FeatureReport:
    """Compare the stored features of a month with those computed from the stored candles, and with other later bars.

    name: of the feature set, one of `sets`.
    """
    made_by, cuts = computation(name, sets, symbol.timeframe), 1 if name == DEFAULT else CUTS_OF_SETS
    stored = store.read_frame(made_by.asset, key.symbol, key.period)
    until = pd.Timestamp(store.attributes(made_by.asset, key.symbol, key.period)["covered_until"])
    first = first_month_needed(symbol, key.start, made_by.warmup_bars)
    candles = read_bars(store, "candles", key.symbol, first, until, symbol)
    spacing = to_timedelta(symbol.timeframe)
    return examine_features(made_by.compute, candles, stored, spacing, made_by.warmup_bars, cuts)


class VersionReport(NamedTuple):
    """What changes in a week's newest version if later bars change. rows: of its window, 0 if nothing was examined."""

    outcome: str
    as_of: str | None = None
    rows: int = 0
    bars_changed: int = 0
    failure: str | None = None


class LeakReport(NamedTuple):
    """What a recipe's leak check found. versions: by the week that was examined, of each symbol the newest.

    failures: look-ahead, in sentences. remarks: why the recipe could not be examined fully. experiments: its skill on
    synthetic markets, None if it was not measured.
    """

    versions: dict[Key, VersionReport]
    failures: list[str]
    remarks: list[str]
    experiments: Mapping[str, Mapping[str, float]] | None

    @property
    def is_examined(self) -> bool:
        """Was there a version to examine?"""
        return any(report.rows for report in self.versions.values())


def leak_report(
    store: Store, registry: ModelRegistry, settings: Settings, name: str, keys: Iterable[Key]
) -> LeakReport:
    """Examine the newest version of each symbol in these weeks, oldest first, and once per code the recipe's skill."""
    newest = {key.symbol: key for key in trained_weeks(store, name, [*keys])}.values()
    versions = {key: version_report(store, registry, settings, name, key) for key in newest}
    failures = [f"{name} {key}: {report.failure}" for key, report in versions.items() if report.failure]
    report = LeakReport(versions, failures, [], None)
    if not report.is_examined:
        return report
    timeframe = synthetic_timeframe(settings, name)
    record = skill_record(store, name, settings.recipes[name], timeframe)
    experiments = record.get("experiments")
    if experiments is None:
        remark: str | None = f"not examined on synthetic markets: {record['insufficient']}"
    else:
        failures += [f"recipe {name}: {leak}" for leak in leak_findings(experiments)]
        remark = inconclusive_reason(experiments)
    return report._replace(remarks=[f"recipe {name}: {remark}"] if remark else [], experiments=experiments)


def synthetic_timeframe(settings: Settings, name: str) -> str:
    """The timeframe of a recipe's synthetic bars: the shortest of those that its feature sets are computed from."""
    market = next(market for market in settings.symbols.values() if name in market.recipes)
    others = [settings.symbols[symbol] for symbol in other_symbols(settings.recipes[name].feature_sets)]
    return min((m.timeframe for m in (market, *others)), key=to_timedelta)


def trained_weeks(store: Store, name: str, keys: list[Key]) -> list[Key]:
    """Those of these weeks in which a version was trained; all of them if there is none."""
    records = {key: read_record(store, ModelRecord, key.symbol, key.period, model_asset(name)) for key in keys}
    trained = [key for key, record in records.items() if record and record.outcome in (TRAINED, REFUSED)]
    return trained or keys


def version_report(store: Store, registry: ModelRegistry, settings: Settings, name: str, key: Key) -> VersionReport:
    """Replace the bars after the newest version of a week in two ways: its inputs and positions must not change.

    RegistryOutage if MLflow cannot be reached. StoreError if bars up to the version's as_of are not stored.
    """
    record = read_record(store, ModelRecord, key.symbol, key.period, model_asset(name))
    if record is None or record.outcome not in (TRAINED, REFUSED):
        return VersionReport((record and record.outcome) or "not materialised")
    version, symbol = record.versions[-1], settings.symbols[key.symbol]
    cut = version.time - to_timedelta(symbol.timeframe)
    bars = FUTURE_BARS + settings.recipes[name].label.span_bars
    perturbed = perturbed_stores(store, settings, name, key.symbol, version.time, bars)
    load = lru_cache(maxsize=8)(partial(registry.load, key.symbol))
    target = TrainingTarget(key.symbol, name, version.time)
    try:
        one, other = (own_inputs(InputSources(s, settings, (), load, {}), target) for s in perturbed)
    except InsufficientData as error:
        return VersionReport(f"insufficient: {error}")
    failure = changed_inputs(one, other, version.time)
    if failure is None:
        try:
            model = registry.load(key.symbol, version.model_id)
            failure = changed_positions(model, perturbed, settings, name, key.symbol, cut)
        except VersionDeleted:
            return VersionReport("removed since")
    return VersionReport("trained", str(version.time), len(one.window.full_y), bars, failure)


def perturbed_stores(
    store: Store, settings: Settings, name: str, symbol: str, as_of: pd.Timestamp, bars: int
) -> list[PerturbedStore]:
    """Two views of the store whose bars after as_of rise and fall: of the symbol, and of those whose bars the recipe
    reads beside its own."""
    sets = settings.recipes[name].feature_sets
    markets = {s: settings.symbols[s] for s in sorted({symbol, *symbols_read_by(settings, settings.recipes[name])})}
    assets = [(asset, s) for s in markets for asset in (CANDLES, RESTATEMENTS)]
    assets += [(feature_asset(of_series), s) for of_series, made_by in sets.items() for s in made_by.series]
    written = str([store.stamps(asset, s, suffix) for asset, s in assets for suffix in ("parquet", "json")])
    key = (id(settings), repr(sets), store.root, as_of, bars, *markets, written)
    if key not in _NEWEST_VIEWS:
        changes = [Perturbation(as_of, bars, rising) for rising in (True, False)]
        views = [PerturbedStore.after(store, markets, change, sets) for change in changes]
        _NEWEST_VIEWS[key] = (settings, views)  # settings: so that their id stays theirs
    return _NEWEST_VIEWS[key][1]


def own_inputs(sources: InputSources, target: TrainingTarget) -> TrainingInputs:
    """The inputs of a fit, of a pool the symbol's own part: that of each other symbol is examined in its own check.

    Errors as in build_training_inputs.
    """
    recipe = sources.settings.recipes[target.recipe]
    if not algorithm(recipe.algorithm).traits.is_pooled:
        return build_training_inputs(sources, target)
    window = training_window(sources.store, sources.settings, target.symbol, recipe, target.as_of)
    return TrainingInputs(TrainingContext(window), {}, pd.DataFrame(), {})


def changed_inputs(one: TrainingInputs, other: TrainingInputs, as_of: pd.Timestamp) -> str | None:
    """How two sets of training inputs as of the same time differ, None if they are the same."""
    if one.window.content_hash != other.window.content_hash:
        return (
            f"the training window as of {as_of} changes with the bars after it ({len(one.window.full_y)} rows up to "
            f"{one.window.full_times[-1]}, with other later bars {len(other.window.full_y)} up to "
            f"{other.window.full_times[-1]}); keep only rows and outcomes known at as_of"
        )
    if changed := [part for part, value in one.identity_inputs.items() if other.identity_inputs[part] != value]:
        return (
            f"what it learns from beside the window ({', '.join(changed)}) changes with the bars after {as_of}; keep "
            "only what was known then"
        )
    return None


def changed_positions(
    model: Model, perturbed: Sequence[Store], settings: Settings, name: str, symbol: str, cut: pd.Timestamp
) -> str | None:
    """Which position of a recipe's model up to the cut differs between the two stores, None if none does."""
    first, sets = first_month_needed(settings.symbols[symbol], cut, POSITION_BARS), settings.recipes[name].feature_sets
    one, other = (
        with_sets(store, settings, symbol, store.read_frames("features", symbol, first, "9999"), sets).join(
            store.read_frames("candles", symbol, first, "9999")[["open", "close"]]
        )
        for store in perturbed
    )
    if difference := moved_position(model, one, other, cut):
        return f"positions look ahead: {difference}; let each row's position depend on that row and earlier ones"
    return None


def skill_record(store: Store, name: str, recipe: Recipe, timeframe: str = HOURLY) -> dict[str, Any]:
    """The recipe's skill on synthetic markets: read from the store, or measured and stored if code or recipe is new.

    timeframe: of the bars from which the recipe's feature sets are computed; it has no other use.
    """
    code = code_hash(recipe.algorithm)
    own = {**own_code(recipe), **({"timeframe": timeframe} if recipe.feature_sets else {})}
    recipe_id = identity(
        recipe=recipe.model_dump(mode="json", exclude=FIELDS_NOT_IN_SKILL), code=code, sentinel=source_hash(), **own
    )
    record = store.read_record(SKILL_RECORDS, name, f"recipe-{recipe_id}")
    if record is None:
        record = measure_skill(recipe, timeframe, code)
        store.write_record(SKILL_RECORDS, name, f"recipe-{recipe_id}", record)
    return record


def recipe_under_test(recipe: Recipe, timeframe: str = HOURLY) -> RecipeUnderTest:
    """The parts of a recipe that are fitted on synthetic markets."""
    return RecipeUnderTest(
        recipe.algorithm,
        recipe.params,
        recipe.label,
        recipe.columns,
        recipe.validation_fraction,
        recipe.seed,
        recipe.feature_sets,
        timeframe,
    )


def measure_skill(recipe: Recipe, timeframe: str, code: str) -> dict[str, Any]:
    """Fit the recipe on synthetic markets: the record of `skill_record`. code: the hash of its algorithm's code."""
    try:
        return {"code_hash": code, "experiments": examine(recipe_under_test(recipe, timeframe))}
    except InsufficientData as error:
        return {"code_hash": code, "insufficient": str(error)}
