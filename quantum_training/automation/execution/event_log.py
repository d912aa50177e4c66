"""Dagster's event log in SQLite, with one connection per file that stays open. Set in dagster.yaml of one machine.

Dagster's own class makes an engine for each event, compiles its SQL anew, and closes the file, which copies SQLite's
write-ahead log back into it; and it makes the tables of each run's file by a migration. Tables and files are those of
Dagster's class, and an event is stored when the call returns: a killed process loses none. After a power failure the
newest events may be missing, as SQLite waits for the disk only when it copies the log back.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import sqlalchemy as sa
from cachetools import LRUCache
from dagster._core.event_api import EventHandlerFn
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.polling_event_watcher import SqlPollingEventWatcher
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

MAX_OPEN_FILES = 8
"""The index, a run and those around it, and some that pages show at the same time."""
BATCH_SIZE = "200"
"""How many events of one kind, such as the partitions that a run plans, Dagster stores at once."""


class OpenSqliteStorage(DagsterSqliteStorage):
    """Dagster's storage in SQLite files under `base_dir`, usually DAGSTER_HOME, with an event log that stays open."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", BATCH_SIZE)  # Dagster has no other setting for it
        self._event_log_storage = OpenEventLog(self._event_log_storage._base_dir)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        return cls.from_local(inst_data=inst_data, **config_value)


class OpenEventLog(SqliteEventLogStorage):
    """Dagster's event log in the files of the folder `base_dir`."""

    def __init__(self, base_dir: str) -> None:
        self._engines = _Engines(MAX_OPEN_FILES)
        self._transactions: dict[str, sa.Connection] = {}
        self._tables: set[str] = set()
        self._has_index_columns = False
        self._watcher = SqlPollingEventWatcher(self)
        super().__init__(base_dir)
        self._db_lock: Any = threading.RLock()

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event, what it changes in the index in one transaction."""
        is_indexed = event.is_dagster_event and event.dagster_event_type in ASSET_EVENTS | ASSET_CHECK_EVENTS
        with self.index_connection() if is_indexed else nullcontext():
            super().store_event(event)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events of one run, all or none."""
        with self.run_connection(events[0].run_id), self.index_connection():
            for event in events:
                super().store_event(event)

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

    def _has_asset_key_index_cols_on_connection(self, conn: sa.Connection) -> bool:
        """Has the table of assets the columns of later versions? Dagster asks for each event, too."""
        self._has_index_columns = self._has_index_columns or super()._has_asset_key_index_cols_on_connection(conn)
        return self._has_index_columns

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sa.Connection]:
        """A transaction on a file: the one that this thread is in, or one of its own."""
        with self._db_lock:
            if shard in self._transactions:
                yield self._transactions[shard]
                return
            with self._engine(shard).begin() as connection:
                self._transactions[shard] = connection
                try:
                    yield connection
                finally:
                    del self._transactions[shard]

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
        engine = sa.create_engine(self.conn_string_for_shard(shard), connect_args=timeout)
        sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=NORMAL"))
        return engine

    def _initdb(self, engine: sa.Engine, for_index_shard: bool = False) -> None:
        """Make the tables of a new file. That of a run is a copy of an empty one."""
        file = Path(str(engine.url.database))
        if for_index_shard or file.exists():
            super()._initdb(engine, for_index_shard)
            return
        copy = file.with_suffix(f".{uuid4().hex}")
        try:
            copy.write_bytes(self._empty_file)
            os.link(copy, file)
        except FileExistsError:  # another process was faster
            return
        except OSError:  # a file system without links
            super()._initdb(engine)
        finally:
            copy.unlink(missing_ok=True)

    @cached_property
    def _empty_file(self) -> bytes:
        """A run's file without events."""
        with tempfile.TemporaryDirectory() as folder:
            engine = sa.create_engine(f"sqlite:///{folder}/empty.db", poolclass=sa.NullPool)
            super()._initdb(engine)
            return Path(folder, "empty.db").read_bytes()


class _Engines(LRUCache[tuple[str, int, int], sa.Engine]):
    """Engines by name and inode of their file, and by process; the one that was used longest ago is closed."""

    def popitem(self) -> tuple[tuple[str, int, int], sa.Engine]:
        key, engine = super().popitem()
        engine.dispose()
        return key, engine
