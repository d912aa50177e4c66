"""Dagster's stored runs: deletes runs, shortens their logs, removes files without a run, measures bytes.

It uses Dagster's own calls where they exist, else its tables: run_events.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.run_events import delete_details, delete_events, event_characters, event_storage
from quantum_training.resources.cleanup.stale_files import folder_bytes


class RunStorage:
    """The runs of a Dagster instance with their events and logs. A shard is the SQLite file of one run's events."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        """NotImplementedError if Dagster keeps its events neither in SQLite nor in Postgres."""
        self.instance, self.events = instance, event_storage(instance)

    def log_bytes(self, run_id: str, whole_log: bool) -> int:
        """Bytes of a run's compute logs on this machine, and of its events, or of those that `shorten` removes."""
        base = getattr(self.instance.compute_log_manager, "_base_dir", None)
        logs = folder_bytes(Path(base, run_id)) if base else 0
        return logs + event_characters(self.events, run_id, whole_log)

    def remove(self, run_id: str) -> None:
        """Remove a run and all that belongs to it. The run itself goes last, so that it is found again after a kill."""
        import sqlalchemy as sa
        from dagster._core.storage.runs.schema import RunTagsTable

        self.instance.compute_log_manager.delete_logs(prefix=[run_id])
        delete_events(self.events, run_id)
        runs: Any = self.instance.run_storage
        with runs.connect() as connection:  # SQLite does not follow the foreign key
            connection.execute(sa.delete(RunTagsTable).where(RunTagsTable.c.run_id == run_id))
        runs.delete_run(run_id)
        self._remove_shard(run_id)

    def shorten(self, run_id: str) -> None:
        """Remove the log of a run except its events of assets, checks, status and failures."""
        import sqlalchemy as sa

        self.instance.compute_log_manager.delete_logs(prefix=[run_id])
        delete_details(self.events, run_id)
        if shard := self._shard(run_id):
            engine = sa.create_engine(f"sqlite:///{shard}", isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
            with engine.connect() as connection:
                connection.exec_driver_sql("VACUUM")  # safe: nobody writes to the file of a finished run

    def remove_orphaned_files(self, before: pd.Timestamp) -> None:
        """Remove SQLite files from before that time whose runs are deleted, by a killed housekeeping or a person."""
        if self._shard("") is None:
            return
        for run_id in self.events.get_all_run_ids():
            shard = self._shard(run_id)
            if shard and shard.stat().st_mtime < before.timestamp() and not self.instance.has_run(run_id):
                self._remove_shard(run_id)

    def _shard(self, run_id: str) -> Path | None:
        """The SQLite file that holds a run's events; None on Postgres."""
        path = getattr(self.events, "path_for_shard", None)
        return Path(path(run_id)) if path else None

    def _remove_shard(self, run_id: str) -> None:
        if shard := self._shard(run_id):
            for file in (shard, *(shard.with_name(f"{shard.name}-{part}") for part in ("wal", "shm"))):
                file.unlink(missing_ok=True)
            self.events._initialized_dbs.discard(run_id)


def storage_bytes(instance: dg.DagsterInstance) -> int:
    """Bytes of Dagster's files on this machine, and of the Postgres database that holds its events."""
    import sqlalchemy as sa
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

    root, storage = Path(instance.root_directory), instance.event_log_storage
    size = sum(folder_bytes(root / folder) for folder in ("history", "schedules", "storage"))
    if isinstance(storage, SqlEventLogStorage):
        with storage.index_connection() as connection:
            if connection.dialect.name == "postgresql":
                query = sa.text("SELECT pg_database_size(current_database())")
                size += int(connection.execute(query).scalar() or 0)
    return size
