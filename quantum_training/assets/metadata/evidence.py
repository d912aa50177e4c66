"""What people see of the shadow scores and of the backtest of a week in the Dagster UI."""

from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from quantum_training.assets.metadata.tables import markdown
from quantum_training.lifecycle.evaluation.backtest import Backtest, BacktestReport
from quantum_training.lifecycle.evaluation.scoring import ScoredWeek
from quantum_training.resources.store.store import Written
from quantum_training.trading.summary import summary

TRENDS = ("sharpe", "max_drawdown", "turnover", "total_return")
"""Metrics of each strategy that Dagster plots over the weeks."""
DECIMALS = 4


def scores_metadata(week: ScoredWeek) -> dict[str, Any]:
    """Net return of each strategy, bars without a decision, versions that could not be loaded, what was restated."""
    restated = {"restated": [*week.restated]} if week.restated else {}
    if week.scores is None or week.written is None:
        reason = "versions that decided this week were removed since"
        return {"stands": reason, "not_loaded": week.not_loaded, **restated}
    return {
        **_scores(week.scores),
        **restated,
        **({"not_loaded": week.not_loaded} if week.not_loaded else {}),
        **_file(week.written),
    }


def _scores(scores: pd.DataFrame) -> dict[str, Any]:
    net = scores.groupby("strategy")["net_return"].apply(lambda r: float(np.prod(1 + r) - 1))
    undecided = scores["target"].isna().groupby(scores["strategy"]).sum()
    return {
        "dagster/row_count": len(scores),
        "bars": scores.index.nunique(),
        **{f"net_return_{name}": value for name, value in net.items()},
        "bars_without_decision": {strategy: int(bars) for strategy, bars in undecided.items()},
    }


def _file(written: Written) -> dict[str, Any]:
    return {"content_hash": written.content_hash, "path": dg.MetadataValue.path(written.path)}


def backtest_metadata(backtest: Backtest, report: BacktestReport | None) -> dict[str, Any]:
    """The verdict, the metrics as a table and as numbers to plot, and the report if one was published."""
    evaluation = backtest.evaluation
    numbers = {
        f"{name}_{strategy}": round(values[name], DECIMALS)
        for strategy, values in evaluation.metrics.items()
        for name in TRENDS
        if values[name] is not None
    }
    return {
        "verdict": evaluation.verdict["text"],
        "metrics": markdown(summary(evaluation)),
        **(_report(report) if report else {}),
        **numbers,
        "weeks": len(backtest.weeks),
        "missing_weeks": [*backtest.record.missing_weeks],
        "path": dg.MetadataValue.path(backtest.equity.path),
    }


def _report(report: BacktestReport) -> dict[str, Any]:
    urls = {f"report_in_mlflow_{recipe}": dg.MetadataValue.url(url) for recipe, url in report.mlflow_urls.items()}
    return {"report": dg.MetadataValue.path(report.written.path), **urls}
