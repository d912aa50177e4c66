"""Locks that end with their process, however it dies: on a file, and on a name among all processes of a database.

What a lock protects is the caller's business.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from sqlalchemy import Connection

POLL_SECONDS = 0.5
"""Seconds between two attempts to take a lock of the database."""

KEEPALIVE_SETTINGS = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}
"""Settings of Postgres with which it notices within a minute that the machine of a lock's holder is gone."""


@contextmanager
def file_lock(path: Path) -> Iterator[BinaryIO]:
    """The file, open for appending, for one process or thread at a time; the others wait. Created if it is missing.

    It still holds what a killed process wrote. It is removed at the end, unless the block has renamed it.
    """
    while True:
        file = path.open("ab")
        fcntl.flock(file, fcntl.LOCK_EX)
        if _is_at(file, path):
            break
        file.close()  # the holder before has renamed or removed this file
    with file:
        try:
            yield file
        finally:
            if _is_at(file, path):
                path.unlink()


@contextmanager
def exclusive_lock(url: str, name: str) -> Iterator[Callable[[], None]]:
    """A lock on a name among all processes that share the database; the others wait.

    url: settings.database_url. SQLite locks a file beside its own; a pooler before Postgres must keep transactions on
    one connection. Yields a function to call before a step that must not happen twice: if the connection was lost, it
    waits for the lock again, which another process may have held meanwhile. DatabaseError if the database is out of
    reach.
    """
    from quantum_training.resources import database

    digest = hashlib.sha256(name.encode()).digest()
    file = database.sqlite_file(url)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(file.with_name(f".{file.name}.{digest[:8].hex()}.lock")):
            yield lambda: None
        return
    from sqlalchemy.exc import DBAPIError

    number = int.from_bytes(digest[:8], "big", signed=True)
    connection = _take(url, number)

    def assert_lock_held() -> None:
        nonlocal connection
        try:
            connection.exec_driver_sql("SELECT 1")
        except DBAPIError:
            with suppress(DBAPIError):
                connection.close()
            connection = _take(url, number)

    try:
        yield assert_lock_held
    finally:
        with suppress(DBAPIError):  # the lock ended with the connection
            connection.close()


def _take(url: str, number: int) -> Connection:
    """A connection in the transaction that holds the advisory lock."""
    from sqlalchemy import text

    from quantum_training.resources import database

    def take(connection: Connection) -> bool:
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        for setting, value in KEEPALIVE_SETTINGS.items():
            connection.exec_driver_sql(f"SET LOCAL {setting} = {value}")
        return connection.execute(text("SELECT pg_try_advisory_xact_lock(:number)"), {"number": number}).scalar_one()

    while True:
        connection = database.open_transaction(url, take)
        if connection is not None:
            return connection
        time.sleep(POLL_SECONDS)


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
