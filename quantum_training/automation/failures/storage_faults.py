"""A run whose step failed because Dagster could not write to its own storage is started again, as one that died is.

The project's own database, MLflow and the sources are asked again inside the step: assets/retries.py.
"""

from __future__ import annotations

import dagster as dg
from dagster._core.storage.tags import RETRY_ON_ASSET_OR_OP_FAILURE_TAG as RESTART_TAG

from quantum_training.resources.faults import is_permanent

OF_STORAGE = frozenset(
    {
        "dagster_postgres.utils.DagsterPostgresException",
        "sqlalchemy.exc.OperationalError",
        "sqlalchemy.exc.InterfaceError",
    }
)
"""By name, so that none of these packages is loaded to ask. What our own database fails with is a DatabaseError."""


@dg.failure_hook(name="restart_after_storage_fault")
def restart_after_storage_fault(context: dg.HookContext) -> None:
    """Have Dagster restart the run from the failed step, within its TRAINING_RETRY_ATTEMPTS.

    After another failure it must not: a run that is started again has the tags of the one before.
    """
    error = context.op_exception
    names = {f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__}
    again = bool(OF_STORAGE & names) and not (error and is_permanent(error))
    if again:
        context.log.warning(f"Dagster's storage did not take an event: {error}; the run is started again")
    run, wanted = context.instance.get_run_by_id(context.run_id), str(again).lower()
    if run and run.tags.get(RESTART_TAG) != wanted:
        context.instance.add_run_tags(context.run_id, {RESTART_TAG: wanted})
