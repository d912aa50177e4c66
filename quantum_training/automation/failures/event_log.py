"""Reading Dagster's event log from a cursor on: how runs ended, and how asset checks were evaluated.

One query each while nothing fails. Dagster's own run_failure_sensor would not do: it does not see nested runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.event_api import EventLogRecord, EventRecordsFilter, RunStatusChangeRecordsFilter
from dagster._core.storage.dagster_run import RunRecord

RUNS_AT_ONCE, CHECKS_AT_ONCE = 100, 2000


def run_ends(
    instance: dg.DagsterInstance, event_type: Any, after: int, newest_only: bool = False
) -> Iterable[EventLogRecord]:
    """The events by which runs failed or were cancelled, with numbers above `after`."""
    records_filter = RunStatusChangeRecordsFilter(event_type, after_storage_id=after)
    limit = 1 if newest_only else RUNS_AT_ONCE
    return instance.fetch_run_status_changes(records_filter, limit=limit, ascending=not newest_only).records


def check_evaluations(instance: dg.DagsterInstance, after: int, newest_only: bool = False) -> Iterable[EventLogRecord]:
    """The evaluations of all checks, with numbers above `after`.

    It calls the method of the base class: on SQLite, the other one would open the file of every run.
    """
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

    records_filter = EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION, after_cursor=after)
    limit = 1 if newest_only else CHECKS_AT_ONCE
    storage: Any = instance.event_log_storage
    return SqlEventLogStorage.get_event_records(storage, records_filter, limit, ascending=not newest_only)


def evaluation_of(record: EventLogRecord) -> AssetCheckEvaluation:
    """The evaluation that a record of `check_evaluations` holds."""
    event: Any = record.event_log_entry.dagster_event
    return event.event_specific_data


def newest_number(records: Iterable[EventLogRecord]) -> int:
    """The number of the newest event; -1 without one."""
    return max((record.storage_id for record in records), default=-1)


def settled(records: Iterable[EventLogRecord], now: float, seconds: float) -> Iterable[EventLogRecord]:
    """The records up to the first that is younger than `seconds`.

    A younger event waits for the next tick: one with a lower number may become visible later, and tags are set after
    it.
    """
    for record in records:
        if abs(now - record.event_log_entry.timestamp) < seconds:  # a clock that was set back must not block the cursor
            return
        yield record


def run_records(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> dict[str, RunRecord]:
    """The records of these runs by id."""
    ids = [*run_ids]
    records = instance.get_run_records(dg.RunsFilter(run_ids=ids)) if ids else []
    return {record.dagster_run.run_id: record for record in records}
