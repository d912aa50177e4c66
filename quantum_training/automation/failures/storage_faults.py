"""Restart of a run whose step failed because Dagster could not write to its own storage.

Faults of the project's own database, of MLflow and of the sources are retried inside the step: assets/step_retries.py.
"""

from __future__ import annotations

import dagster as dg
from dagster._core.storage.tags import RETRY_ON_ASSET_OR_OP_FAILURE_TAG as RESTART_TAG

from quantum_training.resources.faults import is_transient_storage_fault


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
