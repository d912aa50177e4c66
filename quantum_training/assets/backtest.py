"""Asset `backtest`: the walk-forward record of the last weeks up to W, every strategy beside the passive benchmark.

What is measured lives in lifecycle.evaluation.backtest.
"""

from collections import defaultdict
from functools import cache
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.evidence_assets import evidence_asset, unless_gap
from quantum_training.assets.metadata.evidence import backtest_metadata
from quantum_training.assets.partition_runner import each_partition
from quantum_training.lifecycle.evaluation.backtest import backtest_week, publish_report, target_positions
from quantum_training.lifecycle.evaluation.recorded_weeks import publish_weeks, recorded_weeks
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import BACKTEST, SHADOW_SCORES, BacktestRecord, read_records
from quantum_training.market.periods import Key
from quantum_training.partitions import Partitions, newest_key_per_symbol, run_keys
from quantum_training.resources.registry.recipe_records import RecordedWeek
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""

    @evidence_asset(
        BACKTEST,
        partitions,
        deps=[SHADOW_SCORES],
        kinds={"parquet", "plotly"},
        description="One account per strategy over the positions that the shadow scores of the "
        f"{settings.backtest_weeks} weeks up to this one recorded: metrics with intervals, equity, trades, against "
        "Buy & Hold, a moving-average crossover, staying flat and random traders. Bars without a decision count as "
        "flat; weeks never scored are named. The last week of a run gets an HTML report, logged to MLflow too.",
    )
    def backtest(
        context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], registry: dg.ResourceParam[ModelRegistry]
    ) -> dg.MaterializeResult:
        newest = newest_key_per_symbol(run_keys(partitions.week, context.run.tags))
        recorded: dict[str, list[dict[str, RecordedWeek]]] = defaultdict(list)

        @cache  # the weeks of a run share all but one week of their windows
        def targets(symbol: str, week: str) -> pd.DataFrame:
            return target_positions(MarketHistory(store, settings, symbol), week)

        def evaluate(key: Key) -> dict[str, Any]:
            history = MarketHistory(store, settings, key.symbol)
            result = backtest_week(history, key.start, lambda week: targets(key.symbol, week))
            recorded[key.symbol].append(recorded_weeks(history, key.start, result))
            report = publish_report(history, registry, key.period, result.evaluation) if key in newest else None
            earlier = read_records(store, BacktestRecord, key.symbol, key.period) if key in newest else {}
            url = settings.service.report_url(key.symbol, key.period, "tearsheet")
            return backtest_metadata(result, report, url, earlier)

        def publish() -> None:
            for symbol, weeks in recorded.items():
                publish_weeks(registry, symbol, weeks)

        return each_partition(context, partitions.week, unless_gap(settings, store, evaluate), publish)

    return backtest
