"""Asset `candles`: validated OHLCV bars of a month. How a month is fetched and stored lives in lifecycle.ingestion."""

from typing import Any

import dagster as dg
import pandas as pd
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation

from quantum_training.assets.features import record_features
from quantum_training.assets.metadata.market_data import candles_metadata, defects_metadata, without_bars
from quantum_training.assets.partition_runner import OWNERS, SINGLE_RUN, each_partition, record_materializations
from quantum_training.lifecycle.gaps import BEFORE_START, NOT_LISTED
from quantum_training.lifecycle.ingestion import CandleMonth, ingest_month
from quantum_training.lifecycle.month_outcomes import settle_unlisted
from quantum_training.market.periods import Key
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings

QUALITY_CHECK = "quality"
"""The asset check on candles. It is evaluated here for refused months, in checks.candles for stored ones."""


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
        owners=OWNERS,
        description="Validated OHLCV bars of the month, UTC, from the symbol's source. Wrong bars are refused, never "
        "mended. The run then fails, after the other months are stored and their features computed.",
    )
    def candles(
        context: dg.AssetExecutionContext, config: CandlesConfig, store: dg.ResourceParam[Store]
    ) -> dg.MaterializeResult:
        now = pd.Timestamp.now("UTC")
        refused: dict[Key, CandleMonth] = {}

        def ingest(key: Key) -> dict[str, Any] | None:
            month = ingest_month(store, settings, key, now, config.refetch)
            if month.errors:
                refused[key] = month
                context.log.error(f"candles {key} refused: {month.errors[0].message}")
                return None
            if month.written is None:
                return without_bars(BEFORE_START, "it lies before the symbol's `start`")
            context.log.info(f"candles {key}: {len(month.bars)} bars, {len(month.defects)} warnings")
            return candles_metadata(month, month.written)

        def finish() -> None:
            metadata = without_bars(NOT_LISTED, "the market has no bar in this month and in those before")
            unlisted = {key: metadata for key in settle_unlisted(store, refused) if refused.pop(key)}
            if not refused:
                for key in unlisted:
                    context.add_asset_metadata(metadata, partition_key=str(key))
                return
            record_materializations(context, unlisted)
            keys = run_keys(partitions.month, context.run.tags)
            record_features(context, store, settings, [key for key in keys if key not in refused])
            report_refused(context, refused, len(keys))

        return each_partition(context, partitions.month, ingest, finish)

    return candles


def report_refused(context: dg.AssetExecutionContext, refused: dict[Key, CandleMonth], of: int) -> None:
    """Record the failed quality check of each refused month, then raise dg.Failure with the errors of all."""
    for key, month in refused.items():
        context.log_event(
            AssetCheckEvaluation(
                asset_key=context.asset_key,
                check_name=QUALITY_CHECK,
                passed=False,
                metadata=defects_metadata(month.defects),
                description=month.errors[0].message,
                blocking=True,
                partition=str(key),
            )
        )
    errors = "\n".join(f"{key}: {error.message}" for key, month in refused.items() for error in month.errors)
    raise dg.Failure(f"{len(refused)} of {of} months refused, nothing of them stored:\n{errors}", allow_retries=False)
