"""The out-of-sample record of each recipe as MLflow shows it: the metrics of a backtest, a step for each week."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import pandas as pd

from quantum_training.lifecycle.evaluation.backtest import Backtest
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.resources.registry.recipe_records import RecordedWeek, log_weeks
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.trading.desk_metrics import desk_metrics
from quantum_training.trading.scoring import assign_versions

GROUP = "shadow"


def recorded_weeks(history: MarketHistory, week: pd.Timestamp, backtest: Backtest) -> dict[str, RecordedWeek]:
    """The record of each recipe of the settings up to a week, by recipe, and the version that decided its last bar."""
    last = pd.DatetimeIndex(backtest.evaluation.equity.index[-1:])
    weeks = {}
    for recipe in history.market.recipes:
        versions = versions_of(history.store, history.symbol, recipe, f"{week:%Y-%m-%d}")
        (at,) = assign_versions(last, versions)
        measured = backtest.record.metrics.get(recipe, {})
        own = {
            f"{GROUP}/{name}": value for name in history.settings.metrics if (value := measured.get(name)) is not None
        }
        metrics = {**desk_metrics(measured, GROUP), **own}
        weeks[recipe] = RecordedWeek(week, versions[at].model_id if at >= 0 else "", metrics)
    return weeks


def publish_weeks(registry: ModelRegistry, symbol: str, weeks: Iterable[dict[str, RecordedWeek]]) -> None:
    """Log the weeks, oldest first, with one call of MLflow for all weeks of a run."""
    by_recipe: dict[str, list[RecordedWeek]] = defaultdict(list)
    for week in weeks:
        for recipe, recorded in week.items():
            by_recipe[recipe].append(recorded)
    for recipe, of_recipe in by_recipe.items():
        log_weeks(registry, symbol, recipe, of_recipe)
