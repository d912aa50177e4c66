"""One connection to Postgres for a run, where Dagster's storage connects for each event.

Postgres starts a process for each connection. With 260 of them a symbol's week took 1.4 times the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

RECYCLE_SECONDS = 60
"""Age from which on a connection is not used again: a firewall may have dropped it during a fit, without a word."""


@contextmanager
def persistent_connection(instance: dg.DagsterInstance) -> Iterator[None]:
    """Have runs and events that are stored in one Postgres go through one connection meanwhile; threads may open more.

    Before each use it is tested, and replaced if Postgres has closed it, as after a restart. SQLite stays as it is, and
    so does the connection of a surrounding run.
    """
    storages: list[Any] = [s for s in (instance.run_storage, instance.event_log_storage) if _connects_each_time(s)]
    if len({storage.postgres_url for storage in storages}) != 1:
        yield
        return
    from dagster_postgres.utils import create_pg_engine

    engine = create_pg_engine(
        storages[0].postgres_url,
        storages[0]._token_provider,
        isolation_level="AUTOCOMMIT",
        pool_size=1,
        max_overflow=-1,
        pool_pre_ping=True,
        pool_recycle=RECYCLE_SECONDS,
    )
    own = [storage._engine for storage in storages]
    for storage in storages:
        storage._engine = engine
    try:
        yield
    finally:
        for storage, before in zip(storages, own, strict=True):
            storage._engine = before
        engine.dispose()


def _connects_each_time(storage: Any) -> bool:
    if type(storage).__module__.partition(".")[0] != "dagster_postgres":
        return False
    from sqlalchemy.pool import NullPool

    return isinstance(storage._engine.pool, NullPool)
