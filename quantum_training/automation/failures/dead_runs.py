"""What a run that died could not do itself: end the runs in its process, and tell that its trainings failed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import dagster as dg
import pandas as pd
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES, RunRecord
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG

from quantum_training.assets.step_retries import first_attempt
from quantum_training.automation.failures.findings import ENDED
from quantum_training.automation.run_launcher import LAUNCHED_BY
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.payloads import TrainingCompleted, TrainingStarted, event

GOING_ON = [*IN_PROGRESS_RUN_STATUSES, dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.NOT_STARTED]
CLOCKS_APART = timedelta(hours=1)
"""More than the clocks of two machines may differ by."""

RETRY_WAIT_SECONDS = 600.0
"""So long may Dagster take to launch the run that tries a failed one again."""


def fail_child_runs(instance: dg.DagsterInstance, ended: Iterable[str]) -> list[str]:
    """Fail the runs that ended runs had in their own process and that still count as running; returns their ids.

    Nothing else would: Dagster watches the processes that it launched itself.
    """
    parents = [*ended]
    if not parents:
        return []
    left = instance.get_runs(dg.RunsFilter(tags={LAUNCHED_BY: parents}, statuses=GOING_ON))
    for run in left:
        instance.report_run_failed(run, f"{ENDED} {run.tags[LAUNCHED_BY]}, which it was part of, has ended")
    return [run.run_id for run in left]


def is_over(instance: dg.DagsterInstance, run: dg.DagsterRun, seconds_since: float) -> bool | None:
    """Is this the end of what a run that failed or was cancelled was for?

    False where another run tries it again and will say how that ends; None where that is not known yet.
    """
    if run.status != dg.DagsterRunStatus.FAILURE or not instance.run_retries_enabled or not run.remote_job_origin:
        return True
    if AUTO_RETRY_RUN_ID_TAG in run.tags:
        return False
    if run.tags.get(WILL_RETRY_TAG) == "false" or seconds_since > RETRY_WAIT_SECONDS:
        return True
    return None


def fail_trainings(instance: dg.DagsterInstance, bus: EventBus, runs: Iterable[RunRecord]) -> list[str]:
    """Publish that trainings of these runs failed which were told to start and not how they ended; returns their ids.

    The runs must be over. A training whose process was killed could not tell it.
    """
    firsts = {first_attempt(instance, record.dagster_run) for record in runs}
    if not firsts:
        return []
    began = [record.create_timestamp for record in instance.get_run_records(dg.RunsFilter(run_ids=[*firsts]))]
    if not began:
        return []
    open_jobs: dict[str, dict[str, Any]] = {}
    for delivery in bus.told((TrainingStarted.type, TrainingCompleted.type), min(began) - CLOCKS_APART):
        told = json.loads(delivery.text)
        job = told["payload"]["job_id"]
        if told["type"] == TrainingCompleted.type:
            open_jobs.pop(job, None)
        elif job.partition("/")[0] in firsts:
            open_jobs[job] = told
    now = pd.Timestamp.now("UTC")
    failed = [
        event(
            told["symbol"],
            TrainingCompleted(
                job_id=job, model_version=None, status="failed", metrics={}, duration_seconds=None, completed_at=now
            ),
            job,
        )
        for job, told in open_jobs.items()
    ]
    if failed:
        bus.publish(failed)
    return [*open_jobs]
