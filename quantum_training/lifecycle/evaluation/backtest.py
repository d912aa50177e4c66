"""The walk-forward record of the last weeks: the scored positions, evaluated as one account on the stored candles.

What is measured is trading/evaluation.py, what the report shows trading/tearsheet.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import pandas as pd

from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import BACKTEST, CANDLES, SHADOW_SCORES, BacktestRecord, write_record
from quantum_training.lifecycle.stored_months import NANOSECOND
from quantum_training.lifecycle.training.versions import recorded_versions, trials_per_recipe, versions_of
from quantum_training.market.calendars import periods_per_year
from quantum_training.market.periods import WEEK, Key
from quantum_training.resources.registry.errors import VersionDeleted
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import StoreError, Written
from quantum_training.trading.baselines import BASELINES
from quantum_training.trading.episodes import Market
from quantum_training.trading.evaluation import Evaluation, evaluate
from quantum_training.trading.scoring import by_strategy

TargetPositions = Callable[[str], pd.DataFrame]
"""The target positions of a scored week, open_time x strategy; NaN for a bar without a decision."""


class Backtest(NamedTuple):
    """The evaluation of `weeks`, the record that is stored of it, and where its equity is stored."""

    evaluation: Evaluation
    record: BacktestRecord
    weeks: list[str]
    equity: Written


class BacktestReport(NamedTuple):
    """Where the HTML report is stored, and its address in MLflow by recipe."""

    written: Written
    mlflow_urls: Mapping[str, str]


def backtest_week(history: MarketHistory, week: pd.Timestamp, targets_of: TargetPositions) -> Backtest:
    """Evaluate the scored weeks of the backtest window that ends with `week`, and store record and equity.

    targets_of: `target_positions` of the history, usually cached. ValueError if the week was not scored.
    """
    key = Key(history.symbol, week)
    first = (week - (history.settings.backtest_weeks - 1) * WEEK).strftime("%Y-%m-%d")
    weeks = weeks_since_gap(history, [scored for scored in history.scored_weeks(key.period) if scored >= first])
    if key.period not in weeks:
        raise ValueError(f"{key} has no shadow scores; materialise {SHADOW_SCORES} of this week first")
    evaluation = evaluate_scores(history, weeks, targets_of)
    expected = pd.date_range(weeks[0], key.period, freq="7D").strftime("%Y-%m-%d")
    record = BacktestRecord(
        metrics=evaluation.metrics,
        verdict=evaluation.verdict,
        probability_of_overfitting=evaluation.overfitting[0],
        probability_of_overfitting_reason=evaluation.overfitting[1],
        periods_per_year=evaluation.periods,
        first_week=weeks[0],
        missing_weeks=tuple(w for w in expected if w not in weeks),
    )
    write_record(history.store, key.symbol, key.period, record)
    written = history.store.write_frame(BACKTEST, key.symbol, key.period, evaluation.equity)
    return Backtest(evaluation, record, weeks, written)


def leading_recipe(evaluation: Evaluation) -> str | None:
    """The recipe with the highest Sharpe ratio; None if none has one."""
    recipes = {strategy: m["sharpe"] for strategy, m in evaluation.metrics.items() if strategy not in BASELINES}
    ratios = {recipe: sharpe for recipe, sharpe in recipes.items() if sharpe is not None}
    return max(ratios, key=lambda recipe: ratios[recipe], default=None)


def weeks_since_gap(history: MarketHistory, weeks: Sequence[str]) -> list[str]:
    """Those of these scored weeks, oldest first, that lie after the newest gap before the last of them.

    The return of a position that is held over a gap is not known.
    """
    ends = [gap.end for gap in history.gaps if weeks and gap.end <= pd.Timestamp(weeks[-1], tz="UTC")]
    since = max(ends, default=None)
    return [week for week in weeks if since is None or history.scored_from(pd.Timestamp(week, tz="UTC")) >= since]


def target_positions(history: MarketHistory, week: str) -> pd.DataFrame:
    """The target positions of one week's scores, open_time x strategy; NaN for a bar without a decision."""
    return by_strategy(history.scores(week), "target")


def evaluate_scores(history: MarketHistory, weeks: Sequence[str], targets_of: TargetPositions) -> Evaluation:
    """Evaluate the target positions of these weeks, oldest first, on the stored candles.

    StoreError if a scored bar is no longer among the candles.
    """
    market = history.market
    targets = pd.concat([targets_of(week) for week in weeks])
    start, end = (pd.Timestamp(w, tz="UTC") for w in (weeks[0], weeks[-1]))
    start, last = history.scored_from(start), history.scored_from(end + WEEK) - NANOSECOND
    candles = history.stored_rows(CANDLES, start, last).loc[start:last]
    if len(missing := targets.index.difference(candles.index)):
        raise StoreError(
            f"{history.symbol}: {len(missing)} scored bars, the first {missing[0]}, are no longer among the stored "
            f"candles; re-materialise {SHADOW_SCORES} of their weeks"
        )
    recipes = sorted({*targets.columns} - {*BASELINES})
    periods = periods_per_year(market.calendar, market.timeframe)
    positions = targets.reindex(candles.index)
    traded = Market(candles, market.costs, market.account)
    recorded = {recipe: recorded_versions(history.store, history.symbol, recipe, weeks[-1]) for recipe in recipes}
    trials = trials_per_recipe(history.store, history.settings, recorded)
    return evaluate(traded, positions, recipes, periods, trials, history.settings.metrics)


def publish_report(
    history: MarketHistory, registry: ModelRegistry, week: str, evaluation: Evaluation
) -> BacktestReport:
    """Write the HTML report beside the record and into the MLflow run of each recipe's version of the week."""
    from quantum_training.trading.tearsheet import tearsheet

    store, symbol = history.store, history.symbol
    html = tearsheet(f"{symbol}, {len(evaluation.equity)} bars to {week}", evaluation)
    written = store.write_text(BACKTEST, symbol, week, "html", html)
    urls = {}
    for recipe in history.market.recipes:
        if versions := versions_of(store, symbol, recipe, week):
            with suppress(VersionDeleted):  # housekeeping deletes the versions of old weeks
                urls[recipe] = registry.log_report(symbol, versions[-1].model_id, f"backtest/{week}.html", html)
    return BacktestReport(written, urls)
