"""What a run whose process died could not do itself: fail its nested runs, publish that its trainings failed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Set
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES, RunRecord
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG

from quantum_training.assets.step_retries import first_attempt, is_restartable
from quantum_training.automation.failures.findings import PARENT_ENDED
from quantum_training.automation.failures.storage_faults import RESTART_TAG
from quantum_training.automation.run_launcher import is_nested
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.payloads import Event, TrainingCompleted, TrainingStarted, event
from quantum_training.resources.run_origin import LAUNCHED_BY

UNFINISHED = [*IN_PROGRESS_RUN_STATUSES, dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.NOT_STARTED]
MAX_CLOCK_SKEW = timedelta(hours=1)
"""More than the clocks of two machines may differ by."""

RETRY_WAIT_SECONDS = 600.0
"""How long Dagster may take to launch the run that tries a failed one again."""

PARENT_WAIT_SECONDS = 86_400.0
"""How long the surrounding run may go on: one whose process nobody watched may never end."""


def fail_child_runs(instance: dg.DagsterInstance, ended: Iterable[str]) -> list[str]:
    """Fail the unfinished nested runs of runs that ended; returns their ids.

    Dagster does not: it watches only the processes that it launched itself.
    """
    parents = [*ended]
    if not parents:
        return []
    tagged = instance.get_runs(dg.RunsFilter(tags={LAUNCHED_BY: parents}, statuses=UNFINISHED))
    children = [run for run in tagged if is_nested(run)]
    for run in children:
        instance.report_run_failed(run, f"{PARENT_ENDED} {run.tags[LAUNCHED_BY]}, which it was part of, has ended")
    return [run.run_id for run in children]


def is_over(instance: dg.DagsterInstance, run: dg.DagsterRun, seconds_since: float) -> bool | None:
    """Whether a failed or cancelled run is final.

    False if another run tries it again, which then reports how that ends; None while it is not known yet. A nested run
    that a fault of Dagster's storage ended is tried again with the run that it is part of.
    """
    if run.tags.get(RESTART_TAG) == "true" and is_nested(run):
        parent = instance.get_run_record_by_id(run.tags[LAUNCHED_BY])
        if parent and parent.dagster_run.is_finished:
            return is_over(instance, parent.dagster_run, time.time() - (parent.end_time or 0))
        if parent and seconds_since < PARENT_WAIT_SECONDS:
            return None
    if run.status != dg.DagsterRunStatus.FAILURE or not is_restartable(instance, run):
        return True
    if AUTO_RETRY_RUN_ID_TAG in run.tags:
        return False
    if run.tags.get(WILL_RETRY_TAG) == "false" or seconds_since > RETRY_WAIT_SECONDS:
        return True
    return None


def fail_trainings(instance: dg.DagsterInstance, bus: EventBus, runs: Iterable[RunRecord]) -> list[str]:
    """Publish that the trainings failed which these runs started and never completed; returns their job ids.

    The runs must be over. A training whose process was killed could not publish it.
    """
    first_attempts = {first_attempt(instance, record.dagster_run) for record in runs}
    if not first_attempts:
        return []
    records = instance.get_run_records(dg.RunsFilter(run_ids=[*first_attempts]))
    if not records:
        return []
    started = _open_trainings(bus, first_attempts, min(record.create_timestamp for record in records) - MAX_CLOCK_SKEW)
    if started:
        now = pd.Timestamp.now("UTC")
        bus.outbox.publish([_failed(message, now) for message in started.values()])
    return [*started]


def _open_trainings(bus: EventBus, run_ids: Set[str], since: datetime) -> dict[str, dict[str, Any]]:
    """Published training_started messages by job id, of trainings of these runs that have no training_completed."""
    started: dict[str, dict[str, Any]] = {}
    for delivery in bus.outbox.events_since((TrainingStarted.type, TrainingCompleted.type), since):
        message = json.loads(delivery.text)
        job_id = message["payload"]["job_id"]
        if message["type"] == TrainingCompleted.type:
            started.pop(job_id, None)
        elif job_id.partition("/")[0] in run_ids:
            started[job_id] = message
    return started


def _failed(started: Mapping[str, Any], now: pd.Timestamp) -> Event:
    job_id = started["payload"]["job_id"]
    payload = TrainingCompleted(
        job_id=job_id,
        model_version=None,
        status="failed",
        metrics={},
        duration_seconds=None,
        completed_at=now,
        episodes=started["payload"].get("episodes"),
    )
    return event(started["symbol"], payload, job_id)
