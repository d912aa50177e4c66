"""Job `benchmark`: one table of every recipe and baseline on every symbol over a chosen range of weeks.

It runs the cycle for the weeks that are missing. The table itself is lifecycle/evaluation/benchmark_table.py.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

import dagster as dg
import pandas as pd
from pydantic import Field

from quantum_training.automation.failures.storage_faults import restart_after_storage_fault
from quantum_training.automation.jobs.full_cycle import CycleConfig, check_config, run_symbols, weeks_of
from quantum_training.automation.jobs.nested_runs import for_each_symbol, symbols_failure
from quantum_training.automation.jobs.run_tags import nesting_tags
from quantum_training.lifecycle.evaluation.backtest import evaluate_scores, target_positions, weeks_since_gap
from quantum_training.lifecycle.evaluation.benchmark_table import as_markdown, benchmark_rows, shortage, write
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.settings.paths import under_dagster_home

BENCHMARK = "benchmark"


class BenchmarkConfig(CycleConfig):
    """The symbols and weeks of a benchmark, and where its table goes."""

    output: str = Field(default="")
    """Folder below the working directory for benchmark.md, .csv and .html; default: DAGSTER_HOME/benchmark."""


def build_benchmark_job(settings: Settings, definitions: Callable[[], dg.Definitions]) -> dg.JobDefinition:
    """The job, unpartitioned: it runs the cycle over the weeks, then measures the whole range at once."""

    @dg.op(description="Run the cycle over the weeks, then measure every strategy over all of them at once.")
    def run_benchmark(context: dg.OpExecutionContext, config: BenchmarkConfig, store: dg.ResourceParam[Store]) -> None:
        check_config(BENCHMARK, config, settings)
        folder = make_output_folder(config.output)
        symbols = config.symbols or settings.trained_symbols
        failures, refused = find_shortages(settings, symbols, config), dict[str, str]()
        enough = [symbol for symbol in symbols if symbol not in failures]
        if enough:
            of_enough = config.model_copy(update={"symbols": enough})
            failed, refused = run_symbols(context, of_enough, settings, definitions, store)
            failures |= failed
        tables: list[pd.DataFrame] = []

        def measure(symbol: str) -> None:
            first, last = weeks_of(settings, symbol, config)
            history = MarketHistory(store, settings, symbol)
            scored = [week for week in history.scored_weeks(last) if week >= first]
            weeks = weeks_since_gap(history, scored)
            if len(weeks) < len(scored):
                context.log.warning(f"{symbol}: measured from {weeks[0]} on, the first week after a gap in the candles")
            evaluation = evaluate_scores(history, weeks, partial(target_positions, history))
            rows = benchmark_rows(settings, symbol, evaluation)
            write(pd.concat([*tables, rows], ignore_index=True), folder)  # it stays, whatever the next symbols do
            tables.append(rows)

        for_each_symbol(context, symbols, failures, measure)
        tables += [
            pd.DataFrame([{"symbol": symbol, "strategy": "failed", "verdict": reason}])
            for symbol, reason in failures.items()
        ]
        table = pd.concat(tables, ignore_index=True)
        write(table, folder)
        context.log.info(f"benchmark\n{as_markdown(table)}")
        context.add_output_metadata({"table": dg.MetadataValue.md(as_markdown(table)), "folder": str(folder)})
        if failed := {**failures, **refused}:
            raise symbols_failure(failed, len(symbols))

    @dg.job(
        name=BENCHMARK,
        description="All symbols x all recipes over a range of weeks: one honest table beside Buy & Hold.",
        tags=nesting_tags(settings),
        hooks={restart_after_storage_fault},
    )
    def benchmark() -> None:
        run_benchmark()

    return benchmark


def find_shortages(settings: Settings, symbols: Iterable[str], config: CycleConfig) -> dict[str, str]:
    """The symbols whose weeks have too few bars to be measured, and why, before anything is trained.

    A symbol whose source does not answer is left to its run, which reports that.
    """
    shortages = {}
    for symbol in symbols:
        with suppress(Exception):
            if reason := shortage(settings.symbols[symbol], *weeks_of(settings, symbol, config)):
                shortages[symbol] = reason
    return shortages


def make_output_folder(output: str) -> Path:
    """Make the folder of the table before the cycles begin, which may take hours.

    Failure if it is outside the working directory: whoever may start a run must not be able to write anywhere. OSError
    if it cannot be made.
    """
    folder = Path(output or under_dagster_home(BENCHMARK))
    if output and ("\0" in output or not folder.resolve().is_relative_to(Path.cwd())):
        raise dg.Failure(
            f"benchmark: output {output!r} is not below the working directory {Path.cwd()}; name a folder in it, or "
            "none for DAGSTER_HOME/benchmark",
            allow_retries=False,
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder
