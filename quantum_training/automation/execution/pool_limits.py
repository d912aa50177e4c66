"""Sets the limit of Dagster's pool `training`, which Dagster keeps in its database, to MAX_CONCURRENT_TRAINING_JOBS."""

from __future__ import annotations

import dagster as dg

TRAINING_POOL = "training"


def limit_training(instance: dg.DagsterInstance, max_runs: int) -> bool:
    """Let so many training runs go on at a time. Returns whether that changed the limit.

    A Dagster storage without pool limits is left alone.
    """
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return False
    limits = {pool.name: pool.limit for pool in storage.get_pool_limits() if not pool.from_default}
    if limits.get(TRAINING_POOL) == max_runs:
        return False
    storage.set_concurrency_slots(TRAINING_POOL, max_runs)
    return True
