"""A run whose step failed because Dagster could not write to its own storage is started again, as one that died is.

The project's own database, MLflow and the sources are asked again inside the step: assets/retries.py.
"""

from __future__ import annotations

import dagster as dg

RESTART_TAG = "dagster/retry_on_asset_or_op_failure"
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
    """Have Dagster restart the run from the failed step, within its TRAINING_RETRY_ATTEMPTS."""
    error = context.op_exception
    names = {f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__}
    if OF_STORAGE & names:
        context.log.warning(f"Dagster's storage did not take an event: {error}; the run is started again")
        context.instance.add_run_tags(context.run_id, {RESTART_TAG: "true"})
