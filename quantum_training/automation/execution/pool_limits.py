"""MAX_CONCURRENT_TRAINING_JOBS put into force: the limit of Dagster's pool `training`, which lies in its database."""

from __future__ import annotations

import dagster as dg

TRAINING_POOL = "training"


def limit_training(instance: dg.DagsterInstance, most: int) -> bool:
    """Let so many training runs go on at a time; returns whether that is new. With another Dagster storage: nothing."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return False
    set_to = {pool.name: pool.limit for pool in storage.get_pool_limits() if not pool.from_default}
    if set_to.get(TRAINING_POOL) == most:
        return False
    storage.set_concurrency_slots(TRAINING_POOL, most)
    return True
