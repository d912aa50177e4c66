"""The sensors of failures, on from the start: `run_failure_sensor` and `check_failure_sensor`.

They read Dagster's log from a cursor on, a query each while nothing fails. What is found goes into the book of alerts
before it is sent. Dagster's own run_failure_sensor would not do: it does not see the runs that are part of another.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.event_api import EventLogRecord, EventRecordsFilter, RunStatusChangeRecordsFilter
from dagster._core.storage.dagster_run import RunRecord

from quantum_training.automation.execution.pool_limits import limit_training
from quantum_training.automation.failures.dead_runs import fail_child_runs, fail_trainings, is_over
from quantum_training.automation.failures.findings import of_check, of_run
from quantum_training.resources.alerts.delivery import deliver
from quantum_training.resources.alerts.message import Finding, text_of
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.time_limits import short_timeouts
from quantum_training.settings.settings import Settings

RUNS_SENSOR, CHECKS_SENSOR = "run_failure_sensor", "check_failure_sensor"
EVERY_SECONDS = 30
SETTLE_SECONDS = 5.0
"""Younger events wait for the next tick: one of a lower number may become visible later, and tags are set after it."""

RUNS_AT_ONCE, CHECKS_AT_ONCE = 100, 2000
FAILED, CANCELED = dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED
BEGINS = "begins with what fails from now on"


class End(NamedTuple):
    """How a run ended: the number of the event, its time in seconds since 1970, and its message."""

    number: int
    time: float
    message: str


def build(settings: Settings) -> list[dg.SensorDefinition]:
    """Both sensors."""
    limited: list[bool] = []

    @dg.sensor(
        name=RUNS_SENSOR,
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells of runs that failed and are not tried again, ends runs that died with the process of "
        "another one, publishes that their trainings failed, and puts MAX_CONCURRENT_TRAINING_JOBS into force.",
    )
    @short_timeouts()
    def of_runs(context: dg.SensorEvaluationContext, events: dg.ResourceParam[EventBus]) -> dg.SensorResult:
        instance, now = context.instance, time.time()
        if not limited:  # once per process, so that a person may change the limit in the UI
            limit_training(instance, settings.max_concurrent_training_jobs)
            limited.append(True)
        if not context.cursor:
            newest = {
                kind.value: _newest(_run_ends(instance, kind, -1, newest_first=True)) for kind in (CANCELED, FAILED)
            }
            return _told(BEGINS, {**newest, "waiting": {}})
        cursor = json.loads(context.cursor)
        ends = {run_id: End(*end) for run_id, end in cursor["waiting"].items()}
        fresh = set()
        for kind in (CANCELED, FAILED):  # a run that took too long is cancelled, then failed
            for record in _settled(_run_ends(instance, kind, cursor[kind.value]), now):
                entry = record.event_log_entry
                message = entry.dagster_event.message or "" if entry.dagster_event else ""
                ends[entry.run_id] = End(record.storage_id, entry.timestamp, message)
                fresh.add(entry.run_id)
                cursor[kind.value] = record.storage_id
        records = _runs(instance, ends)
        nested = fail_child_runs(instance, fresh)
        over = {id_: is_over(instance, r.dagster_run, now - ends[id_].time) for id_, r in records.items()}
        cursor["waiting"] = {id_: ends[id_] for id_, verdict in over.items() if verdict is None}
        finished = [records[id_] for id_, verdict in over.items() if verdict]
        trainings = fail_trainings(instance, events, finished)
        found = [
            (ends[run.run_id].number, finding)
            for run in (record.dagster_run for record in finished)
            if run.status == dg.DagsterRunStatus.FAILURE
            for finding in of_run(instance, run, ends[run.run_id].message)
        ]
        said = tell(context, settings, found, now)
        said += f"; {len(nested)} runs ended with the one that ran them" if nested else ""
        said += f"; {len(trainings)} trainings published as failed" if trainings else ""
        return _told(said, cursor)

    @dg.sensor(
        name=CHECKS_SENSOR,
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells of asset checks that failed, whether their run failed or not.",
    )
    @short_timeouts()
    def of_checks(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        instance, now = context.instance, time.time()
        if not context.cursor:
            return _told(BEGINS, {"after": _newest(_evaluations(instance, -1, newest_first=True))})
        cursor, failed = json.loads(context.cursor), list[EventLogRecord]()
        for record in _settled(_evaluations(instance, cursor["after"]), now):
            cursor["after"] = record.storage_id
            if not _evaluation(record).passed:
                failed.append(record)
        tags = {
            run_id: record.dagster_run.tags
            for run_id, record in _runs(instance, {record.run_id for record in failed if record.run_id}).items()
        }
        said = [(r.storage_id, of_check(_evaluation(r), r.run_id, tags.get(r.run_id, {}))) for r in failed]
        levels = ("ERROR", "WARN") if settings.alerts.warnings else ("ERROR",)
        found = [(number, finding) for number, finding in said if finding and finding.severity in levels]
        return _told(tell(context, settings, found, now), cursor)

    return [of_runs, of_checks]


def tell(
    context: dg.SensorEvaluationContext, settings: Settings, found: Iterable[tuple[int, Finding]], now: float
) -> str:
    """Write findings into the book, log the new ones and send what is owed. Says in a sentence what was done.

    DatabaseError where they cannot be written down: the tick then fails and comes again. Nothing else stops it.
    """
    from quantum_training.resources.alerts import book

    events, policy = [book.Found(*one) for one in found], settings.alerts
    url, window = settings.database_url, policy.window_hours * 3600
    new = book.record(url, events, policy.channels, window, now, policy.ui_url.rstrip("/"))
    if new and policy.log:
        context.log.error(text_of(new))
    sent = deliver(policy, url, now, context.log)
    said = [f"{len(new)} new alerts"] if new else []
    said += [f"{len(events)} failures"] if events else []
    said += [f"{sent} alerts sent"] if sent else []
    return ", ".join(said) or "nothing new"


def _told(said: str, cursor: Mapping[str, Any]) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=dg.SkipReason(said), cursor=json.dumps(cursor))


def _run_ends(
    instance: dg.DagsterInstance, kind: Any, after: int, newest_first: bool = False
) -> Iterable[EventLogRecord]:
    wanted = RunStatusChangeRecordsFilter(kind, after_storage_id=after)
    limit = 1 if newest_first else RUNS_AT_ONCE
    return instance.fetch_run_status_changes(wanted, limit=limit, ascending=not newest_first).records


def _evaluations(instance: dg.DagsterInstance, after: int, newest_first: bool = False) -> Iterable[EventLogRecord]:
    """Evaluations of all checks. The method of the base class: on SQLite, the other one would open every run's file."""
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

    wanted = EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION, after_cursor=after)
    limit = 1 if newest_first else CHECKS_AT_ONCE
    storage: Any = instance.event_log_storage
    return SqlEventLogStorage.get_event_records(storage, wanted, limit, ascending=not newest_first)


def _evaluation(record: EventLogRecord) -> AssetCheckEvaluation:
    event: Any = record.event_log_entry.dagster_event
    return event.event_specific_data


def _newest(records: Iterable[EventLogRecord]) -> int:
    return max((record.storage_id for record in records), default=-1)


def _settled(records: Iterable[EventLogRecord], now: float) -> Iterable[EventLogRecord]:
    for record in records:
        if abs(now - record.event_log_entry.timestamp) < SETTLE_SECONDS:  # a clock that was set back holds nothing up
            return
        yield record


def _runs(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> dict[str, RunRecord]:
    wanted = [*run_ids]
    found = instance.get_run_records(dg.RunsFilter(run_ids=wanted)) if wanted else []
    return {record.dagster_run.run_id: record for record in found}
