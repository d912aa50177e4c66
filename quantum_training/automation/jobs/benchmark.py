"""Job `benchmark`: every recipe on every symbol over a chosen range, in one table beside Buy & Hold."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pandas as pd
from pydantic import Field

from quantum_training.automation.jobs.cycles import (
    CycleConfig,
    each_symbol,
    launcher_limits,
    run_symbols,
    symbols_failed,
    weeks_of,
)
from quantum_training.lifecycle.evaluation.backtest import evaluate_scores, target_positions
from quantum_training.lifecycle.evaluation.benchmark_table import as_markdown, rows, write
from quantum_training.lifecycle.records import SHADOW_SCORES
from quantum_training.resources.store.store import Store
from quantum_training.settings.paths import under_dagster_home
from quantum_training.settings.settings import Settings

BENCHMARK = "benchmark"


class BenchmarkConfig(CycleConfig):
    """Which symbols and weeks, and where the table goes."""

    output: str = Field(default="")
    """Folder below the working directory for benchmark.md, .csv and .html; default: DAGSTER_HOME/benchmark."""


def benchmark_job(settings: Settings, definitions: Callable[[], dg.Definitions]) -> dg.JobDefinition:
    """The job; unpartitioned. It runs the cycle where it has not run yet and then reads the whole range."""

    @dg.op(description="Run the cycle over the weeks, then measure every strategy over all of them at once.")
    def run_benchmark(context: dg.OpExecutionContext, config: BenchmarkConfig, store: dg.ResourceParam[Store]) -> None:
        folder = folder_of(config.output)
        failed = run_symbols(context, config, settings, definitions)

        def measured(symbol: str) -> pd.DataFrame:
            first, last = weeks_of(settings, symbol, config)
            weeks = [w for w in store.periods(SHADOW_SCORES, symbol) if first <= w <= last]
            found = evaluate_scores(store, settings, symbol, weeks, lambda s, w: target_positions(store, s, w))
            return rows(settings, symbol, found)

        tables = each_symbol(context, config.symbols or [*settings.symbols], failed, measured)
        tables += [
            pd.DataFrame([{"symbol": symbol, "strategy": "failed", "verdict": why}]) for symbol, why in failed.items()
        ]
        table = pd.concat(tables, ignore_index=True)
        write(table, folder)
        context.log.info(f"benchmark\n{as_markdown(table)}")
        context.add_output_metadata({"table": dg.MetadataValue.md(as_markdown(table)), "folder": str(folder)})
        if failed:
            raise symbols_failed(failed, len(config.symbols or settings.symbols))

    @dg.job(
        name=BENCHMARK,
        description="All symbols x all recipes over a range of weeks: one honest table beside Buy & Hold.",
        tags=launcher_limits(settings),
    )
    def benchmark() -> None:
        run_benchmark()

    return benchmark


def folder_of(output: str) -> Path:
    """Where the table goes, made before hours of cycles. Failure outside the working directory: who may start a run
    must not write anywhere. OSError where it cannot be made."""
    folder = Path(output or under_dagster_home(BENCHMARK))
    if output and ("\0" in output or not folder.resolve().is_relative_to(Path.cwd())):
        raise dg.Failure(
            f"benchmark: output {output!r} is not below the working directory {Path.cwd()}; name a folder in it, or "
            "none for DAGSTER_HOME/benchmark",
            allow_retries=False,
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder
