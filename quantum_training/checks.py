"""Asset checks: what is read from the store, judged and shown. The rules live in market.quality and monitoring."""

from collections.abc import Iterable, Mapping
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

import dagster as dg
import pandas as pd

from quantum_training.assets.candles import QUALITY_CHECK, bars_before, judge
from quantum_training.assets.loop import lookback_month, markdown, read_months
from quantum_training.assets.other_future import OtherFuture
from quantum_training.assets.practice import lesson, pool_of
from quantum_training.assets.refresh import REFUSED, TRAINED
from quantum_training.assets.retries import retried
from quantum_training.assets.versions import asset_name
from quantum_training.features.indicators import FEATURES, WARMUP_BARS, compute_features
from quantum_training.features.windows import InsufficientData
from quantum_training.market.quality import describe
from quantum_training.market.timeframe import to_timedelta
from quantum_training.models.contract import algorithm
from quantum_training.models.provenance import code_hash, identity
from quantum_training.monitoring.feature_sentinel import FUTURE_BARS, FeatureReport, examine_features
from quantum_training.monitoring.model_sentinel import (
    FIGURES,
    SEEDS,
    SOURCE_HASH,
    Trial,
    blind,
    examine,
    leaks,
    moved_position,
)
from quantum_training.partitions import Key, Partitions, run_keys
from quantum_training.resources.registry import ModelRegistry
from quantum_training.resources.registry_errors import VersionGone
from quantum_training.resources.store import Store
from quantum_training.settings import Recipe, Settings, Symbol

CAUSAL_CHECK, LEAK_CHECK = "causal", "leak_free"
SENTINEL_RECORD = "leak_sentinel"
DECIDED_BARS = 200
SKILL_FREE = {"window_bars", "sizing", "seeds", "warm_start", "replay", "every_weeks", "members", "resources"}
"""Fields of a recipe that the sentinel sets itself: recipes that differ in them alone are measured once."""


def candle_quality(settings: Settings, partitions: Partitions) -> dg.AssetChecksDefinition:
    """The blocking check on what `candles` stored: the same rules as at the door, applied to the bytes in the store."""

    @dg.asset_check(
        asset="candles",
        name=QUALITY_CHECK,
        blocking=True,
        partitions_def=partitions.month,
        description="Schema, order, calendar, gaps, jumps, volume of the stored bars. Errors block what comes after, "
        "warnings list their bars.",
    )
    def quality(context: dg.AssetCheckExecutionContext, store: Store) -> dg.AssetCheckResult:
        defects = []
        for key in run_keys(partitions.month, context.run.tags):
            until = pd.Timestamp(store.attributes("candles", key.symbol, key.period)["covered_until"])
            frame = store.read_frame("candles", key.symbol, key.period)
            defects += judge(key, settings, frame, until, bars_before(store, key))
        errors = [d for d in defects if d.severity == "error"]
        return dg.AssetCheckResult(
            passed=not defects,
            severity=dg.AssetCheckSeverity.ERROR if errors else dg.AssetCheckSeverity.WARN,
            description=(errors or defects)[0].message if defects else None,
            metadata={
                "defects": dg.MetadataValue.md(describe(defects)),
                "errors": len(errors),
                "warnings": len(defects) - len(errors),
            },
        )

    return quality


def feature_causality(settings: Settings, partitions: Partitions) -> dg.AssetChecksDefinition:
    """The blocking check on what `features` stored: no look-ahead, no memory beyond the warm-up."""

    @dg.asset_check(
        asset="features",
        name=CAUSAL_CHECK,
        blocking=True,
        partitions_def=partitions.month,
        description="Of each symbol's newest month of the run: the code gives the stored bytes again, rows up to the "
        f"month's middle keep every bit when all later bars change, and {WARMUP_BARS} bars of history are enough.",
    )
    def causal(context: dg.AssetCheckExecutionContext, store: Store) -> dg.AssetCheckResult:
        reports = {
            key: feature_report(store, settings.symbols[key.symbol], key)
            for key in _newest(run_keys(partitions.month, context.run.tags))
        }
        failures = [f"features {key}: {failure}" for key, report in reports.items() for failure in report.failures]
        differences = [r.warmup_difference for r in reports.values() if r.warmup_difference is not None]
        return dg.AssetCheckResult(
            passed=not failures,
            description=failures[0] if failures else None,
            metadata={
                "failures": dg.MetadataValue.md("\n".join(f"- {f}" for f in failures) or "none"),
                "compared": _table(reports, ["cut", "rows", "older_bars"]),
                "rows_compared": sum(r.rows for r in reports.values()),
                "bars_changed": FUTURE_BARS,
                **({"largest_warmup_difference": max(differences)} if differences else {}),
            },
        )

    return causal


def feature_report(store: Store, symbol: Symbol, key: Key) -> FeatureReport:
    """Examine the stored features of a month against the stored candles up to the same instant."""
    stored = store.read_frame("features", key.symbol, key.period)
    until = pd.Timestamp(store.attributes("features", key.symbol, key.period)["covered_until"])
    first = lookback_month(symbol, key.start, WARMUP_BARS)
    candles = read_months(store, "candles", key.symbol, first, until)
    return examine_features(compute_features, candles, stored, to_timedelta(symbol.timeframe))


def leak_free(name: str, settings: Settings, partitions: Partitions) -> dg.AssetChecksDefinition:
    """The blocking check on the model asset of recipe `name`: it must not know what comes later, nor seem to."""
    recipe = settings.recipes[name]

    @dg.asset_check(
        asset=asset_name(name),
        name=LEAK_CHECK,
        blocking=True,
        partitions_def=partitions.week,
        description="Of each symbol's newest trained week of the run: under another future what it learns from keeps "
        "its hash and the version its positions. Of the recipe, once per code: no skill on random walks, none from "
        "shuffled labels. Blocks the scores, which would be worth nothing.",
    )
    def check(context: dg.AssetCheckExecutionContext, store: Store, registry: ModelRegistry) -> dg.AssetCheckResult:
        asked = run_keys(partitions.week, context.run.tags)
        with retried(context):
            keys = _newest(_trained(store, name, asked))
            reports = {key: version_report(store, registry, settings, name, key) for key in keys}
        weeks = _table(reports, ["outcome", "as_of", "rows", "bars_changed"])
        if not any(r.rows for r in reports.values()):
            said = ", ".join(f"{key} {r.outcome}" for key, r in reports.items())
            return dg.AssetCheckResult(
                passed=True, description=f"nothing to examine: {said}", metadata={"weeks": weeks}
            )
        failures = [f"{name} {key}: {r.failure}" for key, r in reports.items() if r.failure]
        record = examined(store, name, recipe)
        experiments = record.get("experiments")
        if experiments:
            failures += [f"recipe {name}: {leak}" for leak in leaks(experiments)]
        unsure = blind(experiments) if experiments else f"not examined on synthetic markets: {record['insufficient']}"
        messages = failures or ([f"recipe {name}: {unsure}"] if unsure else [])
        return dg.AssetCheckResult(
            passed=not messages,
            severity=dg.AssetCheckSeverity.ERROR if failures else dg.AssetCheckSeverity.WARN,
            description=messages[0] if messages else None,
            metadata={
                "findings": dg.MetadataValue.md("\n".join(f"- {m}" for m in messages) or "none"),
                "weeks": weeks,
                **(_skill(experiments) if experiments else {}),
            },
        )

    return check


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
    record = store.read_record(asset_name(name), key.symbol, key.period) or {"outcome": "not materialised"}
    if record["outcome"] not in (TRAINED, REFUSED):
        return VersionReport(record["outcome"])
    as_of = pd.Timestamp(record["versions"][-1]["as_of"])
    cut = as_of - to_timedelta(symbol.timeframe)
    bars = FUTURE_BARS + recipe.label.span_bars
    names = pool_of(settings, key.symbol, name) if algorithm(recipe.algorithm).pools else [key.symbol]
    markets = {peer: settings.symbols[peer] for peer in names}
    futures = [OtherFuture.after(store, markets, cut, bars, rising) for rising in (True, False)]
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
        except VersionGone:
            return VersionReport("removed since")
        first = lookback_month(symbol, cut, DECIDED_BARS)
        rows = [
            future.read_frames("features", key.symbol, first, "9999").join(
                future.read_frames("candles", key.symbol, first, "9999")[["open", "close"]]
            )
            for future in futures
        ]
        if moved := moved_position(model, rows[0], rows[1], cut):
            failure = f"positions look ahead: {moved}; let each row's position depend on that row and earlier ones"
    return VersionReport("trained", str(as_of), len(one.full_y), bars, failure)


def examined(store: Store, name: str, recipe: Recipe) -> dict[str, Any]:
    """The recipe's record of skill on synthetic markets: read, or measured and stored where code or recipe is new."""
    code = code_hash(recipe.algorithm)
    made_of = identity(recipe=recipe.model_dump(mode="json", exclude=SKILL_FREE), code=code, sentinel=SOURCE_HASH)
    record = store.read_record(SENTINEL_RECORD, name, f"recipe-{made_of}")
    if record is None:
        record = _examine(recipe.model_dump_json(exclude=SKILL_FREE), code)
        store.write_record(SENTINEL_RECORD, name, f"recipe-{made_of}", record)
    return record


@cache
def _examine(recipe_json: str, code: str) -> dict[str, Any]:
    """Once per process, so that several stores cost no more than one. `code` is there to tell versions apart."""
    recipe = Recipe.model_validate_json(recipe_json)
    trial = Trial(
        recipe.algorithm,
        recipe.params,
        recipe.label,
        recipe.features or FEATURES,
        recipe.validation_fraction,
        recipe.seed,
    )
    try:
        return {"code_hash": code, "experiments": examine(trial)}
    except InsufficientData as short:
        return {"code_hash": code, "insufficient": str(short)}


def _table(reports: Mapping[Key, Any], columns: list[str]) -> dg.MarkdownMetadataValue:
    rows = [{"period": key.period, **report._asdict()} for key, report in reports.items()]
    return markdown(pd.DataFrame(rows, [key.symbol for key in reports], ["period", *columns], dtype=object))


def _skill(experiments: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    table = pd.DataFrame([experiments[e] for e in SEEDS], list(SEEDS), list(FIGURES), dtype=object)
    return {"skill": markdown(table), **{f"ic_{e}": experiments[e]["ic"] for e in SEEDS}}


def _trained(store: Store, name: str, keys: list[Key]) -> list[Key]:
    """Those of the weeks in which a version was trained; all where there is none."""
    records = {key: store.read_record(asset_name(name), key.symbol, key.period) for key in keys}
    return [key for key, record in records.items() if record and record["outcome"] in (TRAINED, REFUSED)] or keys


def _newest(keys: Iterable[Key]) -> list[Key]:
    """The newest period of each symbol; `keys` oldest first."""
    return list({key.symbol: key for key in keys}.values())
