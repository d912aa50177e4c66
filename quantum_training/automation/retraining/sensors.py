"""Sensors, off until switched on in the UI. They read what is stored and compute nothing; what starts is retraining.py.

The policy is read anew at every tick. What a sensor leaves waiting, and why, is the tick's skip reason or its log.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.automation.jobs.asset_jobs import DECAY, WEEKLY_CYCLE
from quantum_training.automation.jobs.manual_actions import RETRAIN
from quantum_training.automation.retraining.event_requests import CONSUMER, sort_events
from quantum_training.automation.retraining.live_policy import LivePolicy
from quantum_training.automation.retraining.planning import plan, read_budget
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
from quantum_training.settings.retraining import RetrainingPolicy
from quantum_training.settings.settings import Settings

EVERY_SECONDS = 30
SHOWN = 10
Find = Callable[[Store, str, RetrainingPolicy], Trigger | None]


def build(
    settings: Settings, partitions: Partitions, jobs: list[Any], load: Callable[[], Settings]
) -> list[dg.SensorDefinition]:
    """`drift_sensor`, `performance_decay_sensor`, `market_data_sensor` and `event_inbox_sensor`.

    jobs: of the project; an event may start the weekly cycle, `decay` and `retrain`. load: reads the settings again.
    """
    live = LivePolicy(settings, load)
    started = [job for job in jobs if job.name in (WEEKLY_CYCLE, DECAY, RETRAIN)]

    def of_store(name: str, find: Find, description: str) -> dg.SensorDefinition:
        @dg.sensor(name=name, job_name=WEEKLY_CYCLE, minimum_interval_seconds=EVERY_SECONDS, description=description)
        def sensor(
            context: dg.SensorEvaluationContext, store: dg.ResourceParam[Store]
        ) -> dg.SensorResult | dg.SkipReason:
            policy, warning = live.read()
            met: dict[str, str] = json.loads(context.cursor or "{}")
            causes = [c for symbol in settings.symbols if (c := find(store, symbol, policy))] if policy.enabled else []
            causes = [cause for cause in causes if met.get(cause.symbol) != cause.key]
            if not causes:
                return _nothing(context, policy, warning, {})
            now = pd.Timestamp.now("UTC")
            planned = plan(causes, read_budget(context.instance, policy, now), settings, partitions.week, store)
            met |= {cause.symbol: cause.key for cause in causes if cause.key in planned.handled}
            return _result(context, policy, warning, planned.requests, planned.deferred, met)

        return sensor

    @dg.sensor(
        name=CONSUMER,
        jobs=started,
        minimum_interval_seconds=EVERY_SECONDS,
        description="Reads the inbox: manual.retrain_request runs the job retrain, data.drift_signal of SEVERE and "
        "worse trains as drift does, performance.metrics_updated has the champion's decay looked at again. An event "
        "is acknowledged in the tick after its run was launched, so none is lost and none runs twice. It also passes "
        "on to Redis what waits in the outbox.",
    )
    @short_timeouts()
    def inbox(
        context: dg.SensorEvaluationContext, store: dg.ResourceParam[Store], events: dg.ResourceParam[EventBus]
    ) -> dg.SensorResult | dg.SkipReason:
        policy, warning = live.read()
        events.pass_on()
        if not policy.enabled:
            return _nothing(context, policy, warning, {})
        now = pd.Timestamp.now("UTC")
        done = {*json.loads(context.cursor or "[]")}
        unread = events.read(CONSUMER, limit=500)
        events.acknowledge(CONSUMER, [event for event in unread if str(event.event_id) in done])
        fresh = [event for event in unread if str(event.event_id) not in done]
        if not fresh:
            return _nothing(context, policy, warning, {})
        found = sort_events(fresh, settings, store, context.instance, partitions.week, now)
        for event, reason in found.refused:
            context.log.warning(f"{event.type} {event.event_id} is a dead letter: {reason}")
            events.refuse(CONSUMER, event, reason)
        planned = plan(found.causes, read_budget(context.instance, policy, now), settings, partitions.week, store)
        requests, waiting = [*found.requests, *planned.requests], {**found.waiting, **planned.deferred}
        return _result(context, policy, warning, requests, waiting, sorted({*found.met, *planned.handled}))

    return [
        of_store(
            "drift_sensor",
            drift_trigger,
            "Trains a symbol's recipes at once where its newest drift report is SEVERE, and early where it is "
            "MODERATE, as `retraining` in the settings allows. Broken data train nothing.",
        ),
        of_store(
            "performance_decay_sensor",
            lambda store, symbol, policy: decay_trigger(store, symbol) if policy.decay else None,
            "Trains a symbol's recipes at once where its newest decay report says that the champion has decayed.",
        ),
        of_store(
            "market_data_sensor",
            lambda store, symbol, policy: interval_trigger(store, settings, symbol, policy),
            "Trains the recipes for which `retraining.recipes` sets every_bars or interval_minutes, as soon as so many "
            "bars or minutes are stored beyond their newest version.",
        ),
        inbox,
    ]


def _nothing(
    context: dg.SensorEvaluationContext, policy: RetrainingPolicy, warning: str, waiting: dict[str, str]
) -> dg.SkipReason:
    if warning:
        context.log.warning(warning)
    said = [*filter(None, [warning]), *([] if policy.enabled else ["retraining.enabled is false"])]
    said += [f"{key} waits: {why}" for key, why in [*waiting.items()][:SHOWN]]
    return dg.SkipReason("; ".join(said) or "nothing new")


def _result(
    context: dg.SensorEvaluationContext,
    policy: RetrainingPolicy,
    warning: str,
    requests: list[dg.RunRequest],
    waiting: dict[str, str],
    cursor: Any,
) -> dg.SensorResult:
    skipped = None if requests else _nothing(context, policy, warning, waiting)
    if requests:
        for line in [*filter(None, [warning]), *(f"{key} waits: {why}" for key, why in waiting.items())]:
            context.log.warning(line)
    return dg.SensorResult(run_requests=requests, skip_reason=skipped, cursor=json.dumps(cursor))
