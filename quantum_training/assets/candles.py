"""Asset `candles`: validated OHLCV bars of a month. How a month is fetched and stored lives in lifecycle.ingestion."""

from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.failed_months import raise_failed_months
from quantum_training.assets.features import record_features
from quantum_training.assets.metadata.market_data import CANDLE_COLUMNS, candles_metadata, without_bars
from quantum_training.assets.metadata.tables import column_schema
from quantum_training.assets.partition_runner import SINGLE_RUN, each_partition, record_materializations
from quantum_training.assets.step_retries import will_retry
from quantum_training.lifecycle.gaps import BEFORE_START
from quantum_training.lifecycle.ingestion_run import IngestionRun
from quantum_training.market.periods import Key
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings


class CandlesConfig(dg.Config):
    """How candles are fetched."""

    refetch: bool = False
    """Fetch the whole month again instead of what is missing; needed once a source has revised its history."""


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""

    @dg.asset(
        partitions_def=partitions.month,
        backfill_policy=SINGLE_RUN,
        group_name="market",
        kinds={"parquet"},
        metadata=column_schema(CANDLE_COLUMNS),
        description="Validated OHLCV bars of the month, UTC, from the symbol's source. Wrong bars are refused, never "
        "mended. The run then fails, after the other months are stored and their features computed. So it does if a "
        "source cannot be read.",
    )
    def candles(
        context: dg.AssetExecutionContext, config: CandlesConfig, store: dg.ResourceParam[Store]
    ) -> dg.MaterializeResult:
        run = IngestionRun(store, settings, pd.Timestamp.now("UTC"), config.refetch)

        def ingest(key: Key) -> dict[str, Any] | None:
            month = run.bring(key)
            if month is None:
                context.log.error(f"candles {key} failed: {run.problem(key)}")
                return None
            if month.written is None:
                return without_bars(BEFORE_START, "it lies before the symbol's `start`")
            context.log.info(f"candles {key}: {len(month.bars)} bars, {len(month.defects)} warnings")
            return candles_metadata(key, month, month.written)

        def finish() -> None:
            unlisted = {key: without_bars(outcome.outcome, outcome.reason) for key, outcome in run.settle().items()}
            if not run.failed:
                for key, metadata in unlisted.items():
                    context.add_asset_metadata(metadata, partition_key=str(key))
                return
            if run.outage and will_retry(context, run.outage):
                raise run.outage
            record_materializations(context, unlisted)
            keys = run_keys(partitions.month, context.run.tags)
            record_features(context, store, settings, [key for key in keys if key not in run.failed])
            raise_failed_months(context, run, keys)

        return each_partition(context, partitions.month, ingest, finish)

    return candles
