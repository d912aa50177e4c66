"""What people see of the shadow scores and of the backtest of a week in the Dagster UI."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from quantum_training.assets.metadata.charts import line_chart
from quantum_training.assets.metadata.tables import CONTENT_HASH, SUMMARY, link, markdown, short_hash
from quantum_training.lifecycle.evaluation.backtest import Backtest, BacktestReport, leading_recipe
from quantum_training.lifecycle.evaluation.scoring import ScoredWeek
from quantum_training.lifecycle.records import BacktestRecord
from quantum_training.lifecycle.reporting.summaries import backtest_sentence
from quantum_training.resources.store.store import Written
from quantum_training.trading.baselines import BASELINES, BUY_AND_HOLD
from quantum_training.trading.evaluation import Evaluation
from quantum_training.trading.scoring import by_strategy
from quantum_training.trading.summary import summary

TRENDS = ("sharpe", "total_return")
"""Metrics of the recipes and of Buy & Hold that Dagster plots over the weeks."""
NOT_PLOTTED = ("flat", "ma_crossover")
SHOWN = ["sharpe [95 %]", "total_return", "max_drawdown", "trades"]
"""Columns of the table that fits into the page."""
DECIMALS = 4


def scores_metadata(week: ScoredWeek, period: str) -> dict[str, Any]:
    """Net return of each strategy, bars without a decision, versions that could not be loaded, what was restated.

    period: the Monday after the scored week.
    """
    notes = {
        name: "; ".join(texts)
        for name, texts in (("restated", week.restated), ("not_loaded", week.not_loaded))
        if texts
    }
    if week.scores is None or week.written is None:
        reason = "The stored scores stand: versions that decided this week were removed since."
        return {SUMMARY: reason, **notes}
    return {**_scores(week.scores, period), **notes, **_file(week.written)}


def _scores(scores: pd.DataFrame, period: str) -> dict[str, Any]:
    net = scores.groupby("strategy")["net_return"].apply(lambda r: float(np.prod(1 + r) - 1))
    undecided = scores["target"].isna().groupby(scores["strategy"]).sum()
    undecided = undecided[undecided > 0]
    recipes = [name for name in net.index if name not in BASELINES]
    returns = ", ".join(f"{name} {net[name]:+.2%}" for name in [*recipes, BUY_AND_HOLD] if name in net)
    targets = by_strategy(scores, "target")
    lines = {name: targets[name] for name in recipes if name in targets}
    bars = scores.index.nunique()
    return {
        SUMMARY: f"Net return on the {bars} bars of the week before {period}: {returns}.",
        **({"positions": dg.MetadataValue.md(line_chart(lines, "target position"))} if lines else {}),
        **({"bars_without_decision": ", ".join(f"{s}: {n}" for s, n in undecided.items())} if len(undecided) else {}),
        **{f"net_return_{name}": round(value, DECIMALS + 2) for name, value in net.items()},
        "bars": bars,
        "dagster/row_count": len(scores),
    }


def _file(written: Written) -> dict[str, Any]:
    return {"path": dg.MetadataValue.path(written.path), CONTENT_HASH: short_hash(written)}


def backtest_metadata(
    backtest: Backtest, report: BacktestReport | None, report_url: str, earlier: Mapping[str, BacktestRecord]
) -> dict[str, Any]:
    """The verdict, equity, drawdown and Sharpe ratio as pictures, the metrics, and the report if one was published.

    earlier: records by week, oldest first, to draw the Sharpe ratio of the recipe that leads.
    """
    evaluation = backtest.evaluation
    numbers = {
        f"{name}_{strategy}": round(values[name], DECIMALS)
        for strategy, values in evaluation.metrics.items()
        for name in TRENDS
        if values[name] is not None and strategy not in NOT_PLOTTED
    }
    table = summary(evaluation)
    missing = backtest.record.missing_weeks
    return {
        SUMMARY: backtest_sentence(backtest.record),
        **_pictures(evaluation, earlier),
        "metrics": markdown(table[SHOWN]),
        "all_metrics": markdown(table),
        **(_report(report, report_url) if report else {}),
        **numbers,
        "weeks": len(backtest.weeks),
        **({"missing_weeks": ", ".join(missing)} if missing else {}),
        "path": dg.MetadataValue.path(backtest.equity.path),
    }


def _pictures(evaluation: Evaluation, earlier: Mapping[str, BacktestRecord]) -> dict[str, Any]:
    """Equity and drawdown of the leading recipe beside Buy & Hold, and the leader's Sharpe ratio with its interval."""
    best = leading_recipe(evaluation)
    shown = [name for name in (best, BUY_AND_HOLD) if name]
    equity = evaluation.equity[shown]
    fall = equity / equity.cummax().clip(lower=1) - 1
    charts = {
        "equity": line_chart({name: equity[name] for name in shown}, "equity after costs (start = 1)"),
        "drawdown": line_chart({name: fall[name] for name in shown}, "drawdown"),
    }
    of_best = {pd.Timestamp(week): record.metrics.get(best or "", {}) for week, record in earlier.items()}
    points = {week: values for week, values in of_best.items() if values.get("sharpe") is not None}
    if len(points) > 1:
        table = pd.DataFrame(points).T[["sharpe", "sharpe_high", "sharpe_low"]]
        lines = {"Sharpe ratio": table["sharpe"], "upper": table["sharpe_high"], "lower": table["sharpe_low"]}
        charts["sharpe_ratio"] = line_chart(lines, f"{best} over weeks, 95 % interval")
    return {name: dg.MetadataValue.md(text) for name, text in charts.items()}


def _report(report: BacktestReport, url: str) -> dict[str, Any]:
    links = [f"[{recipe}]({url})" for recipe, url in report.mlflow_urls.items()]
    in_mlflow = {"report_in_mlflow": dg.MetadataValue.md(", ".join(links))} if links else {}
    return {"tear_sheet": link("all charts, metrics and trades", url), **in_mlflow}
