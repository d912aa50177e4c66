"""Jobs: `market_data`, `weekly_cycle`, `drift`, `decay`, `trading_signals`, `housekeeping`;
`clm_cycle`: the first two as one line for CI.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

import dagster as dg
import pandas as pd
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.storage.tags import MAX_RETRIES_TAG, MAX_RUNTIME_SECONDS_TAG
from pydantic import Field

from quantum_training.assets.cluster_tags import cluster_tags, needs_of
from quantum_training.assets.housekeeping import ASSET as HOUSEKEEPING_REPORT
from quantum_training.automation.failures.interruptions import stopped
from quantum_training.automation.failures.storage_faults import RESTART_TAG, restart_after_storage_fault
from quantum_training.automation.run_launcher import LAUNCHED_BY
from quantum_training.lifecycle.decision.cycle_summary import champion_row, champion_table
from quantum_training.lifecycle.market_history import first_month_for_week
from quantum_training.lifecycle.records import DECAY_REPORT
from quantum_training.lifecycle.training.pools import pool_peers
from quantum_training.market.periods import WEEK, week_of
from quantum_training.partitions import RANGE_TAGS
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings.settings import Settings

T = TypeVar("T")
MARKET_DATA, WEEKLY_CYCLE, DRIFT, DECAY, CLM_CYCLE = "market_data", "weekly_cycle", "drift", "decay", "clm_cycle"
HOUSEKEEPING = "housekeeping"
SIGNALS = "trading_signals"  # Dagster takes no job of the name of an asset

CARRIES_RUNS = {"quantum_training/carries_runs": "true"}
"""Tag of a run that trains in runs of its own, which no pool counts: dagster.yaml lets one of them run at a time."""

FAILED_SYMBOLS = "failed_symbols"
"""Metadata of a failure: reason by symbol."""


class CycleConfig(dg.Config):
    """Which symbols and weeks a cycle goes over."""

    symbols: list[str] = Field(default_factory=list)
    """Symbols of the settings; none named means all."""
    week: str = "latest"
    """The last week, a Monday YYYY-MM-DD, or `latest`: the latest week that the symbol's data allow."""
    weeks: int = 1
    """How many consecutive weeks up to that one, as one walk-forward."""


def run_limits(settings: Settings) -> dict[str, Any]:
    """Tags of a training run: its limits, and what it needs of a cluster where it trains in its own process."""
    in_process = settings.executor == "in_process"
    return {**(cluster_tags(needs_of(settings)) if in_process else {}), **time_limits(settings)}


def time_limits(settings: Settings) -> dict[str, str]:
    """Tags of a run: how long it may take, and that it is started again where its process died.

    A step that failed is not: assets/retries.py tries it again inside the run where the fault can pass.
    """
    return {
        MAX_RUNTIME_SECONDS_TAG: str(settings.training_job_timeout),
        MAX_RETRIES_TAG: str(settings.training_retry_attempts),
        RESTART_TAG: "false",
    }


def launcher_limits(settings: Settings) -> dict[str, Any]:
    """As `run_limits`, for a run that runs two jobs per symbol in its own process: as long as all of them may take."""
    most = settings.training_job_timeout * 2 * len(settings.symbols)
    return {**run_limits(settings), **CARRIES_RUNS, MAX_RUNTIME_SECONDS_TAG: str(most)}


def asset_jobs(settings: Settings) -> list[Any]:
    """The partitioned jobs. Each runs its assets in one process."""
    return [
        dg.define_asset_job(
            MARKET_DATA,
            dg.AssetSelection.groups("market"),
            config=_logging(settings),
            tags=time_limits(settings),
            hooks={restart_after_storage_fault},
            description="Candles and features of a month.",
        ),
        dg.define_asset_job(
            WEEKLY_CYCLE,
            dg.AssetSelection.groups("models", "evidence"),
            config=_logging(settings),
            tags=run_limits(settings),
            hooks={restart_after_storage_fault},
            description="Train as of the week, score the week before in the shadow, backtest, decide the champion "
            "and its share of capital, look whether it has decayed.",
        ),
        dg.define_asset_job(
            DRIFT,
            dg.AssetSelection.groups("monitoring"),
            config=_logging(settings),
            tags=time_limits(settings),
            hooks={restart_after_storage_fault},
            description="Test the week before a day for drift.",
        ),
        dg.define_asset_job(
            DECAY,
            dg.AssetSelection.assets(DECAY_REPORT),
            config=_logging(settings),
            tags=time_limits(settings),
            hooks={restart_after_storage_fault},
            description="Test the champion of a week for decay again, as after a new measurement from outside.",
        ),
        dg.define_asset_job(
            HOUSEKEEPING,
            dg.AssetSelection.assets(HOUSEKEEPING_REPORT),
            config=_logging(settings),
            tags=time_limits(settings),
            hooks={restart_after_storage_fault},
            description="Remove what is older than MODEL_RETENTION_DAYS and nothing needs. By hand it only tells what "
            "it would remove, until its config says dry_run: false; the schedule removes.",
        ),
        dg.define_asset_job(
            SIGNALS,
            dg.AssetSelection.groups("trading"),
            config=_logging(settings),
            tags=time_limits(settings),
            hooks={restart_after_storage_fault},
            description="The target position of a symbol's champion now, times its share of capital.",
        ),
    ]


def launcher_job(settings: Settings, definitions: Callable[[], dg.Definitions]) -> dg.JobDefinition:
    """`clm_cycle`: unpartitioned; runs the two jobs in this process, one recorded run of each per symbol."""

    @dg.op(description="Bring the market data up to the asked weeks, then run the weekly cycle, symbol by symbol.")
    def run_cycle(
        context: dg.OpExecutionContext,
        config: CycleConfig,
        store: dg.ResourceParam[Store],
        registry: dg.ResourceParam[ModelRegistry],
    ) -> None:
        failed = run_symbols(context, config, settings, definitions)
        asked = config.symbols or [*settings.symbols]
        rows = each_symbol(context, asked, failed, lambda symbol: champion_row(store, registry, symbol))
        if rows:
            context.log.info("champions\n" + champion_table(rows))
        if failed:
            raise symbols_failed(failed, len(asked))

    @dg.job(
        name=CLM_CYCLE,
        description="The whole cycle: the line for CI.",
        tags=launcher_limits(settings),
    )
    def clm_cycle() -> None:
        run_cycle()

    return clm_cycle


def each_symbol(
    context: dg.OpExecutionContext, asked: Sequence[str], failed: dict[str, str], tell: Callable[[str], T]
) -> list[T]:
    """What `tell` gives for each symbol that has not failed; one that it raises for has, and the others go on."""
    told = []
    for symbol in asked:
        if symbol in failed:
            continue
        try:
            told.append(tell(symbol))
        except Exception as error:
            failed[symbol] = f"its result cannot be read: {type(error).__name__}: {error}"
            context.log.error(f"{symbol} failed: {failed[symbol]}")
    return told


def symbols_failed(failed: Mapping[str, str], asked: int) -> dg.Failure:
    """The one place that names every symbol that failed, and why."""
    reasons = "\n".join(f"{symbol}: {reason}" for symbol, reason in failed.items())
    return dg.Failure(
        f"{len(failed)} of {asked} symbols failed:\n{reasons}",
        metadata={FAILED_SYMBOLS: dg.MetadataValue.json(dict(failed))},
        allow_retries=False,
    )


def run_symbols(
    context: dg.OpExecutionContext,
    config: CycleConfig,
    settings: Settings,
    definitions: Callable[[], dg.Definitions],
) -> dict[str, str]:
    """Run `market_data`, then `weekly_cycle`, symbol by symbol. Returns the symbols that failed and why.

    The market data come first for all, and for the symbols that are only pooled with those asked for: a pool that finds
    the bars of a symbol missing leaves it out. Failure where the config names an unknown symbol or no week.
    """
    unknown = sorted(set(config.symbols) - set(settings.symbols))
    if unknown or config.weeks < 1:
        problem = f"unknown symbols {', '.join(unknown)}" if unknown else f"weeks = {config.weeks} is below 1"
        raise dg.Failure(
            f"{context.job_name}: {problem}; symbols are {', '.join(settings.symbols)}", allow_retries=False
        )
    asked = config.symbols or [*settings.symbols]
    failed: dict[str, str] = {}

    def run(job: str, symbol: str) -> None:
        try:
            first, last = weeks_of(settings, symbol, config)
            context.log.info(f"{symbol}: {job} for the weeks {first} to {last}")
            if job == MARKET_DATA:
                first = max(first_month_for_week(settings, symbol, first), settings.start.strftime("%Y-%m-01"))
                last = (pd.Timestamp(last) - pd.Timedelta("1ns")).strftime("%Y-%m-01")
            run_job(context, definitions().resolve_job_def(job), symbol, (first, last), _logging(settings))
        except Exception as error:
            failed[symbol] = str(error)
            context.log.error(f"{symbol} failed: {error}")

    for symbol in [*asked, *(peer for peer in pool_peers(settings, asked) if peer not in asked)]:
        run(MARKET_DATA, symbol)
    for symbol in asked:
        if symbol not in failed:
            run(WEEKLY_CYCLE, symbol)
    return {symbol: reason for symbol, reason in failed.items() if symbol in asked}


def _logging(settings: Settings) -> dict[str, Any]:
    return {"loggers": {"console": {"config": {"log_level": settings.log_level}}}}


def weeks_of(settings: Settings, symbol: str, config: CycleConfig) -> tuple[str, str]:
    """First and last week key of a cycle for one symbol."""
    if config.week == "latest":
        options = settings.symbols[symbol]
        until = options.source.available_until(symbol, options.timeframe, pd.Timestamp.now("UTC"))
        last = week_of(until)
    else:
        last = pd.Timestamp(config.week, tz="UTC")
    return str((last - (config.weeks - 1) * WEEK).date()), str(last.date())


def run_job(
    context: dg.OpExecutionContext,
    job: dg.JobDefinition,
    symbol: str,
    periods: tuple[str, str],
    config: dict[str, Any],
    assets: Sequence[str] = (),
    tags: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """One recorded run of a partitioned job for a symbol, from the first to the last period, in this process.

    assets: those of the job to run; none named means all. tags: further ones of the run. The time limit of the run that
    this is part of holds. Where the run is stopped that one is, too; else RuntimeError where it fails.
    """
    run_tags = {**tags, **dict(zip(RANGE_TAGS, (f"{symbol}|{period}" for period in periods), strict=True))}
    run_tags |= {LAUNCHED_BY: context.run_id, "symbol": symbol, MAX_RUNTIME_SECONDS_TAG: "0"}
    selection = [dg.AssetKey(asset) for asset in assets] or None
    result = job.execute_in_process(
        instance=context.instance, tags=run_tags, run_config=config, raise_on_error=False, asset_selection=selection
    )
    if not result.success and stopped(result):
        raise DagsterExecutionInterruptedError(f"{job.name} run {result.run_id} was stopped")
    if not result.success:
        errors = [
            e.step_failure_data.error for e in result.all_events if e.is_step_failure and e.step_failure_data.error
        ]
        cause = next((error.cause or error for error in errors), None)
        said = cause.message.strip() if cause else "see its log"
        raise RuntimeError(f"{job.name} run {result.run_id} failed: {said}")
