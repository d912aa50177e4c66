"""Asset `candles`: validated OHLCV bars of a month. What a valid candle is lives in market.quality."""

from functools import partial
from typing import Any

import dagster as dg
import pandas as pd
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation

from quantum_training.assets.partition_runner import OWNERS, SINGLE_RUN, record_materializations
from quantum_training.assets.step_retries import raise_or_retry
from quantum_training.checks.candles import QUALITY_CHECK
from quantum_training.lifecycle.ingestion import fetch_month
from quantum_training.market.periods import Key
from quantum_training.market.quality import Defect, describe
from quantum_training.market.schema import SCHEMA_VERSION
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.store.store import Store
from quantum_training.settings.settings import Settings


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
        description="Validated OHLCV bars of the month, UTC, from the symbol's source. "
        "Wrong bars are refused, never mended.",
    )
    def candles(
        context: dg.AssetExecutionContext, config: CandlesConfig, store: dg.ResourceParam[Store]
    ) -> dg.MaterializeResult:
        now = pd.Timestamp.now("UTC")
        keys = run_keys(partitions.month, context.run.tags)
        done: dict[Key, dict[str, Any]] = {}
        refused: dict[Key, list[Defect]] = {}
        for number, key in enumerate(keys, 1):
            try:
                frame, until, defects = fetch_month(key, settings, store, now, config.refetch)
            except Exception as error:
                error.add_note(f"in partition {key} of candles")
                raise_or_retry(context, error, partial(record_materializations, context, done))
            if any(d.severity == "error" for d in defects):
                refused[key] = defects
                context.log.error(f"candles {number}/{len(keys)} {key} refused: {defects[0].message}")
                continue
            written = store.write_frame(
                "candles", key.symbol, key.period, frame, {"covered_until": until.isoformat(), "schema": SCHEMA_VERSION}
            )
            done[key] = {
                "dagster/row_count": len(frame),
                "covered_until": dg.MetadataValue.timestamp(until.to_pydatetime()),
                **_first_and_last(frame),
                "content_hash": written.content_hash,
                "path": dg.MetadataValue.path(written.path),
                "warnings": len(defects),
            }
            context.log.info(f"candles {number}/{len(keys)} {key}: {len(frame)} bars, {len(defects)} warnings")
        if refused:
            record_materializations(context, done)
            for key, defects in refused.items():
                context.log_event(
                    AssetCheckEvaluation(
                        asset_key=context.asset_key,
                        check_name=QUALITY_CHECK,
                        passed=False,
                        metadata={"defects": dg.MetadataValue.md(describe(defects))},
                        description=defects[0].message,
                        blocking=True,
                        partition=str(key),
                    )
                )
            first = "\n".join(f"{key}: {d.message}" for key, ds in refused.items() for d in ds if d.severity == "error")
            raise dg.Failure(
                f"{len(refused)} of {len(keys)} months refused, nothing of them stored:\n{first}", allow_retries=False
            )
        for key, metadata in done.items():
            context.add_asset_metadata(metadata, partition_key=str(key))
        return dg.MaterializeResult()

    return candles


def _first_and_last(frame: pd.DataFrame) -> dict[str, Any]:
    if frame.empty:
        return {}
    first, last = (dg.MetadataValue.timestamp(frame.index[i].to_pydatetime()) for i in (0, -1))
    return {"first_bar": first, "last_bar": last, "close": float(frame["close"].iloc[-1])}
