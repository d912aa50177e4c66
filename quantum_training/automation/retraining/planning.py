"""Which causes start a training now: cool-down, budget, the worst first. What the causes are is said in causes.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import dagster as dg
import pandas as pd

from quantum_training.automation.execution.priorities import priority_tag
from quantum_training.automation.jobs.cycles import WEEKLY_CYCLE
from quantum_training.lifecycle.market_history import features_available_until
from quantum_training.lifecycle.surveillance.retraining_triggers import Trigger, newest_as_of
from quantum_training.lifecycle.training.versions import asset_name
from quantum_training.market.periods import week_of
from quantum_training.partitions import parse_key, partition_tags
from quantum_training.resources.store.store import Store
from quantum_training.settings.retraining import RetrainingPolicy
from quantum_training.settings.settings import Settings

BY_ALARM = ("DRIFT_DETECTED", "PERFORMANCE_DECAY")
FAILED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


class Recent(NamedTuple):
    """Trainings for drift or decay: how many were started this UTC day, and when the newest of each symbol was."""

    today: int
    newest: Mapping[str, pd.Timestamp]


class Plan(NamedTuple):
    """What to run. met: keys of causes that are dealt with; waiting: those that may run later, and why not now."""

    requests: list[dg.RunRequest]
    met: list[str]
    waiting: dict[str, str]


def recent(instance: dg.DagsterInstance, policy: RetrainingPolicy, now: pd.Timestamp) -> Recent:
    """The recent trainings, in one query. Those that failed count for the budget, but cool nothing down."""
    midnight = now.normalize()
    since = min(midnight, now - pd.Timedelta(hours=policy.cool_down_hours))
    found = instance.get_run_records(dg.RunsFilter(tags={"trigger": [*BY_ALARM]}, created_after=since.to_pydatetime()))
    created = [(pd.Timestamp(record.create_timestamp), record.dagster_run) for record in found]
    newest: dict[str, pd.Timestamp] = {}
    for time, run in created:
        symbol = run.tags.get("symbol")  # a person may have launched it with whatever tags
        if symbol and run.status not in FAILED:
            newest[symbol] = max(time, newest.get(symbol, time))
    return Recent(sum(time >= midnight for time, _ in created), newest)


def plan(
    causes: Iterable[Trigger],
    past: Recent,
    policy: RetrainingPolicy,
    settings: Settings,
    grid: dg.MultiPartitionsDefinition,
    store: Store,
    now: pd.Timestamp,
) -> Plan:
    """One training per symbol at most, the most urgent causes first."""
    requests: list[dg.RunRequest] = []
    met: list[str] = []
    waiting: dict[str, str] = {}
    started, newest = past.today, dict(past.newest)
    cool_down = pd.Timedelta(hours=policy.cool_down_hours)
    for cause in sorted(causes, key=lambda c: (-c.urgency, c.key)):
        symbol, alarm = cause.symbol, cause.trigger in BY_ALARM
        asked = cause.recipes or settings.symbols[symbol].recipes
        recipes = [recipe for recipe in asked if policy.training(recipe).enabled]
        until = features_available_until(store, symbol)
        seen = min((newest_as_of(store, symbol, recipe) for recipe in recipes), default=None)
        last = newest.get(symbol)
        if seen is None or (alarm and (seen >= cause.since or (last is not None and last >= cause.since))):
            met.append(cause.key)
        elif until is None or seen >= until:
            waiting[cause.key] = f"no bar is stored after {seen}, run the job market_data"
        elif alarm and last is not None and now < last + cool_down:
            waiting[cause.key] = f"trained for drift or decay at {last:%Y-%m-%d %H:%M}, cool-down {cool_down}"
        elif alarm and started >= policy.daily_budget:
            waiting[cause.key] = f"the budget of {policy.daily_budget} trainings a day is spent"
        else:
            try:
                requests.append(request(cause, recipes, until, grid, policy))
            except ValueError as outside:
                waiting[cause.key] = str(outside)
                continue
            met.append(cause.key)
            if alarm:
                started, newest[symbol] = started + 1, now
    return Plan(requests, met, waiting)


def request(
    cause: Trigger,
    recipes: Iterable[str],
    as_of: pd.Timestamp,
    grid: dg.MultiPartitionsDefinition,
    policy: RetrainingPolicy,
) -> dg.RunRequest:
    """A run that trains the recipes inside the week of `as_of`. ValueError where that week is no partition."""
    key = parse_key(grid, f"{cause.symbol}|{week_of(as_of):%Y-%m-%d}")
    budgets = {asset_name(recipe): policy.training(recipe).episodes_per_run or 0 for recipe in recipes}
    training: dict[str, Any] = {"as_of": as_of.isoformat(), "trigger": cause.trigger, "reason": cause.reason}
    return dg.RunRequest(
        run_key=cause.key,
        job_name=WEEKLY_CYCLE,
        partition_key=dg.MultiPartitionKey({"symbol": cause.symbol, "week": key.period}),
        run_config={"ops": {asset: {"config": {**training, "episodes": n}} for asset, n in budgets.items()}},
        asset_selection=[dg.AssetKey(asset) for asset in budgets],
        tags={**training, "symbol": cause.symbol, **priority_tag(cause.urgency), **partition_tags(key, "week")},
    )
