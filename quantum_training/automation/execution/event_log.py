"""Dagster's event log in SQLite, with one connection per file that stays open. Set in dagster.yaml of one machine.

Dagster's own class makes an engine for each event, compiles its SQL anew, and closes the file, which copies SQLite's
write-ahead log back into it. Tables, files and what is committed when are those of Dagster's class.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from cachetools import LRUCache
from dagster._core.event_api import EventHandlerFn
from dagster._core.storage.event_log.polling_event_watcher import SqlPollingEventWatcher
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

MAX_OPEN_FILES = 8
"""The index, a run and those around it, and some that pages show at the same time."""


class OpenSqliteStorage(DagsterSqliteStorage):
    """Dagster's storage in SQLite files under `base_dir`, usually DAGSTER_HOME, with an event log that stays open."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = OpenEventLog(self._event_log_storage._base_dir)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        return cls.from_local(inst_data=inst_data, **config_value)


class OpenEventLog(SqliteEventLogStorage):
    """Dagster's event log in the files of the folder `base_dir`."""

    def __init__(self, base_dir: str) -> None:
        self._engines = _Engines(MAX_OPEN_FILES)
        self._tables: set[str] = set()
        self._watcher = SqlPollingEventWatcher(self)
        super().__init__(base_dir)

    def watch(self, run_id: str, cursor: str | None, callback: EventHandlerFn) -> None:
        """Call back for the events of a run, as the page of a run does. A file that stays open does not change by each
        event, for which Dagster's own class waits."""
        self._watcher.watch_run(run_id, cursor, callback)

    def end_watch(self, run_id: str, handler: EventHandlerFn) -> None:
        self._watcher.unwatch_run(run_id, handler)

    def dispose(self) -> None:
        """Close all files."""
        self._watcher.close()
        with self._db_lock:
            while self._engines:
                self._engines.popitem()

    def has_table(self, table_name: str) -> bool:
        """Has the index this table? Dagster asks for each event; a table that exists is never dropped."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sa.Connection]:
        with self._db_lock, self._engine(shard).begin() as connection:
            yield connection

    def _engine(self, shard: str) -> sa.Engine:
        """The engine of a file, which is created if it is missing. A file that was replaced is opened anew."""
        file = Path(self.path_for_shard(shard))
        if shard not in self._initialized_dbs or not file.exists():
            engine = self._new_engine(shard)
            self._initdb(engine)
            engine.dispose()
            self._initialized_dbs.add(shard)
        key = shard, file.stat().st_ino, os.getpid()
        if key not in self._engines:
            self._engines[key] = self._new_engine(shard)
        return self._engines[key]

    def _new_engine(self, shard: str) -> sa.Engine:
        timeout = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
        return sa.create_engine(self.conn_string_for_shard(shard), connect_args=timeout)


class _Engines(LRUCache[tuple[str, int, int], sa.Engine]):
    """Engines by name and inode of their file, and by process; the one that was used longest ago is closed."""

    def popitem(self) -> tuple[tuple[str, int, int], sa.Engine]:
        key, engine = super().popitem()
        engine.dispose()
        return key, engine
