"""The sensors of failures, on from the start: `run_failure_sensor` and `check_failure_sensor`.

Each reads the event log from its cursor on. Alerts are stored before they are sent.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import dagster as dg
from dagster._core.event_api import EventLogRecord

from quantum_training.automation.execution.pool_limits import limit_training
from quantum_training.automation.failures.dead_runs import fail_child_runs, fail_trainings, is_over
from quantum_training.automation.failures.event_log import (
    check_evaluations,
    evaluation_of,
    newest_number,
    run_ends,
    run_records,
    settled,
)
from quantum_training.automation.failures.findings import check_finding, run_findings
from quantum_training.automation.run_launcher import is_nested
from quantum_training.resources.alerts.delivery import deliver
from quantum_training.resources.alerts.message import Finding, text_of
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.time_limits import short_timeouts
from quantum_training.settings import Settings

RUNS_SENSOR, CHECKS_SENSOR = "run_failure_sensor", "check_failure_sensor"
EVERY_SECONDS = 30
SETTLE_SECONDS = 5.0
FAILED, CANCELED = dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED
FIRST_TICK = "begins with what fails from now on"


class RunEnd(NamedTuple):
    """How a run ended: the number of the event, its time in seconds since 1970, and its message."""

    number: int
    time: float
    message: str


def build_failure_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Both sensors."""
    return [_run_failure_sensor(settings), _check_failure_sensor(settings)]


def _run_failure_sensor(settings: Settings) -> dg.SensorDefinition:
    limits_set: list[bool] = []

    @dg.sensor(
        name=RUNS_SENSOR,
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Alerts about runs that failed and are not tried again, fails the runs nested in a run whose "
        "process died, publishes that their trainings failed, and applies MAX_CONCURRENT_TRAINING_JOBS.",
    )
    @short_timeouts()
    def run_failures(context: dg.SensorEvaluationContext, events: dg.ResourceParam[EventBus]) -> dg.SensorResult:
        if not limits_set:  # once per process, so that a person may change the limit in the UI
            limit_training(context.instance, settings.max_concurrent_training_jobs)
            limits_set.append(True)
        if context.cursor:
            return _alert_about_runs(context, settings, events)
        newest = {
            kind: newest_number(run_ends(context.instance, kind, -1, newest_only=True)) for kind in (CANCELED, FAILED)
        }
        return _result(FIRST_TICK, {**{kind.value: number for kind, number in newest.items()}, "waiting": {}})

    return run_failures


def _alert_about_runs(context: dg.SensorEvaluationContext, settings: Settings, events: EventBus) -> dg.SensorResult:
    instance, now, cursor = context.instance, time.time(), json.loads(str(context.cursor))
    ends = {run_id: RunEnd(*end) for run_id, end in cursor["waiting"].items()}
    new_ends = _read_run_ends(instance, cursor, now)
    ends |= new_ends
    records = run_records(instance, ends)
    child_runs = fail_child_runs(instance, new_ends)
    over = {run_id: is_over(instance, r.dagster_run, now - ends[run_id].time) for run_id, r in records.items()}
    cursor["waiting"] = {run_id: ends[run_id] for run_id, verdict in over.items() if verdict is None}
    ended = [records[run_id] for run_id, verdict in over.items() if verdict]
    given_up = [r for run_id, r in records.items() if over[run_id] is False and is_nested(r.dagster_run)]
    trainings = fail_trainings(instance, events, [*ended, *given_up])
    findings = [
        (ends[run.run_id].number, finding)
        for run in (record.dagster_run for record in ended)
        if run.status == dg.DagsterRunStatus.FAILURE
        for finding in run_findings(instance, run, ends[run.run_id].message)
    ]
    summary = raise_alerts(context, settings, findings, now)
    summary += f"; {len(child_runs)} runs ended with the one that ran them" if child_runs else ""
    summary += f"; {len(trainings)} trainings published as failed" if trainings else ""
    return _result(summary, cursor)


def _read_run_ends(instance: dg.DagsterInstance, cursor: dict[str, Any], now: float) -> dict[str, RunEnd]:
    """How runs ended since the cursor, by run id, and move the cursor behind them."""
    ends = {}
    for kind in (CANCELED, FAILED):  # a run that took too long is cancelled, then failed
        for record in settled(run_ends(instance, kind, cursor[kind.value]), now, SETTLE_SECONDS):
            entry = record.event_log_entry
            message = entry.dagster_event.message or "" if entry.dagster_event else ""
            ends[entry.run_id] = RunEnd(record.storage_id, entry.timestamp, message)
            cursor[kind.value] = record.storage_id
    return ends


def _check_failure_sensor(settings: Settings) -> dg.SensorDefinition:
    severities = ("ERROR", "WARN") if settings.alerts.warnings else ("ERROR",)

    @dg.sensor(
        name=CHECKS_SENSOR,
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Alerts about asset checks that failed, whether their run failed or not.",
    )
    @short_timeouts()
    def check_failures(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        instance, now = context.instance, time.time()
        if not context.cursor:
            return _result(FIRST_TICK, {"after": newest_number(check_evaluations(instance, -1, newest_only=True))})
        cursor, failed = json.loads(context.cursor), []
        for record in settled(check_evaluations(instance, cursor["after"]), now, SETTLE_SECONDS):
            cursor["after"] = record.storage_id
            if not evaluation_of(record).passed:
                failed.append(record)
        runs = run_records(instance, {record.run_id for record in failed if record.run_id})
        tags = {run_id: record.dagster_run.tags for run_id, record in runs.items()}
        findings = [
            (record.storage_id, finding)
            for record in newest_partitions(failed)
            if (finding := check_finding(evaluation_of(record), record.run_id, tags.get(record.run_id, {})))
            and finding.severity in severities
        ]
        return _result(raise_alerts(context, settings, findings, now), cursor)

    return check_failures


def newest_partitions(failed: Iterable[EventLogRecord]) -> list[EventLogRecord]:
    """Of the partitions of a symbol that failed a check in one run, the newest: a range run may have hundreds."""
    newest: dict[tuple[Any, ...], EventLogRecord] = {}
    for record in failed:
        evaluation = evaluation_of(record)
        symbol = (evaluation.partition or "").partition("|")[0]
        of_run = (record.run_id or record.storage_id, evaluation.asset_check_key, symbol)
        if of_run not in newest or (evaluation.partition or "") >= (evaluation_of(newest[of_run]).partition or ""):
            newest[of_run] = record
    return sorted(newest.values(), key=lambda record: record.storage_id)


def raise_alerts(
    context: dg.SensorEvaluationContext, settings: Settings, findings: Iterable[tuple[int, Finding]], now: float
) -> str:
    """Record findings, log the new ones and send the alerts that are due. Returns a summary.

    findings: each with the number of its event. DatabaseError if they cannot be recorded: the tick then fails and is
    repeated. Nothing else stops it.
    """
    from quantum_training.resources.alerts import alert_store

    events, policy = [alert_store.NumberedFinding(*numbered) for numbered in findings], settings.alerts
    url, window = settings.database_url, policy.window_hours * 3600
    new_alerts = alert_store.record(url, events, policy.channels, window, now, policy.ui_url.rstrip("/"))
    if new_alerts and policy.log:
        context.log.error(text_of(new_alerts))
    sent = deliver(policy, url, now, context.log)
    summary = [f"{len(new_alerts)} new alerts"] if new_alerts else []
    summary += [f"{len(events)} failures"] if events else []
    summary += [f"{sent} alerts sent"] if sent else []
    return ", ".join(summary) or "nothing new"


def _result(summary: str, cursor: Mapping[str, Any]) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=dg.SkipReason(summary), cursor=json.dumps(cursor))
