"""Asset `candles`: validated OHLCV bars of a month. What a valid candle is lives in market.quality."""

from functools import partial
from typing import Any, NamedTuple

import dagster as dg
import pandas as pd
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation

from quantum_training.assets.loop import MONTH, OWNERS, SINGLE_RUN, month_of, report_done
from quantum_training.assets.retries import raise_or_retry
from quantum_training.market.quality import Defect, assess, describe
from quantum_training.market.revision import complete, revised
from quantum_training.market.schema import SCHEMA_VERSION, empty_candles
from quantum_training.partitions import Key, Partitions, run_keys
from quantum_training.resources.sources import SourceError
from quantum_training.resources.store import Store
from quantum_training.settings import Settings

QUALITY_CHECK = "quality"
CONTEXT_BARS = 200


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
    def candles(context: dg.AssetExecutionContext, config: CandlesConfig, store: Store) -> dg.MaterializeResult:
        now = pd.Timestamp.now("UTC")
        keys = run_keys(partitions.month, context.run.tags)
        done: dict[Key, dict[str, Any]] = {}
        refused: dict[Key, list[Defect]] = {}
        for number, key in enumerate(keys, 1):
            try:
                frame, until, defects = fetch_month(key, settings, store, now, config.refetch)
            except Exception as error:
                error.add_note(f"in partition {key} of candles")
                raise_or_retry(context, error, partial(report_done, context, done))
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
            report_done(context, done)
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


class Fetched(NamedTuple):
    """A month's bars, the time up to which they are complete, and what is wrong with them."""

    frame: pd.DataFrame
    until: pd.Timestamp
    defects: list[Defect]


def fetch_month(key: Key, settings: Settings, store: Store, now: pd.Timestamp, refetch: bool) -> Fetched:
    """Complete the stored bars of a month from the source and judge them. SourceError where it has none of it yet."""
    symbol = settings.symbols[key.symbol]
    source = symbol.source
    until = min(key.start + MONTH, source.available_until(key.symbol, symbol.timeframe, now))
    if until <= key.start:
        remedy = f"Ask for months up to {month_of(until)}"
        raise SourceError(key.symbol, type(source).__module__.rpartition(".")[2], f"its data end at {until}", remedy)
    previous = bars_before(store, key)
    attributes = {} if refetch else store.attributes("candles", key.symbol, key.period)
    stored = store.read_frame("candles", key.symbol, key.period) if attributes else empty_candles()
    if attributes and pd.Timestamp(attributes["covered_until"]) >= until:
        until = pd.Timestamp(attributes["covered_until"])
        return Fetched(stored, until, judge(key, settings, stored, until, previous))
    known = stored if len(stored) else previous if source.revises_history and not refetch else stored
    since = known.index[-1] if len(known) else key.start
    fetched = source.fetch(key.symbol, symbol.timeframe, since, until, now)
    defects = revised(key.symbol, known, fetched)
    frame = complete(stored, fetched[fetched.index >= key.start])
    return Fetched(frame, until, defects + judge(key, settings, frame, until, previous))


def judge(
    key: Key, settings: Settings, frame: pd.DataFrame, until: pd.Timestamp, previous: pd.DataFrame
) -> list[Defect]:
    """The defects of a month's bars up to `until`, given the bars before it."""
    symbol = settings.symbols[key.symbol]
    return assess(
        frame,
        symbol=key.symbol,
        timeframe=symbol.timeframe,
        calendar=symbol.calendar,
        start=key.start,
        end=until,
        previous=previous if len(previous) else None,
        limits=settings.quality,
    )


def bars_before(store: Store, key: Key) -> pd.DataFrame:
    """The newest stored bars of the month before, or none."""
    before = (key.start - MONTH).strftime("%Y-%m-%d")
    if not store.attributes("candles", key.symbol, before):
        return empty_candles()
    return store.read_frame("candles", key.symbol, before).tail(CONTEXT_BARS)
