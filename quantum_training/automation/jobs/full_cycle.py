"""Job `clm_cycle` (CLM: continuous learning of models): market data, then the weekly cycle, for each symbol.

It is the one command for CI and demos. Schedules start the two jobs separately.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import dagster as dg
import pandas as pd
from pydantic import Field

from quantum_training.assets.progress import progress_shown
from quantum_training.automation.failures.storage_faults import raise_storage_fault, restart_after_storage_fault
from quantum_training.automation.jobs.asset_jobs import (
    DRIFT,
    MARKET_DATA,
    SERIES_DATA,
    SIGNALS,
    WEEKLY_CYCLE,
    WEEKLY_REPORT,
    console_config,
)
from quantum_training.automation.jobs.nested_runs import NestedRun, for_each_symbol, run_nested, symbols_failure
from quantum_training.automation.jobs.run_tags import nesting_tags
from quantum_training.lifecycle.data_end import newest_week
from quantum_training.lifecycle.gaps import refused_months
from quantum_training.lifecycle.market_history import first_month_for_week
from quantum_training.lifecycle.other_markets import symbols_read
from quantum_training.lifecycle.reporting.week_page import closing_text
from quantum_training.lifecycle.reporting.week_report import symbol_week
from quantum_training.lifecycle.series_columns import series_read
from quantum_training.lifecycle.stored_months import features_available_until
from quantum_training.lifecycle.training.pools import pool_peers
from quantum_training.market.periods import WEEK, month_of, week_of
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings

FULL_CYCLE = "clm_cycle"
SHOWN = ("DEBUG", "INFO")
"""Levels at which the log tells the result."""


class CycleConfig(dg.Config):
    """The symbols and weeks of a cycle."""

    symbols: list[str] = Field(default_factory=list)
    """Symbols of the settings; empty means all."""
    week: str = "latest"
    """The last week, a Monday YYYY-MM-DD, or `latest`: the newest week that the symbol's data and `end` allow."""
    weeks: int = 1
    """How many consecutive weeks up to that one, as one walk-forward."""


def build_full_cycle_job(settings: Settings, definitions: Callable[[], dg.Definitions]) -> dg.JobDefinition:
    """`clm_cycle`: unpartitioned. It nests one recorded run of each of the jobs per symbol."""

    @dg.op(description="Bring the market data up to the requested weeks, run the weekly cycle of each symbol, report.")
    def run_cycle(
        context: dg.OpExecutionContext,
        config: CycleConfig,
        store: dg.ResourceParam[Store],
    ) -> None:
        quiet = settings.log_level not in SHOWN
        with progress_shown(quiet):
            failures, refused = run_symbols(context, config, settings, definitions, store, monitored=True)
        symbols = config.symbols or settings.trained_symbols
        weeks = for_each_symbol(context, symbols, failures, partial(symbol_week, store, settings))
        if decided := [week.week for week in weeks if week.week]:
            report = definitions().resolve_job_def(WEEKLY_REPORT)
            run_nested(context, report, NestedRun("", max(decided), max(decided), console_config(settings)))
        if weeks:
            text = closing_text(weeks)
            context.log.info(f"result\n{text}")
            if quiet or _console_level(context, settings) not in SHOWN:
                print(f"\n{text}", flush=True)
        if failed := {**failures, **refused}:
            raise symbols_failure(failed, len(symbols))

    @dg.job(
        name=FULL_CYCLE,
        description="The whole cycle of continuous learning of models (CLM), for CI: market data, drift, then train, "
        "score, decide, signal, for all symbols, and the report of the week.",
        tags=nesting_tags(settings),
        hooks={restart_after_storage_fault},
    )
    def clm_cycle() -> None:
        run_cycle()

    return clm_cycle


class CycleOutcome(NamedTuple):
    """By symbol, why it did not complete the weeks, and why it completed them without all of its market data."""

    failures: dict[str, str]
    refused: dict[str, str]


def run_symbols(
    context: dg.OpExecutionContext,
    config: CycleConfig,
    settings: Settings,
    definitions: Callable[[], dg.Definitions],
    store: Store,
    monitored: bool = False,
) -> CycleOutcome:
    """Run `market_data`, then `weekly_cycle`, symbol by symbol. monitored: with drift reports before, signals after it.

    The market data come first for all symbols, for the peers of their pools and for what their feature sets read,
    because a pool leaves out a symbol whose bars are missing, and a set waits for them. A symbol of which months were
    refused goes on with the weeks that the others allow. Failure if the config names an unknown symbol or no week.
    """
    check_config(context.job_name, config, settings)

    symbols = config.symbols or settings.trained_symbols
    fitted = [*symbols, *pool_peers(settings, symbols)]
    read = symbols_read(settings, fitted)
    outcome = CycleOutcome({}, {})

    console = console_config(settings)

    def run(job: str, symbol: str) -> None:
        first = last = ""
        try:
            if job == MARKET_DATA:
                first, last = (months_read if symbol in read else _months_of_weeks)(settings, symbol, config)
            else:
                first, last = weeks_of(settings, symbol, config)
            if job == WEEKLY_CYCLE and symbol in outcome.refused:
                last = min(last, _last_week_with_features(store, symbol))
            context.log.info(f"{symbol}: {job} from {first} to {last}")
            for name, nested in runs_of(settings, job, NestedRun(symbol, first, last, console), monitored):
                run_nested(context, definitions().resolve_job_def(name), nested)
        except Exception as error:
            raise_storage_fault(context, error)
            goes_on = job == MARKET_DATA and refused_months(store, symbol, first, last)
            reasons = [reason] if (reason := outcome.refused.pop(symbol, None)) else []
            (outcome.refused if goes_on else outcome.failures)[symbol] = "\n".join([*reasons, str(error)])
            context.log.error(f"{symbol} failed: {error}")

    for symbol in dict.fromkeys((*fitted, *read)):
        run(MARKET_DATA, symbol)
    failed_series = _bring_series(context, config, settings, definitions, fitted)
    for symbol in symbols:
        if symbol not in outcome.failures:
            run(WEEKLY_CYCLE, symbol)
    return CycleOutcome(
        {s: _with_causes(settings, s, reason, failed_series) for s, reason in outcome.failures.items() if s in symbols},
        {s: reason for s, reason in outcome.refused.items() if s in symbols},
    )


def _with_causes(settings: Settings, symbol: str, reason: str, failed_series: Mapping[str, str]) -> str:
    """Why a symbol failed, after what is wrong with the series that it reads."""
    causes = [f"series {s}: {failed_series[s]}" for s in series_read(settings, [symbol]) if s in failed_series]
    return "\n".join([*causes, reason])


def _bring_series(
    context: dg.OpExecutionContext,
    config: CycleConfig,
    settings: Settings,
    definitions: Callable[[], dg.Definitions],
    symbols: Sequence[str],
) -> dict[str, str]:
    """Run `series_data` of what these symbols read, for the months of their windows. Returns what failed, by series.

    A symbol without data in these weeks reports that in its own runs.
    """
    failures = {}
    begin = str((pd.Timestamp(settings.start) + pd.offsets.MonthBegin(0)).date())
    for series in series_read(settings, symbols):
        months = []
        for symbol in symbols:
            with suppress(ValueError):
                if series in series_read(settings, [symbol]):
                    months.append(_months_of_weeks(settings, symbol, config))
        if not months:
            continue
        try:
            first, last = max(min(first for first, _ in months), begin), max(last for _, last in months)
            context.log.info(f"{series}: {SERIES_DATA} from {first} to {last}")
            run = NestedRun(series, first, last, console_config(settings))
            run_nested(context, definitions().resolve_job_def(SERIES_DATA), run)
        except Exception as error:
            raise_storage_fault(context, error)
            failures[series] = str(error)
            context.log.error(f"{series} failed: {error}")
    return failures


def _console_level(context: dg.OpExecutionContext, settings: Settings) -> str:
    """The level from which on this run's own log is on the console."""
    config: Any = context.run.run_config
    level: str = config.get("loggers", {}).get("console", {}).get("config", {}).get("log_level", settings.log_level)
    return level


def _last_week_with_features(store: Store, symbol: str) -> str:
    until = features_available_until(store, symbol)
    if until is None:
        raise RuntimeError(f"{symbol}: no features are stored")
    return f"{week_of(until):%Y-%m-%d}"


def weeks_of(settings: Settings, symbol: str, config: CycleConfig) -> tuple[str, str]:
    """First and last week key of a cycle for one symbol. ValueError if it has no data for the last one."""
    newest = newest_week(settings, symbol, pd.Timestamp.now("UTC"))
    last = newest if config.week == "latest" else pd.Timestamp(config.week, tz="UTC")
    if last != week_of(last):
        raise ValueError(f"{symbol}: week {config.week} is not a Monday; give a Monday as YYYY-MM-DD, or `latest`")
    if last > newest:
        last_day = settings.last_day(symbol)
        end = f", and the settings' end is {last_day}" if last_day else ""
        raise ValueError(
            f"{symbol}: week {config.week} is too late: its data allow weeks up to {newest:%Y-%m-%d}{end}; give one of "
            "these, or `latest`"
        )
    return str((last - (config.weeks - 1) * WEEK).date()), str(last.date())


def runs_of(settings: Settings, job: str, run: NestedRun, monitored: bool) -> list[tuple[str, NestedRun]]:
    """The runs of a symbol that a job stands for, by job: a monitored weekly cycle has drift reports and a signal.

    The reports of the last week come after the weeks before it and before its own decision, as they do in production.
    """
    if job != WEEKLY_CYCLE or not monitored:
        return [(job, run)]
    first, last = drift_days(settings, run.last)
    before = str((pd.Timestamp(run.last) - WEEK).date())
    earlier = [(job, replace(run, last=before))] if run.first <= before else []
    newest, signal = replace(run, first=run.last), replace(run, first="", last="")
    return [*earlier, (DRIFT, replace(run, first=first, last=last)), (job, newest), (SIGNALS, signal)]


def drift_days(settings: Settings, week: str) -> tuple[str, str]:
    """First and last day key of the drift reports that the decision of a week reads, and that of its Monday."""
    monday = pd.Timestamp(week)
    return str(max((monday - WEEK).date(), settings.start)), str(monday.date())


def months_of(settings: Settings, symbol: str, first_week: str, last_week: str) -> tuple[str, str]:
    """First and last month key of the market data that the cycle of these weeks needs."""
    start = month_of(settings.symbols[symbol].first_day(settings.start))
    first = max(first_month_for_week(settings, symbol, first_week), start)
    return first, (pd.Timestamp(last_week) - pd.Timedelta("1ns")).strftime("%Y-%m-01")


def _months_of_weeks(settings: Settings, symbol: str, config: CycleConfig) -> tuple[str, str]:
    return months_of(settings, symbol, *weeks_of(settings, symbol, config))


def months_read(settings: Settings, symbol: str, config: CycleConfig) -> tuple[str, str]:
    """As months_of, of a symbol that others read: up to the end of its data if they end before these weeks."""
    try:
        return _months_of_weeks(settings, symbol, config)
    except ValueError:
        if not (last_day := settings.last_day(symbol)):
            raise
        latest = config.model_copy(update={"week": "latest"})
        return _months_of_weeks(settings, symbol, latest)[0], f"{last_day:%Y-%m-01}"


def check_config(job: str, config: CycleConfig, settings: Settings) -> None:
    """Failure if the config names an unknown symbol, one without recipes or no week."""
    unknown = sorted(set(config.symbols) - set(settings.symbols))
    if unknown or config.weeks < 1:
        problem = f"unknown symbols {', '.join(unknown)}" if unknown else f"weeks = {config.weeks} is below 1"
        raise dg.Failure(f"{job}: {problem}; symbols are {', '.join(settings.symbols)}", allow_retries=False)
    if untrained := sorted(set(config.symbols) - set(settings.trained_symbols)):
        reason = f"{', '.join(untrained)} without recipes: there is nothing to train; {MARKET_DATA} brings their bars"
        raise dg.Failure(f"{job}: {reason}", allow_retries=False)
