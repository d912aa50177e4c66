"""How much room each place takes, where this machine can tell."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
from fsspec.implementations.local import LocalFileSystem

from quantum_training.resources.cleanup.stale_files import file_bytes, folder_bytes
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store


def sizes(store: Store, registry: ModelRegistry, instance: dg.DagsterInstance) -> dict[str, int]:
    """Bytes of the store, of a local MLflow and of Dagster's runs, logs and ticks, each where it can be told."""
    filesystem, base = store.place()
    if isinstance(filesystem, LocalFileSystem):
        found = {"store": folder_bytes(Path(base))}
    else:
        found = {"store": int(filesystem.du(base)) if filesystem.exists(base) else 0}
    if file := registry.sqlite_file:
        found["mlflow_database"] = sum(file_bytes(one) for one in file.parent.glob(f"{file.name}*"))
    if artifacts := registry.artifacts_folder():
        found["mlflow_artifacts"] = folder_bytes(artifacts)
    if instance.is_persistent:
        folders = ("history", "schedules", "storage")
        found["dagster"] = sum(folder_bytes(Path(instance.root_directory) / folder) for folder in folders)
        found["dagster"] += _postgres_bytes(instance)
    return found


def _postgres_bytes(instance: dg.DagsterInstance) -> int:
    """Bytes of the Postgres database that holds the events; 0 where they are in SQLite's files."""
    import sqlalchemy as sa
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return 0
    with storage.index_connection() as connection:
        if connection.dialect.name != "postgresql":
            return 0
        return int(connection.execute(sa.text("SELECT pg_database_size(current_database())")).scalar() or 0)
