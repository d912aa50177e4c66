"""From a failed run or asset check in Dagster's log to findings: symbol, place, cause and next step.

The words of the next step are remedies.py. Sending alerts is sensors.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation

from quantum_training.assets.failed_months import FAILED_SYMBOLS
from quantum_training.automation.failures import remedies
from quantum_training.automation.failures.interruptions import stopped_run, stopped_step
from quantum_training.automation.failures.storage_faults import RESTART_TAG
from quantum_training.automation.run_launcher import LAUNCHER_OVER, is_nested
from quantum_training.checks.drift import CHECK as DRIFT_CHECK
from quantum_training.lifecycle.records import DRIFT_REPORT
from quantum_training.partitions import PARTITION_TAG, RANGE_TAGS
from quantum_training.resources.alerts.message import Finding
from quantum_training.resources.run_origin import LAUNCHED_BY

PARENT_ENDED = "ended, because the process of run"
"""How the message of a nested run begins that dead_runs.py failed. The surrounding run has the finding."""

WRAPPERS = {"DagsterExecutionStepExecutionError", "RetryRequested", "RetryRequestedFromPolicy"}
PARTITION_NOTE = re.compile(r"^in partition (\S+) of \S+$", re.MULTILINE)
PARTITION_KEY = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]*)\|\d{4}-\d\d-\d\d")
ERROR_TYPE = re.compile(r"^[A-Za-z_][\w.]*: ")


def run_findings(instance: dg.DagsterInstance, run: dg.DagsterRun, message: str) -> Iterator[Finding]:
    """Why a run failed. message: of its failure event.

    Empty if a failed check, a nested run or the surrounding run has the finding.
    """
    nested = is_nested(run)
    if nested and (message.startswith(PARENT_ENDED) or LAUNCHER_OVER in message or stopped_run(run)):
        return
    types = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.ASSET_CHECK_EVALUATION}
    events = [entry.dagster_event for entry in instance.all_logs(run.run_id, of_type=types) if entry.dagster_event]
    step_failures = [event for event in events if event.is_step_failure]
    failures = [event for event in step_failures if not stopped_step(event)]
    if nested and step_failures and not failures:
        return
    if not failures:
        yield _finding(run, f"job {run.job_name}", symbol_of(run.tags), "", _crash_message(instance, run) or message)
        return
    steps_of_checks = {
        event.step_key for event in events if not event.is_step_failure and _is_error(event.event_specific_data)
    }
    failed = dg.RunsFilter(tags={LAUNCHED_BY: run.run_id}, statuses=[dg.DagsterRunStatus.FAILURE])
    failed_children = [child for child in instance.get_runs(failed) if is_nested(child)]
    ended_early = run.tags.get(RESTART_TAG) == "true"  # symbols after the one that met the fault have not begun
    for event in failures:
        if reasons := _failed_symbols(event):
            yield from _symbol_findings(run, event, reasons, {symbol_of(child.tags) for child in failed_children})
        elif event.step_key not in steps_of_checks and (ended_early or not failed_children):
            yield _step_finding(run, event, message)


def _symbol_findings(
    run: dg.DagsterRun, event: dg.DagsterEvent, reasons: Mapping[str, str], covered: set[str | None]
) -> Iterator[Finding]:
    """One finding per symbol that failed in a step, unless a failed nested run of that symbol has it."""
    for symbol, reason in reasons.items():
        if symbol not in covered:
            yield _finding(run, str(event.step_key), symbol, "", _text(reason))


def _step_finding(run: dg.DagsterRun, event: dg.DagsterEvent, message: str) -> Finding:
    """The finding of a failed step: its user error, else the message of the run."""
    error = _user_error(event.step_failure_data.error)
    if error is None:
        return _finding(run, str(event.step_key), symbol_of(run.tags), "", message)
    note = PARTITION_NOTE.search(error.message)
    symbol = str(note[1]).partition("|")[0] if note else symbol_of(run.tags)
    partition = note[1] if note else None
    return _finding(run, str(event.step_key), symbol, error.cls_name or "", _text(error.message), partition)


def check_finding(evaluation: AssetCheckEvaluation, run_id: str, tags: Mapping[str, str]) -> Finding | None:
    """What a failed check found. None for a single column of a drift report: the check on the whole report has it."""
    asset, name = evaluation.asset_key.to_user_string(), evaluation.check_name
    if evaluation.passed or (asset == DRIFT_REPORT and name != DRIFT_CHECK):
        return None
    described = PARTITION_KEY.search(evaluation.description or "")
    partition = evaluation.partition or partition_of(tags) or (described[0] if described else "")
    symbol = PARTITION_KEY.match(evaluation.partition or "") or described  # a run's range may cover several symbols
    cause, step = remedies.of_check(name, evaluation.description or f"check {name} failed")
    return Finding(
        kind="check_failure",
        severity="WARN" if evaluation.severity == dg.AssetCheckSeverity.WARN else "ERROR",
        symbol=symbol[1] if symbol else symbol_of(tags),
        place=f"check {name} of {asset} {partition}",
        cause=cause,
        next_step=step,
        run_id=run_id,
    )


def symbol_of(tags: Mapping[str, str]) -> str | None:
    """The symbol of a run; None if it has several or none."""
    symbols = {tags[tag].partition("|")[0] for tag in (PARTITION_TAG, *RANGE_TAGS) if tag in tags}
    symbols |= {tags["symbol"]} if "symbol" in tags else set()
    return symbols.pop() if len(symbols) == 1 else None


def partition_of(tags: Mapping[str, str]) -> str:
    """The partition of a run, or its range as `first...last`; empty if it has none."""
    first, last = (tags.get(tag, "") for tag in RANGE_TAGS)
    return tags.get(PARTITION_TAG, "") or (f"{first}...{last}" if first else "")


def _finding(
    run: dg.DagsterRun, place: str, symbol: str | None, kind: str, message: str, partition: str | None = None
) -> Finding:
    cause, step = remedies.of_error(kind, message)
    return Finding(
        kind="run_failure",
        severity="ERROR",
        symbol=symbol,
        place=f"{place} {partition or partition_of(run.tags)}",
        cause=f"{kind}: {cause}" if kind and kind != "Failure" else cause,
        next_step=step,
        run_id=run.run_id,
    )


def _crash_message(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str | None:
    """The newest engine event that tells how the run's process ended."""
    entries = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    messages = [entry.dagster_event.message or "" for entry in entries if entry.dagster_event]
    return next((text for text in reversed(messages) if "Run execution process" in text), None)


def _text(message: str) -> str:
    """An error's message without its type and without the note of its partition."""
    return ERROR_TYPE.sub("", PARTITION_NOTE.sub("", message).strip())


def _user_error(error: Any) -> Any:
    """The error of the user's code, without Dagster's wrappers."""
    while error is not None and error.cls_name in WRAPPERS and error.cause is not None:
        error = error.cause
    return error


def _failed_symbols(event: dg.DagsterEvent) -> Mapping[str, str]:
    """The reason by symbol that a step over several symbols failed with; empty for other steps."""
    failure = event.step_failure_data.user_failure_data
    reasons = failure.metadata.get(FAILED_SYMBOLS) if failure else None
    return reasons.value if isinstance(reasons, dg.JsonMetadataValue) and isinstance(reasons.value, dict) else {}


def _is_error(evaluation: Any) -> bool:
    return not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR
