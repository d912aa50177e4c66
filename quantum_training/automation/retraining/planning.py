"""Retraining plans as Dagster runs: the trainings of the recent past, and a run request for each training to start.

Which triggers start a training is decided in lifecycle/surveillance/retraining_triggers.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import dagster as dg
import pandas as pd

from quantum_training.automation.execution.priorities import priority_tag
from quantum_training.automation.jobs.asset_jobs import WEEKLY_CYCLE
from quantum_training.lifecycle.records import model_asset
from quantum_training.lifecycle.surveillance.retraining_triggers import (
    ALARMS,
    Retraining,
    RetrainingBudget,
    Trigger,
    plan_retraining,
)
from quantum_training.market.periods import week_of
from quantum_training.partitions import parse_key, partition_tags
from quantum_training.resources.store.store import Store
from quantum_training.resources.texts import bounded_tags
from quantum_training.settings import Settings
from quantum_training.settings.retraining import RetrainingPolicy

FAILED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


class RunPlan(NamedTuple):
    """What to run. handled: keys of triggers that need no further look. deferred: by key, why it has to wait."""

    requests: list[dg.RunRequest]
    handled: list[str]
    deferred: dict[str, str]


def read_budget(instance: dg.DagsterInstance, policy: RetrainingPolicy, now: pd.Timestamp) -> RetrainingBudget:
    """The recent trainings, in one query. Failed ones count against the daily budget, but start no cool-down."""
    midnight = now.normalize()
    since = min(midnight, now - pd.Timedelta(hours=policy.cool_down_hours))
    records = instance.get_run_records(dg.RunsFilter(tags={"trigger": [*ALARMS]}, created_after=since.to_pydatetime()))
    budget = RetrainingBudget(policy, now)
    for record in records:
        time, run = pd.Timestamp(record.create_timestamp), record.dagster_run
        budget.started_today += time >= midnight
        symbol = run.tags.get("symbol")  # a person may have launched it with whatever tags
        if symbol and run.status not in FAILED:
            budget.last_started[symbol] = max(time, budget.last_started.get(symbol, time))
    return budget


def plan_runs(
    triggers: Iterable[Trigger],
    budget: RetrainingBudget,
    settings: Settings,
    grid: dg.MultiPartitionsDefinition,
    store: Store,
) -> RunPlan:
    """The run requests of the trainings that start now."""

    def week_error(symbol: str, as_of: pd.Timestamp) -> str | None:
        try:
            parse_key(grid, f"{symbol}|{week_of(as_of):%Y-%m-%d}")
        except ValueError as error:
            return str(error)
        return None

    trainings, handled, deferred = plan_retraining(triggers, budget, settings, store, week_error)
    return RunPlan([run_request(training, grid, budget.policy) for training in trainings], handled, deferred)


def run_request(training: Retraining, grid: dg.MultiPartitionsDefinition, policy: RetrainingPolicy) -> dg.RunRequest:
    """A run that trains the recipes inside the week of `as_of`."""
    trigger, as_of = training.trigger, training.as_of
    key = parse_key(grid, f"{trigger.symbol}|{week_of(as_of):%Y-%m-%d}")
    budgets = {model_asset(recipe): policy.training(recipe).episodes_per_run or 0 for recipe in training.recipes}
    config: dict[str, Any] = {"as_of": as_of.isoformat(), "trigger": trigger.kind, "reason": trigger.reason}
    return dg.RunRequest(
        run_key=trigger.key,
        job_name=WEEKLY_CYCLE,
        partition_key=dg.MultiPartitionKey({"symbol": trigger.symbol, "week": key.period}),
        run_config={"ops": {asset: {"config": {**config, "episodes": n}} for asset, n in budgets.items()}},
        asset_selection=[dg.AssetKey(asset) for asset in budgets],
        tags={
            **bounded_tags(config),
            "symbol": trigger.symbol,
            **priority_tag(trigger.priority),
            **partition_tags(key, "week"),
        },
    )
