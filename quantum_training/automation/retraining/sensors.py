"""The sensors that start trainings, off until switched on in the UI: drift, decay, new market data, events.

They read stored records and compute nothing. The policy is read again at every tick. What a sensor defers, and why, is
in the tick's skip reason or log.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.automation.jobs.asset_jobs import DECAY, WEEKLY_CYCLE
from quantum_training.automation.jobs.retrain import RETRAIN
from quantum_training.automation.retraining.event_requests import CONSUMER, classify_events
from quantum_training.automation.retraining.live_policy import LivePolicy
from quantum_training.automation.retraining.planning import plan_runs, read_budget
from quantum_training.lifecycle.surveillance.retraining_triggers import (
    Trigger,
    decay_trigger,
    drift_trigger,
    interval_trigger,
)
from quantum_training.partitions import Partitions
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.store.store import Store
from quantum_training.resources.time_limits import short_timeouts
from quantum_training.settings import Settings
from quantum_training.settings.retraining import RetrainingPolicy

EVERY_SECONDS = 30
MAX_REASONS = 10
"""How many deferred triggers a skip reason lists."""

FindTrigger = Callable[[Store, str, RetrainingPolicy], Trigger | None]
Result = dg.SensorResult | dg.SkipReason


@dataclass
class Tick:
    """One evaluation of a sensor. warning: what is wrong with the settings file, empty if nothing is."""

    context: dg.SensorEvaluationContext
    policy: RetrainingPolicy
    warning: str

    def skip(self, deferred: Mapping[str, str]) -> dg.SkipReason:
        """Start nothing, and say why."""
        if self.warning:
            self.context.log.warning(self.warning)
        reasons = [self.warning] if self.warning else []
        reasons += [] if self.policy.enabled else ["retraining.enabled is false"]
        reasons += [f"{key} waits: {reason}" for key, reason in [*deferred.items()][:MAX_REASONS]]
        return dg.SkipReason("; ".join(reasons) or "nothing new")

    def result(self, requests: list[dg.RunRequest], deferred: Mapping[str, str], cursor: Any) -> dg.SensorResult:
        """Start these runs, if any, and move the cursor."""
        if not requests:
            return dg.SensorResult(skip_reason=self.skip(deferred), cursor=json.dumps(cursor))
        for line in [*filter(None, [self.warning]), *(f"{key} waits: {reason}" for key, reason in deferred.items())]:
            self.context.log.warning(line)
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(cursor))


def utc_now() -> pd.Timestamp:
    """The time of a tick. Tests replace it."""
    return pd.Timestamp.now("UTC")


def build_retraining_sensors(
    settings: Settings, partitions: Partitions, jobs: list[Any], load: Callable[[], Settings]
) -> list[dg.SensorDefinition]:
    """`drift_sensor`, `performance_decay_sensor`, `market_data_sensor` and `event_inbox_sensor`.

    jobs: all jobs of the project; an event may start the weekly cycle, `decay` and `retrain`. load: reads the settings
    again.
    """
    live = LivePolicy(settings, load)

    def report_sensor(name: str, find: FindTrigger, description: str) -> dg.SensorDefinition:
        return _report_sensor(name, find, description, settings, partitions, live)

    return [
        report_sensor(
            "drift_sensor",
            drift_trigger,
            "Trains a symbol's recipes at once if its newest drift report is SEVERE, and early if it is MODERATE, as "
            "`retraining` in the settings allows. Reports of wrong data start no training.",
        ),
        report_sensor(
            "performance_decay_sensor",
            lambda store, symbol, policy: decay_trigger(store, symbol) if policy.decay else None,
            "Trains a symbol's recipes at once if its newest decay report says that the champion has decayed.",
        ),
        report_sensor(
            "market_data_sensor",
            lambda store, symbol, policy: interval_trigger(store, settings, symbol, policy),
            "Trains the recipes for which `retraining.recipes` sets every_bars or interval_minutes, as soon as so many "
            "bars or minutes are stored beyond their newest version.",
        ),
        _inbox_sensor(settings, partitions, jobs, live),
    ]


def _report_sensor(
    name: str, find: FindTrigger, description: str, settings: Settings, partitions: Partitions, live: LivePolicy
) -> dg.SensorDefinition:
    """A sensor over the newest stored record of each symbol. Its cursor is the key of the last trigger by symbol."""

    @dg.sensor(name=name, job_name=WEEKLY_CYCLE, minimum_interval_seconds=EVERY_SECONDS, description=description)
    def sensor(context: dg.SensorEvaluationContext, store: dg.ResourceParam[Store]) -> Result:
        tick = Tick(context, *live.read())
        handled: dict[str, str] = json.loads(context.cursor or "{}")
        symbols = settings.trained_symbols if tick.policy.enabled else []
        triggers = [trigger for symbol in symbols if (trigger := find(store, symbol, tick.policy))]
        triggers = [trigger for trigger in triggers if handled.get(trigger.symbol) != trigger.key]
        if not triggers:
            return tick.skip({})
        budget = read_budget(context.instance, tick.policy, utc_now())
        plan = plan_runs(triggers, budget, settings, partitions.week, store)
        handled |= {trigger.symbol: trigger.key for trigger in triggers if trigger.key in plan.handled}
        return tick.result(plan.requests, plan.deferred, handled)

    return sensor


def _inbox_sensor(settings: Settings, partitions: Partitions, jobs: list[Any], live: LivePolicy) -> dg.SensorDefinition:
    """The sensor of events. Its cursor lists the ids that the next tick acknowledges."""

    @dg.sensor(
        name=CONSUMER,
        jobs=[job for job in jobs if job.name in (WEEKLY_CYCLE, DECAY, RETRAIN)],
        minimum_interval_seconds=EVERY_SECONDS,
        description="Reads the inbox: manual.retrain_request runs the job retrain, data.drift_signal of SEVERE and "
        "worse trains as drift does, performance.metrics_updated tests the champion's decay again. An event is "
        "acknowledged in the tick after its run was launched, so none is lost and none runs twice. It also passes on "
        "to Redis what waits in the outbox.",
    )
    @short_timeouts()
    def inbox(
        context: dg.SensorEvaluationContext, store: dg.ResourceParam[Store], events: dg.ResourceParam[EventBus]
    ) -> Result:
        tick, now = Tick(context, *live.read()), utc_now()
        events.outbox.relay_quietly()
        if not tick.policy.enabled:
            return tick.skip({})
        launched = {*json.loads(context.cursor or "[]")}
        unread = events.inbox.read(CONSUMER, limit=500)
        events.inbox.acknowledge(CONSUMER, [event for event in unread if str(event.event_id) in launched])
        new_events = [event for event in unread if str(event.event_id) not in launched]
        if not new_events:
            return tick.skip({})
        outcome = classify_events(new_events, settings, store, context.instance, partitions.week, now)
        for event, reason in outcome.refused:
            context.log.warning(f"{event.type} {event.event_id} is a dead letter: {reason}")
            events.inbox.refuse(CONSUMER, event, reason)
        budget = read_budget(context.instance, tick.policy, now)
        plan = plan_runs(outcome.triggers, budget, settings, partitions.week, store)
        handled = sorted({*outcome.handled, *plan.handled})
        return tick.result([*outcome.requests, *plan.requests], {**outcome.deferred, **plan.deferred}, handled)

    return inbox
