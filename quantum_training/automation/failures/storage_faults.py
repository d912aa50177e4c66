"""Restart of a run whose step failed because Dagster could not write to its own storage.

Faults of the project's own database, of MLflow and of the sources are retried inside the step: assets/step_retries.py.
"""

from __future__ import annotations

import dagster as dg
from dagster._core.storage.tags import RETRY_ON_ASSET_OR_OP_FAILURE_TAG as RESTART_TAG

from quantum_training.resources.faults import is_transient_storage_fault


class RunStorageFault(RuntimeError):  # noqa: N818 - like a timeout: the run did nothing wrong
    """A nested run failed because Dagster could not write to its storage; faults.py knows it by its name."""


def raise_storage_fault(error: Exception) -> None:
    """Raise the error again if Dagster's storage failed: the run is then started again, and nothing else can go on."""
    if is_transient_storage_fault(error):
        raise error


def is_marked_for_restart(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Did a run fail because Dagster could not write to its storage?"""
    run = instance.get_run_by_id(run_id)
    return run is not None and run.tags.get(RESTART_TAG) == "true"


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
