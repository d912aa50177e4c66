"""Asset `series`: values that are no candles, by the month in which they became known; and the feature sets that read
them.

How a month is brought lives in lifecycle/series.py, what a set makes of it in lifecycle/series_columns.py.
"""

from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.features import set_description, stored_columns
from quantum_training.assets.metadata.series import SERIES_COLUMNS, series_metadata, set_metadata
from quantum_training.assets.metadata.tables import SUMMARY, column_schema
from quantum_training.assets.partition_runner import SINGLE_RUN, each_partition
from quantum_training.lifecycle.ingestion import compute_month_features
from quantum_training.lifecycle.series import SERIES, ingest_series
from quantum_training.lifecycle.stored_sets import feature_asset
from quantum_training.market.periods import Key
from quantum_training.models.feature_set_hash import set_hash
from quantum_training.partitions import Partitions
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings

GROUP = "series"


def build_all(settings: Settings, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """`series`, and the assets of the sets that read them. partitions: of the series, which stand for the symbols."""
    sets = [name for name, feature_set in settings.features.items() if feature_set.series]
    return [_build_series(settings, partitions), *(_build_set(name, settings, partitions) for name in sets)]


def _build_series(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    @dg.asset(
        name=SERIES,
        partitions_def=partitions.month,
        backfill_policy=SINGLE_RUN,
        group_name=GROUP,
        kinds={"parquet"},
        metadata=column_schema(SERIES_COLUMNS),
        description="What became known of each series in the month, with the time that it is about. A value that the "
        "source replaces is kept, and its replacement counts from the time at which it was seen. Wrong values are "
        "refused; then nothing of the month is stored.",
    )
    def series(context: dg.AssetExecutionContext, store: dg.ResourceParam[Store]) -> dg.MaterializeResult:
        now = pd.Timestamp.now("UTC")

        def ingest(key: Key) -> dict[str, Any]:
            return series_metadata(key, ingest_series(store, settings, key, now))

        return each_partition(context, partitions.month, ingest)

    return series


def _build_set(name: str, settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    read = settings.features[name].series

    @dg.asset(
        name=feature_asset(name),
        partitions_def=partitions.month,
        backfill_policy=SINGLE_RUN,
        deps=[SERIES],
        group_name=GROUP,
        kinds={"parquet", "pandas"},
        metadata=column_schema(stored_columns(name, settings)),
        code_version=set_hash(settings.features[name]),
        description=set_description(name, settings),
    )
    def features(context: dg.AssetExecutionContext, store: dg.ResourceParam[Store]) -> dg.MaterializeResult:
        def compute(key: Key) -> dict[str, Any]:
            if key.symbol not in read:
                return {SUMMARY: f"This set is not computed from {key.symbol}."}
            return set_metadata(key, compute_month_features(store, settings, key, name))

        return each_partition(context, partitions.month, compute, without_line={*settings.series} - {*read})

    return features
