"""The runs of `weekly_cycle_schedule`: what a tick starts at once, and the sensor that starts the rest.

A tick starts the trainings whose data are stored. The sensor follows the newest tick: symbols whose data come late,
runs that have to wait for the one before, weeks whose ticks were missed, ticks that failed. What is due is decided in
lifecycle/surveillance/scheduled_trainings.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import dagster as dg
import pandas as pd
from dagster._core.scheduler.instigation import InstigatorStatus, InstigatorType, TickStatus

from quantum_training.automation.execution.priorities import priority_tag
from quantum_training.automation.jobs.asset_jobs import WEEKLY_CYCLE
from quantum_training.automation.jobs.batches import in_batches, runs_of_batches, scheduled_job
from quantum_training.automation.retraining.live_policy import LivePolicy
from quantum_training.automation.retraining.planning import run_request
from quantum_training.lifecycle.surveillance.retraining_triggers import Retraining, Trigger
from quantum_training.lifecycle.surveillance.run_priorities import INTERVAL, WEEKLY
from quantum_training.lifecycle.surveillance.scheduled_trainings import (
    RunState,
    ScheduledTraining,
    next_training,
    trainings_due,
)
from quantum_training.partitions import Partitions, parse_key, partition_tags
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.settings.retraining import RetrainingPolicy

SCHEDULE, SENSOR = "weekly_cycle_schedule", "weekly_cycle_sensor"
EVERY_SECONDS = 30
TRAINING_TAG = "quantum_training/scheduled_training"
"""Tag of the schedule's runs: the key of the training."""

MAX_REASONS = 10
"""How many waiting symbols a skip reason lists."""

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


class TickPlan(NamedTuple):
    """The runs that may start now, and why the other symbols wait."""

    requests: list[dg.RunRequest]
    waiting: list[str]

    @property
    def skip_reason(self) -> str:
        """Why nothing starts."""
        more = len(self.waiting) - MAX_REASONS
        lines = [*self.waiting[:MAX_REASONS], *([f"and {more} more"] if more > 0 else [])]
        return "; ".join(lines) or "every training was started"


def utc_now() -> pd.Timestamp:
    """The time of an evaluation. Tests replace it."""
    return pd.Timestamp.now("UTC")


def plan_tick(
    settings: Settings, partitions: Partitions, store: Store, instance: dg.DagsterInstance, tick: pd.Timestamp
) -> TickPlan:
    """What of a tick's trainings may start now, and what has to wait."""
    policy, _ = LivePolicy(settings, lambda: settings).read()
    plan = TickPlan([], [])
    due = {s: t for s in settings.trained_symbols if (t := trainings_due(store, settings, policy, s, tick))}
    runs = _run_state(instance, (training for trainings in due.values() for training in trainings))
    for trainings in due.values():
        training, without_data, waits = next_training(store, settings, trainings, runs)
        if training:
            plan.requests.append(_request(partitions, policy, training, without_data))
        if waits:
            plan.waiting.append(waits)
    return plan


def weekly_cycle_sensor(settings: Settings, partitions: Partitions) -> dg.SensorDefinition:
    """The sensor. Its cursor is the time of the tick whose trainings were all started."""

    @dg.sensor(
        name=SENSOR,
        job_name=scheduled_job(settings, WEEKLY_CYCLE),
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Starts what the newest tick of {SCHEDULE} could not start: the week of a symbol whose market "
        "data come late, as soon as they are stored; missed weeks, one after the other. A week whose data are not "
        "there a day later is run without them, so that its failure is reported. On from the start; does nothing "
        "while the schedule is off.",
    )
    def sensor(context: dg.SensorEvaluationContext, store: dg.ResourceParam[Store]) -> dg.SensorResult | dg.SkipReason:
        tick = _newest_tick(context.instance)
        if tick is None:
            return dg.SkipReason(f"{SCHEDULE} is off or has not ticked yet")
        if context.cursor == tick.isoformat():
            return dg.SkipReason(f"every training of the tick of {tick:%Y-%m-%d %H:%M} was started")
        plan = plan_tick(settings, partitions, store, context.instance, tick)
        cursor = context.cursor if plan.requests or plan.waiting else tick.isoformat()
        if not plan.requests:
            return dg.SensorResult(skip_reason=plan.skip_reason, cursor=cursor)
        for line in plan.waiting:
            context.log.info(line)
        return dg.SensorResult(run_requests=in_batches(settings, WEEKLY_CYCLE, plan.requests), cursor=cursor)

    return sensor


def _request(
    partitions: Partitions, policy: RetrainingPolicy, training: ScheduledTraining, without_data: bool
) -> dg.RunRequest:
    """The run of a training: the weekly cycle, or some recipes inside the week."""
    symbol, as_of = training.symbol, training.as_of
    key = training.key_without_data if without_data else training.key
    if training.recipes:
        reason = f"scheduled training as of {as_of:%Y-%m-%d %H:%M}"
        trigger = Trigger(symbol, key, "SCHEDULED", INTERVAL, reason, as_of, training.recipes)
        request = run_request(Retraining(trigger, training.recipes, as_of), partitions.week, policy)
        return request.with_replaced_attrs(tags={**request.tags, TRAINING_TAG: key})
    partition = parse_key(partitions.week, f"{symbol}|{as_of:%Y-%m-%d}")
    tags = {"trigger": "SCHEDULED", "reason": "weekly refresh", "as_of": as_of.isoformat(), "symbol": symbol}
    tags |= {TRAINING_TAG: key, **priority_tag(WEEKLY), **partition_tags(partition, "week")}
    multi_key = dg.MultiPartitionKey({"symbol": symbol, "week": partition.period})
    return dg.RunRequest(run_key=key, job_name=WEEKLY_CYCLE, partition_key=multi_key, tags=tags)


def _run_state(instance: dg.DagsterInstance, trainings: Iterable[ScheduledTraining]) -> RunState:
    """Which of these trainings were started, and which symbols have an unfinished run."""
    due = [key for training in trainings for key in (training.key, training.key_without_data)]
    if not due:
        return RunState((), (), utc_now())
    started = instance.get_runs(dg.RunsFilter(tags={TRAINING_TAG: due}))
    unfinished = instance.get_runs(dg.RunsFilter(job_name=WEEKLY_CYCLE, statuses=UNFINISHED))
    running = {run.tags["symbol"] for run in unfinished if "symbol" in run.tags}
    waiting = [run for run in runs_of_batches(instance, WEEKLY_CYCLE, UNFINISHED) if TRAINING_TAG in run.tags]
    begun = {run.tags[TRAINING_TAG] for run in started} | {run.tags[TRAINING_TAG] for run in waiting}
    return RunState(begun, running | {run.symbol for run in waiting}, utc_now())


def _newest_tick(instance: dg.DagsterInstance) -> pd.Timestamp | None:
    """The scheduled time of the newest tick; None if the schedule is off or the tick is being evaluated."""
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE):
        if state.instigator_name == SCHEDULE and state.status == InstigatorStatus.RUNNING:
            ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
            if ticks and ticks[0].status != TickStatus.STARTED:
                return pd.Timestamp(ticks[0].timestamp, unit="s", tz="UTC")
    return None
