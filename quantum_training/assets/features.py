"""Asset `features`: causal features of a month's bars. What a feature is lives in features.indicators."""

import dagster as dg
import pandas as pd

from quantum_training.assets.loop import MONTH, OWNERS, SINGLE_RUN, each_partition, lookback_month, read_months
from quantum_training.features.indicators import FEATURES, WARMUP_BARS, compute_features
from quantum_training.partitions import Key, Partitions
from quantum_training.resources.store import Store
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
    def features(context: dg.AssetExecutionContext, store: Store) -> dg.MaterializeResult:
        def produce(key: Key) -> dict:
            symbol = settings.symbols[key.symbol]
            attributes = store.attributes("candles", key.symbol, key.period)
            until = pd.Timestamp(attributes["covered_until"]) if attributes else key.start + MONTH
            first = lookback_month(symbol, key.start, WARMUP_BARS)
            frame = compute_features(read_months(store, "candles", key.symbol, first, until), key.start)
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
