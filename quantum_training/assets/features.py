"""Asset `features`: causal features of a month's bars. What a feature is lives in features.indicators."""

from typing import Any

import dagster as dg

from quantum_training.assets.metadata.market_data import features_metadata
from quantum_training.assets.partition_runner import OWNERS, SINGLE_RUN, each_partition
from quantum_training.features.indicators import FEATURES, WARMUP_BARS
from quantum_training.lifecycle.ingestion import compute_month_features
from quantum_training.market.periods import Key
from quantum_training.partitions import Partitions
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""

    @dg.asset(
        partitions_def=partitions.month,
        backfill_policy=SINGLE_RUN,
        deps=["candles"],
        group_name="market",
        kinds={"parquet", "pandas"},
        owners=OWNERS,
        description=f"{len(FEATURES)} causal features of the month's bars. The {WARMUP_BARS} bars before the month are "
        "read from the stored candles of earlier months; rows without that much history stay empty.",
    )
    def features(context: dg.AssetExecutionContext, store: dg.ResourceParam[Store]) -> dg.MaterializeResult:
        def compute(key: Key) -> dict[str, Any]:
            return features_metadata(compute_month_features(store, settings, key))

        return each_partition(context, partitions.month, compute)

    return features
