"""From Dagster's log of a failed run or check to findings: with what, why, what to do. Who is told is alerts.py."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation

from quantum_training.automation.failures import remedies as next_steps
from quantum_training.automation.failures.interruptions import stopped_run, stopped_step
from quantum_training.automation.jobs.nested_runs import FAILED_SYMBOLS
from quantum_training.automation.run_launcher import LAUNCHED_BY, LAUNCHER_OVER
from quantum_training.checks.drift import CHECK as DRIFT_CHECK
from quantum_training.lifecycle.records import DRIFT_REPORT
from quantum_training.partitions import PARTITION_TAG, RANGE_TAGS
from quantum_training.resources.alerts.message import Finding

ENDED = "ended, because the process of run"
"""How the message of a run begins that run_ends.py ended; the run that ran it is told."""

WRAPPERS = {"DagsterExecutionStepExecutionError", "RetryRequested", "RetryRequestedFromPolicy"}
IN_PARTITION = re.compile(r"^in partition (\S+) of \S+$", re.MULTILINE)
OF_SYMBOL = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]*)\|\d{4}-\d\d-\d\d")
STARTS_WITH_TYPE = re.compile(r"^[A-Za-z_][\w.]*: ")


def of_run(instance: dg.DagsterInstance, run: dg.DagsterRun, message: str) -> Iterator[Finding]:
    """What made a run fail, whose failure event has this message; nothing where a check or another run tells it.

    Of a run that was stopped together with the run that carried it out, that one is told.
    """
    nested = LAUNCHED_BY in run.tags
    if nested and (message.startswith(ENDED) or LAUNCHER_OVER in message or stopped_run(run)):
        return
    told_by = instance.get_runs(dg.RunsFilter(tags={LAUNCHED_BY: run.run_id}, statuses=[dg.DagsterRunStatus.FAILURE]))
    types = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.ASSET_CHECK_EVALUATION}
    log = [entry.dagster_event for entry in instance.all_logs(run.run_id, of_type=types) if entry.dagster_event]
    ended = [event for event in log if event.is_step_failure]
    failures = [event for event in ended if not stopped_step(event)]
    if nested and ended and not failures:
        return
    refused = {event.step_key for event in log if not event.is_step_failure and _blocks(event.event_specific_data)}
    for event in failures:
        by_symbol = _by_symbol(event)
        if by_symbol:
            told = {symbol_of(other.tags) for other in told_by}
            for symbol, reason in by_symbol.items():
                if symbol not in told:
                    yield _finding(run, str(event.step_key), symbol, "", _text(reason))
        elif event.step_key not in refused and not told_by:
            error = _user_error(event.step_failure_data.error)
            kind, text = (error.cls_name or "", _text(error.message)) if error else ("", message)
            at = IN_PARTITION.search(error.message) if error else None
            whose = str(at[1]).partition("|")[0] if at else symbol_of(run.tags)
            yield _finding(run, str(event.step_key), whose, kind, text, at[1] if at else None)
    if not failures:
        said = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
        crashes = [e.dagster_event.message or "" for e in said if e.dagster_event]
        crash = next((text for text in reversed(crashes) if "Run execution process" in text), message)
        yield _finding(run, f"job {run.job_name}", symbol_of(run.tags), "", crash)


def of_check(evaluation: AssetCheckEvaluation, run_id: str, tags: Mapping[str, str]) -> Finding | None:
    """What a failed check found; None for the columns of a drift report, which are in the check on the whole."""
    asset, name = evaluation.asset_key.to_user_string(), evaluation.check_name
    if evaluation.passed or (asset == DRIFT_REPORT and name != DRIFT_CHECK):
        return None
    described = OF_SYMBOL.search(evaluation.description or "")
    partition = evaluation.partition or partition_of(tags) or (described[0] if described else "")
    symbol = OF_SYMBOL.match(evaluation.partition or "") or described  # a run's range may reach over several
    cause, step = next_steps.of_check(name, evaluation.description or f"check {name} failed")
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
    """The one symbol that a run is for; None where it is for several, or for none."""
    named = {tags[tag].partition("|")[0] for tag in (PARTITION_TAG, *RANGE_TAGS) if tag in tags}
    named |= {tags["symbol"]} if "symbol" in tags else set()
    return named.pop() if len(named) == 1 else None


def partition_of(tags: Mapping[str, str]) -> str:
    """The partition or range of a run in words; empty where it has none."""
    first, last = (tags.get(tag, "") for tag in RANGE_TAGS)
    return tags.get(PARTITION_TAG, "") or (f"{first}...{last}" if first else "")


def _finding(
    run: dg.DagsterRun, place: str, symbol: str | None, kind: str, message: str, partition: str | None = None
) -> Finding:
    cause, step = next_steps.of_error(kind, message)
    return Finding(
        kind="run_failure",
        severity="ERROR",
        symbol=symbol,
        place=f"{place} {partition or partition_of(run.tags)}",
        cause=f"{kind}: {cause}" if kind and kind != "Failure" else cause,
        next_step=step,
        run_id=run.run_id,
    )


def _text(message: str) -> str:
    """An error's message without its type and without the note of its partition."""
    return STARTS_WITH_TYPE.sub("", IN_PARTITION.sub("", message).strip())


def _user_error(error: Any) -> Any:
    while error is not None and error.cls_name in WRAPPERS and error.cause is not None:
        error = error.cause
    return error


def _by_symbol(event: dg.DagsterEvent) -> Mapping[str, str]:
    told = event.step_failure_data.user_failure_data
    failed = told.metadata.get(FAILED_SYMBOLS) if told else None
    return failed.value if isinstance(failed, dg.JsonMetadataValue) and isinstance(failed.value, dict) else {}


def _blocks(evaluation: Any) -> bool:
    return not evaluation.passed and bool(evaluation.blocking) and evaluation.severity == dg.AssetCheckSeverity.ERROR
