"""Restart of a run whose step failed because Dagster could not write to its own storage.

Faults of the project's own database, of MLflow and of the sources are retried inside the step: assets/step_retries.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
from dagster._core.execution.execute_in_process_result import ExecuteInProcessResult
from dagster._core.storage.tags import RETRY_ON_ASSET_OR_OP_FAILURE_TAG as RESTART_TAG
from dagster_shared.error import SerializableErrorInfo

from quantum_training.assets.step_retries import is_restartable
from quantum_training.resources.faults import is_fault_of_storage, is_transient_storage_fault


class RunStorageFault(RuntimeError):  # noqa: N818 - like a timeout: the run did nothing wrong
    """A nested run failed because Dagster could not write to its storage; faults.py knows it by its name."""


def raise_storage_fault(context: dg.OpExecutionContext, error: Exception) -> None:
    """Raise the error again if Dagster's storage failed and Dagster starts such a run again; other runs go on."""
    if is_transient_storage_fault(error) and is_restartable(context.instance, context.run):
        raise error


def mark_storage_fault(instance: dg.DagsterInstance, result: ExecuteInProcessResult) -> bool:
    """Mark a run in this process for a restart if it failed because Dagster could not write to its storage. Did it?

    The hook below has done so, unless the failure of the step could not be written, either.
    """
    run = instance.get_run_by_id(result.run_id)
    if run is not None and run.tags.get(RESTART_TAG) == "true":
        return True
    errors = [e.job_failure_data.error for e in result.all_events if e.event_type == dg.DagsterEventType.RUN_FAILURE]
    is_fault = any(is_fault_of_storage(cause.cls_name or "", cause.message) for e in errors for cause in _causes(e))
    if is_fault and run is not None:
        instance.add_run_tags(run.run_id, {RESTART_TAG: "true"})
    return is_fault


def _causes(error: SerializableErrorInfo | None) -> Iterator[SerializableErrorInfo]:
    while error is not None:
        yield error
        error = error.cause


@dg.failure_hook(name="restart_after_storage_fault")
def restart_after_storage_fault(context: dg.HookContext) -> None:
    """Let Dagster restart the run from the failed step, at most TRAINING_RETRY_ATTEMPTS times.

    The tag is also set to false after any other failure, because a restarted run inherits the tags of the one before.
    """
    error = context.op_exception
    restart = is_transient_storage_fault(error)
    if restart:
        context.log.warning(f"Dagster's storage could not write an event: {error}; the run is started again")
    run, tag = context.instance.get_run_by_id(context.run_id), str(restart).lower()
    if run and run.tags.get(RESTART_TAG) != tag:
        context.instance.add_run_tags(context.run_id, {RESTART_TAG: tag})
