"""Asset `backtest`: the walk-forward record of the last weeks up to W, every strategy beside the passive benchmark.

What is measured lives in trading.evaluation, what the report shows in trading.tearsheet.
"""

from contextlib import suppress
from functools import cache
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.metadata.tables import markdown
from quantum_training.assets.partition_runner import OWNERS, SINGLE_RUN, each_partition
from quantum_training.lifecycle.evaluation.backtest import evaluate_scores, target_positions
from quantum_training.lifecycle.records import BACKTEST, SHADOW_SCORES
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.market.periods import WEEK, Key
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.registry.errors import VersionDeleted
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings.settings import Settings
from quantum_training.trading.evaluation import Evaluation
from quantum_training.trading.summary import summary

TRENDS = ("sharpe", "max_drawdown", "turnover", "total_return")
DECIMALS = 4


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""

    @dg.asset(
        name=BACKTEST,
        partitions_def=partitions.week,
        backfill_policy=SINGLE_RUN,
        deps=[SHADOW_SCORES],
        group_name="evidence",
        kinds={"parquet", "plotly"},
        owners=OWNERS,
        description="One account per strategy over the positions that the shadow scores of the "
        f"{settings.backtest_weeks} weeks up to this one recorded: metrics with intervals, equity, trades, against "
        "Buy & Hold, a moving-average crossover, staying flat and random traders. Bars without a decision count as "
        "flat; weeks never scored are named. The last week of a run gets an HTML report, logged to MLflow too.",
    )
    def backtest(
        context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], registry: dg.ResourceParam[ModelRegistry]
    ) -> dg.MaterializeResult:
        keys = run_keys(partitions.week, context.run.tags)
        newest = {key.symbol: key for key in sorted(keys, key=lambda k: k.start)}

        @cache
        def decided(symbol: str, week: str) -> pd.DataFrame:
            return target_positions(store, symbol, week)

        def produce(key: Key) -> dict[str, Any]:
            first = (key.start - (settings.backtest_weeks - 1) * WEEK).strftime("%Y-%m-%d")
            weeks = [w for w in store.periods(SHADOW_SCORES, key.symbol) if first <= w <= key.period]
            if key.period not in weeks:
                raise ValueError(f"{key} has no shadow scores; materialise {SHADOW_SCORES} of this week first")
            found = evaluate_scores(store, settings, key.symbol, weeks, decided)
            expected = pd.date_range(min(weeks), key.period, freq="7D").strftime("%Y-%m-%d")
            record = {
                "metrics": found.metrics,
                "verdict": found.verdict,
                "probability_of_overfitting": found.overfitting[0],
                "probability_of_overfitting_reason": found.overfitting[1],
                "periods_per_year": found.periods,
                "first_week": min(weeks),
                "missing_weeks": [w for w in expected if w not in weeks],
            }
            store.write_record(BACKTEST, key.symbol, key.period, record)
            written = store.write_frame(BACKTEST, key.symbol, key.period, found.equity)
            numbers = {
                f"{name}_{strategy}": round(values[name], DECIMALS)
                for strategy, values in found.metrics.items()
                for name in TRENDS
                if values[name] is not None
            }
            return {
                "verdict": found.verdict["text"],
                "metrics": markdown(summary(found)),
                **(publish_report(store, registry, settings, key, found) if key == newest[key.symbol] else {}),
                **numbers,
                "weeks": len(weeks),
                "missing_weeks": record["missing_weeks"],
                "path": dg.MetadataValue.path(written.path),
            }

        return each_partition(context, partitions.week, produce)

    return backtest


def publish_report(
    store: Store, registry: ModelRegistry, settings: Settings, key: Key, found: Evaluation
) -> dict[str, Any]:
    """Write the HTML report beside the record and into the MLflow run of each recipe's version of the week."""
    from quantum_training.trading.tearsheet import tearsheet

    html = tearsheet(f"{key.symbol}, {len(found.equity)} bars to {key.period}", found)
    written = store.write_text(BACKTEST, key.symbol, key.period, "html", html)
    shown: dict[str, Any] = {"report": dg.MetadataValue.path(written.path)}
    for recipe in settings.symbols[key.symbol].recipes:
        if versions := versions_of(store, key.symbol, recipe, key.period):
            with suppress(VersionDeleted):  # of a week long ago
                url = registry.log_report(key.symbol, versions[-1].model_id, f"backtest/{key.period}.html", html)
                shown[f"report_in_mlflow_{recipe}"] = dg.MetadataValue.url(url)
    return shown
