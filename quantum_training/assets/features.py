"""Asset `features`: causal features of a month's bars, and an asset `features_<set>` for each feature set.

What a feature is lives in features.indicators, and in the module of a set.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import dagster as dg

from quantum_training.assets.metadata.market_data import features_columns, features_metadata, without_bars
from quantum_training.assets.metadata.tables import SUMMARY, column_schema
from quantum_training.assets.partition_runner import SINGLE_RUN, each_partition, record_materializations
from quantum_training.features.indicators import FEATURES, WARMUP_BARS
from quantum_training.features.sets.feature_set import DEFAULT, FeatureSet, FeatureSetError
from quantum_training.lifecycle.feature_sets import is_stored_for
from quantum_training.lifecycle.ingestion import compute_month_features
from quantum_training.lifecycle.month_outcomes import has_no_bars, months_to_compute_again, why_no_features
from quantum_training.lifecycle.stored_sets import feature_asset
from quantum_training.market.periods import Key
from quantum_training.models.feature_set_hash import set_hash, universe_hash
from quantum_training.models.provenance import identity
from quantum_training.partitions import Partitions
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings


def build_all(settings: Settings, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of the default features and of each feature set that reads bars, for the symbols of these settings."""
    return [build(name, settings, partitions) for name in (DEFAULT, *sets_of_bars(settings))]


def sets_of_bars(settings: Settings) -> list[str]:
    """The feature sets that read bars; the others read series (assets/series.py)."""
    return [name for name, feature_set in settings.features.items() if not feature_set.series]


def build(name: str, settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset of a feature set."""
    unused = {symbol for symbol in settings.symbols if not is_stored_for(settings, symbol, name)}

    @dg.asset(
        name=feature_asset(name),
        partitions_def=partitions.month,
        backfill_policy=SINGLE_RUN,
        deps=["candles"],
        group_name="market",
        kinds={"parquet", "pandas"},
        metadata=column_schema(stored_columns(name, settings)),
        code_version=set_version(name, settings) if name in settings.features else None,
        description=set_description(name, settings),
    )
    def features(context: dg.AssetExecutionContext, store: dg.ResourceParam[Store]) -> dg.MaterializeResult:
        waiting: dict[Key, str] = {}

        def compute(key: Key) -> dict[str, Any] | None:
            if key.symbol in unused:
                return {SUMMARY: f"This set is not computed from bars of {key.symbol}."}
            if reason := why_no_features(store, settings, key):
                waiting[key] = reason
                return None
            return compute_and_mend(context, store, settings, key, name)

        def report_waiting() -> None:
            if waiting:
                reasons = "\n".join(f"{key}: {reason}" for key, reason in waiting.items())
                raise dg.Failure(f"{len(waiting)} months wait for their candles:\n{reasons}", allow_retries=False)

        return each_partition(context, partitions.month, compute, report_waiting, unused)

    return features


def feature_deps(
    sets: Mapping[str, FeatureSet], mapping: Callable[[Sequence[str]], dg.PartitionMapping]
) -> list[dg.AssetDep]:
    """The default features and these sets as upstream assets. mapping: given the other symbols or the series
    that a set reads, none for the same symbol."""
    read = {DEFAULT: (), **{name: feature_set.read_from for name, feature_set in sets.items()}}
    return [dg.AssetDep(feature_asset(name), partition_mapping=mapping(owners)) for name, owners in read.items()]


def set_version(name: str, settings: Settings) -> str:
    """The version of a set that Dagster shows: of its code and settings, and of who is a member of its universe."""
    chosen = settings.features[name]
    if not chosen.within:
        return set_hash(chosen)
    return identity(set=set_hash(chosen), universe=universe_hash(settings.universes[chosen.within]))


def set_description(name: str, settings: Settings) -> str:
    """What the asset of a set holds, for its page."""
    history = "read from the stored candles of earlier months; rows without that much history stay empty"
    if name == DEFAULT:
        return (
            f"{len(FEATURES)} causal features of the month's bars. The {WARMUP_BARS} bars before the month are "
            f"{history}. After a refused month that history begins anew. A month whose candles were refused waits; the "
            "others are computed."
        )
    chosen = settings.features[name]
    params = ", ".join(f"{param}={value!r}" for param, value in chosen.params.items())
    if chosen.series:
        return (
            f"Feature set `{name}`: `{chosen.module}.compute({params})` of the series {', '.join(chosen.series)}: a "
            "row for each time at which something became known in the month, and the newest one before it."
        )
    symbols = f"of {', '.join(chosen.of)}, for" if chosen.of else "for the symbols of"
    ranked = f" They learn from its ranks within the universe {chosen.within} at each bar." if chosen.within else ""
    return (
        f"Feature set `{name}`: `{chosen.module}.compute({params})` of the month's bars {symbols} the recipes that "
        f"learn from it.{ranked} Its warm-up is {history}."
    )


def stored_columns(name: str, settings: Settings) -> dict[str, str]:
    """What each column is. A set that cannot be imported has none here: its own run says why."""
    if name == DEFAULT:
        return features_columns()
    with suppress(FeatureSetError):
        return settings.features[name].stored_columns(name)
    return {}


def compute_and_mend(
    context: dg.AssetExecutionContext, store: Store, settings: Settings, key: Key, name: str = DEFAULT
) -> dict[str, Any]:
    """The metadata of a month whose features were computed; so are those of others, if it closes a gap before them or
    their candles were restated."""
    if outcome := has_no_bars(store, settings, key):
        return without_bars(outcome, "candles has no bars of this month")
    asset = feature_asset(name)
    metadata = features_metadata(key, compute_month_features(store, settings, key, name))
    again = {
        later: features_metadata(later, compute_month_features(store, settings, later, name))
        for later in months_to_compute_again(store, key, asset)
    }
    record_materializations(context, again, dg.AssetKey(asset))
    return metadata


def record_features(context: dg.AssetExecutionContext, store: Store, settings: Settings, keys: Iterable[Key]) -> None:
    """Compute these months in a run whose steps of features Dagster skips, as months of candles were refused in it."""
    selected, keys = context.run.asset_selection, [*keys]
    for name in (DEFAULT, *sets_of_bars(settings)):
        asset = dg.AssetKey(feature_asset(name))
        if not selected or asset in selected:
            used = [key for key in keys if is_stored_for(settings, key.symbol, name)]
            months = {key: compute_and_mend(context, store, settings, key, name) for key in used}
            record_materializations(context, months, asset)
