"""Removal of Dagster's old runs, their logs and ticks, without losing the state of any partition or check.

Dagster reads the state of partitions and checks from the events of runs, and deletes the events with the run. So a run
that holds the newest event of a partition, or the newest result of a check, stays with those events.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.run_events import runs_with_state
from quantum_training.assets.run_storage import RunStorage
from quantum_training.resources.cleanup.removal_count import RemovalCount

PAGE = 500
SHORTENED = "quantum_training/log_shortened"
"""Tag of a run that stayed: the UTC day on which the rest of its log was removed."""

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
ALARM_TAG = "trigger"
ALARM_DAYS = pd.Timedelta(days=29)
"""For how long the sensors count the runs that they started: the longest cool-down, and the day of the budget."""


def remove_runs(
    instance: dg.DagsterInstance, before: pd.Timestamp, now: pd.Timestamp, dry_run: bool
) -> dict[str, RemovalCount]:
    """Remove runs that ended before that time, and shorten the logs of those that hold the state of a partition.

    Runs of a backfill in progress stay, and so do those that the sensors still count. Returns how many were removed, or
    with dry_run would be, and the bytes of their logs, as `runs` and `shortened_logs`.
    """
    storage = RunStorage(instance)
    state_runs = runs_with_state(storage.events)
    runs, logs = RemovalCount(), RemovalCount()
    for run_id, shortened in [*_old_runs(instance, before, now)]:
        if run_id not in state_runs:
            runs += RemovalCount(1, storage.log_bytes(run_id, whole_log=True))
            if not dry_run:
                storage.remove(run_id)
        elif not shortened:
            logs += RemovalCount(1, storage.log_bytes(run_id, whole_log=False))
            if not dry_run:
                storage.shorten(run_id)
                instance.add_run_tags(run_id, {SHORTENED: now.strftime("%Y-%m-%d")})
    if not dry_run:
        storage.remove_orphaned_files(before)
    return {"runs": runs, "shortened_logs": logs}


def remove_ticks(instance: dg.DagsterInstance, before: pd.Timestamp, dry_run: bool) -> RemovalCount:
    """Remove ticks of schedules and sensors from before that time, except the newest of each: the daemon continues from
    it. Their bytes are not known."""
    count = 0
    for state in instance.all_instigator_state() if instance.schedule_storage else []:
        newest = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
        if not newest:
            continue
        until = min(before.timestamp(), newest[0].timestamp)
        count += len(instance.get_ticks(state.instigator_origin_id, state.selector_id, before=until))
        if not dry_run:
            instance.purge_ticks(state.instigator_origin_id, state.selector_id, before=until)
    return RemovalCount(count)


def _old_runs(instance: dg.DagsterInstance, before: pd.Timestamp, now: pd.Timestamp) -> Iterator[tuple[str, bool]]:
    """Runs that ended before that time, and whether their logs are shortened.

    Runs of a backfill in progress and runs that the sensors still count are left out.
    """
    from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES

    in_progress = {b.backfill_id for b in instance.get_backfills() if b.status not in BULK_ACTION_TERMINAL_STATUSES}
    for record in _records(instance, dg.RunsFilter(statuses=FINISHED, updated_before=before.to_pydatetime())):
        tags = record.dagster_run.tags
        is_counted = ALARM_TAG in tags and pd.Timestamp(record.create_timestamp) >= now - ALARM_DAYS
        if tags.get("dagster/backfill") not in in_progress and not is_counted:
            yield record.dagster_run.run_id, SHORTENED in tags


def _records(instance: dg.DagsterInstance, filters: dg.RunsFilter) -> Iterator[Any]:
    cursor = None
    while page := instance.get_run_records(filters, limit=PAGE, cursor=cursor):
        yield from page
        cursor = page[-1].dagster_run.run_id
