"""What calls for training a symbol's recipes between weekly refreshes, and which of those calls start one now.

A trigger is read from stored reports and versions. A cool-down per symbol and a daily budget limit the trainings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from quantum_training.lifecycle.records import AnyRecord, DailyDrift, ModelRecord, WeeklyDecay, model_asset, read_record
from quantum_training.lifecycle.stored_months import NANOSECOND, features_available_until
from quantum_training.lifecycle.surveillance import run_priorities
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.timeframe import opens_before
from quantum_training.monitoring.severity import Severity
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.settings.retraining import RetrainingPolicy

NEVER = pd.Timestamp(0, tz="UTC")
ALARMS = ("DRIFT_DETECTED", "PERFORMANCE_DECAY")
"""Kinds of trigger that the cool-down and the daily budget limit."""


class Trigger(NamedTuple):
    """A reason to train a symbol's recipes.

    key: identifies the trigger; each is handled once. kind: SCHEDULED, DRIFT_DETECTED or PERFORMANCE_DECAY. priority:
    of its run in the queue. since: a version as of then or later has handled it already. recipes: empty means all of
    the symbol's recipes.
    """

    symbol: str
    key: str
    kind: str
    priority: int
    reason: str
    since: pd.Timestamp
    recipes: tuple[str, ...] = ()


class Retraining(NamedTuple):
    """A training to start now: these recipes of the trigger's symbol, on bars that close up to `as_of`."""

    trigger: Trigger
    recipes: tuple[str, ...]
    as_of: pd.Timestamp


class RetrainingPlan(NamedTuple):
    """What becomes of each trigger. handled: keys that need no further look. deferred: by key, why it has to wait."""

    trainings: list[Retraining]
    handled: list[str]
    deferred: dict[str, str]


@dataclass
class RetrainingBudget:
    """How many trainings for drift or decay have started this UTC day, and when the newest of each symbol started."""

    policy: RetrainingPolicy
    now: pd.Timestamp
    started_today: int = 0
    last_started: dict[str, pd.Timestamp] = field(default_factory=dict)

    def reason_to_wait(self, symbol: str) -> str | None:
        """Why a symbol may not be trained for an alarm now; None if it may."""
        cool_down = pd.Timedelta(hours=self.policy.cool_down_hours)
        last = self.last_started.get(symbol)
        if last is not None and self.now < last + cool_down:
            return f"trained for drift or decay at {last:%Y-%m-%d %H:%M}, cool-down {cool_down}"
        if self.started_today >= self.policy.daily_budget:
            return f"the budget of {self.policy.daily_budget} trainings a day is spent"
        return None

    def spend(self, symbol: str) -> None:
        """Count a training that starts now."""
        self.started_today += 1
        self.last_started[symbol] = self.now


def plan_retraining(
    triggers: Iterable[Trigger],
    budget: RetrainingBudget,
    settings: Settings,
    store: Store,
    week_error: Callable[[str, pd.Timestamp], str | None],
) -> RetrainingPlan:
    """At most one training per symbol for drift or decay, the most urgent triggers first.

    week_error(symbol, as_of) says why the week of `as_of` cannot be trained, or returns None. `budget` is charged with
    the trainings that start.
    """
    plan = RetrainingPlan([], [], {})
    for trigger in sorted(triggers, key=lambda t: (-t.priority, t.key)):
        symbol, is_alarm = trigger.symbol, trigger.kind in ALARMS
        candidates = trigger.recipes or settings.symbols[symbol].recipes
        recipes = tuple(recipe for recipe in candidates if budget.policy.training(recipe).enabled)
        trained_until = min((newest_as_of(store, symbol, recipe) for recipe in recipes), default=None)
        last_started = budget.last_started.get(symbol, NEVER)
        as_of = features_available_until(store, symbol)
        if trained_until is None or (is_alarm and max(trained_until, last_started) >= trigger.since):
            plan.handled.append(trigger.key)
        elif as_of is None or trained_until >= as_of:
            plan.deferred[trigger.key] = f"no bar is stored after {trained_until}, run the job market_data"
        elif reason := (budget.reason_to_wait(symbol) if is_alarm else None) or week_error(symbol, as_of):
            plan.deferred[trigger.key] = reason
        else:
            plan.trainings.append(Retraining(trigger, recipes, as_of))
            plan.handled.append(trigger.key)
            if is_alarm:
                budget.spend(symbol)
    return plan


def drift_trigger(store: Store, symbol: str, policy: RetrainingPolicy) -> Trigger | None:
    """A trigger if the symbol's newest drift report calls for training. Reports of wrong data never do."""
    day, report = newest_report(store, DailyDrift, symbol)
    if report is None or report.severity < Severity.MODERATE or has_data_fault(report):
        return None
    severity, since = report.severity, pd.Timestamp(day, tz="UTC")
    if severity < Severity[policy.drift_severity]:
        since -= pd.Timedelta(days=policy.moderate_after_days)
    reason = f"{severity.name} drift on {day}: {report.reason}"
    key = f"{symbol}|{day}|{severity.name}"
    return Trigger(symbol, key, "DRIFT_DETECTED", run_priorities.BY_SEVERITY[severity], reason, since)


def has_data_fault(report: DailyDrift) -> bool:
    """Whether a drift report found data that are wrong, not merely unusual."""
    return report.severity == Severity.CRITICAL and any(row.fault for row in report.rows)


def decay_trigger(store: Store, symbol: str) -> Trigger | None:
    """A trigger if the symbol's newest decay report says that its champion has decayed.

    The refresh as of that week saw the same bars as the report, so only a later version handles the trigger.
    """
    week, report = newest_report(store, WeeklyDecay, symbol)
    if report is None or report.status != "DECAYED":
        return None
    since = pd.Timestamp(week, tz="UTC") + NANOSECOND
    reason = f"{report.recipe} decayed in the week of {week}: {report.reason}"
    return Trigger(symbol, f"{symbol}|{week}|DECAYED", "PERFORMANCE_DECAY", run_priorities.DECAY, reason, since)


def interval_trigger(store: Store, settings: Settings, symbol: str, policy: RetrainingPolicy) -> Trigger | None:
    """A trigger for the recipes whose newest version lacks as many stored bars or minutes as the policy allows."""
    market = settings.symbols[symbol]
    rules = {r: t for r in market.recipes if (t := policy.training(r)).every_bars or t.interval_minutes}
    until = features_available_until(store, symbol) if rules else None
    if until is None:
        return None
    due = {}
    for recipe, rule in rules.items():
        as_of = newest_as_of(store, symbol, recipe)
        if as_of == NEVER or as_of >= until:
            continue
        first, end = opens_before(as_of, market.timeframe), opens_before(until, market.timeframe)
        bars = len(expected_open_times(market.calendar, market.timeframe, first, end))
        minutes = (until - as_of) / pd.Timedelta(minutes=1)
        enough_bars = rule.every_bars is not None and bars >= rule.every_bars
        enough_minutes = rule.interval_minutes is not None and bars > 0 and minutes >= rule.interval_minutes
        if enough_bars or enough_minutes:
            due[recipe] = f"{bars} new bars for {recipe}"
    if not due:
        return None
    key = f"{symbol}|{until.isoformat()}|{','.join(due)}"
    return Trigger(symbol, key, "SCHEDULED", run_priorities.INTERVAL, ", ".join(due.values()), until, tuple(due))


def newest_report(store: Store, kind: type[AnyRecord], symbol: str) -> tuple[str, AnyRecord | None]:
    """Period and record of the newest stored report of a symbol."""
    periods = store.periods(kind.asset, symbol, "json")
    return (periods[-1], read_record(store, kind, symbol, periods[-1])) if periods else ("", None)


def newest_as_of(store: Store, symbol: str, recipe: str) -> pd.Timestamp:
    """Up to when the newest version of a recipe was trained, including refused versions; NEVER if there is none."""
    asset = model_asset(recipe)
    for week in reversed(store.periods(asset, symbol, "json")):
        record = read_record(store, ModelRecord, symbol, week, asset)
        if record and record.versions:
            return max(version.time for version in record.versions)
    return NEVER
