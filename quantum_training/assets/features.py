"""Asset `features`: causal features of a month's bars. What a feature is lives in features.indicators."""

import dagster as dg
import pandas as pd

from quantum_training.assets.partition_runner import OWNERS, SINGLE_RUN, each_partition
from quantum_training.features.indicators import FEATURES, WARMUP_BARS, compute_features
from quantum_training.lifecycle.market_history import first_month_needed, read_bars
from quantum_training.market.periods import MONTH, Key
from quantum_training.partitions import Partitions
from quantum_training.resources.store.store import Store
from quantum_training.settings.settings import Settings


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
        def produce(key: Key) -> dict:
            symbol = settings.symbols[key.symbol]
            attributes = store.attributes("candles", key.symbol, key.period)
            until = pd.Timestamp(attributes["covered_until"]) if attributes else key.start + MONTH
            first = first_month_needed(symbol, key.start, WARMUP_BARS)
            frame = compute_features(read_bars(store, "candles", key.symbol, first, until), key.start)
            written = store.write_frame(
                "features",
                key.symbol,
                key.period,
                frame,
                {"covered_until": until.isoformat(), "candles": attributes["content_hash"]},
            )
            return {
                "dagster/row_count": len(frame),
                "complete_rows": int(frame.notna().all(axis=1).sum()),
                "covered_until": dg.MetadataValue.timestamp(until.to_pydatetime()),
                "content_hash": written.content_hash,
                "path": dg.MetadataValue.path(written.path),
            }

        return each_partition(context, partitions.month, produce)

    return features
