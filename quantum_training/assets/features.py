"""Asset `features`: causal features of a month's bars. What a feature is lives in features.indicators."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from quantum_training.assets.metadata.market_data import features_columns, features_metadata, without_bars
from quantum_training.assets.metadata.tables import column_schema
from quantum_training.assets.partition_runner import SINGLE_RUN, each_partition, record_materializations
from quantum_training.features.indicators import FEATURES, WARMUP_BARS
from quantum_training.lifecycle.ingestion import compute_month_features
from quantum_training.lifecycle.month_outcomes import has_no_bars, months_to_compute_again, why_no_features
from quantum_training.market.periods import Key
from quantum_training.partitions import Partitions
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings

FEATURES_ASSET = dg.AssetKey("features")


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""

    @dg.asset(
        partitions_def=partitions.month,
        backfill_policy=SINGLE_RUN,
        deps=["candles"],
        group_name="market",
        kinds={"parquet", "pandas"},
        metadata=column_schema(features_columns()),
        description=f"{len(FEATURES)} causal features of the month's bars. The {WARMUP_BARS} bars before the month are "
        "read from the stored candles of earlier months; rows without that much history stay empty. After a refused "
        "month that history begins anew. A month whose candles were refused waits; the others are computed.",
    )
    def features(context: dg.AssetExecutionContext, store: dg.ResourceParam[Store]) -> dg.MaterializeResult:
        waiting: dict[Key, str] = {}

        def compute(key: Key) -> dict[str, Any] | None:
            if reason := why_no_features(store, settings, key):
                waiting[key] = reason
                return None
            return compute_and_mend(context, store, settings, key)

        def report_waiting() -> None:
            if waiting:
                reasons = "\n".join(f"{key}: {reason}" for key, reason in waiting.items())
                raise dg.Failure(f"{len(waiting)} months wait for their candles:\n{reasons}", allow_retries=False)

        return each_partition(context, partitions.month, compute, report_waiting)

    return features


def compute_and_mend(context: dg.AssetExecutionContext, store: Store, settings: Settings, key: Key) -> dict[str, Any]:
    """The metadata of a month whose features were computed; so are those of others, if it closes a gap before them or
    their candles were restated."""
    if outcome := has_no_bars(store, settings, key):
        return without_bars(outcome, "candles has no bars of this month")
    metadata = features_metadata(key, compute_month_features(store, settings, key))
    again = {
        later: features_metadata(later, compute_month_features(store, settings, later))
        for later in months_to_compute_again(store, key)
    }
    record_materializations(context, again, FEATURES_ASSET)
    return metadata


def record_features(context: dg.AssetExecutionContext, store: Store, settings: Settings, keys: Iterable[Key]) -> None:
    """Compute these months in a run whose step `features` Dagster skips, since months of candles were refused in it."""
    selected = context.run.asset_selection
    if not selected or FEATURES_ASSET in selected:
        months = {key: compute_and_mend(context, store, settings, key) for key in keys}
        record_materializations(context, months, FEATURES_ASSET)
