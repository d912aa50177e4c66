"""Locks that end with the process that holds them, however it dies: of a file, and of a name among all processes that
share a database. What is done under a lock lives with its caller.
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

ASK_SECONDS = 0.5
"""How often a process that waits asks the database again."""

NOTICED_DEAD = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}
"""How Postgres notices within a minute that a machine which held a lock is gone, in its own settings."""


@contextmanager
def own(path: Path) -> Iterator[BinaryIO]:
    """The file, open for appending, for one process or thread at a time; the others wait. Made where it is missing.

    What a process that was killed left in it is still there. Gone at the end, unless the block has renamed it.
    """
    while True:
        file = path.open("ab")
        fcntl.flock(file, fcntl.LOCK_EX)
        if _is_at(file, path):
            break
        file.close()  # the one before has renamed or removed what was opened
    with file:
        try:
            yield file
        finally:
            if _is_at(file, path):
                path.unlink()


@contextmanager
def alone(url: str, name: str) -> Iterator[Callable[[], None]]:
    """Of all processes that share the database, one at a time goes on here by this name; the others wait for it.

    Gives a function to call before what must not be done twice: where the connection was lost in between, it waits
    for the lock again, and another may have held it meanwhile. `url` is settings.database_url; SQLite locks a file
    beside its own, Postgres needs no pooler or one that keeps transactions whole. DatabaseError where it is out of
    reach.
    """
    from quantum_training.resources import database

    digest = hashlib.sha256(name.encode()).digest()
    file = database.sqlite_file(url)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with own(file.with_name(f".{file.name}.{digest[:8].hex()}.lock")):
            yield lambda: None
        return
    from sqlalchemy.exc import DBAPIError

    number = int.from_bytes(digest[:8], "big", signed=True)
    connection = _take(url, number)

    def still() -> None:
        nonlocal connection
        try:
            connection.exec_driver_sql("SELECT 1")
        except DBAPIError:
            with suppress(DBAPIError):
                connection.close()
            connection = _take(url, number)

    try:
        yield still
    finally:
        with suppress(DBAPIError):  # the lock went with the connection
            connection.close()


def _take(url: str, number: int) -> Connection:
    """A connection in the transaction that holds the advisory lock."""
    from sqlalchemy import text

    from quantum_training.resources import database

    def take(connection: Connection) -> bool:
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        for setting, value in NOTICED_DEAD.items():
            connection.exec_driver_sql(f"SET LOCAL {setting} = {value}")
        return connection.execute(text("SELECT pg_try_advisory_xact_lock(:number)"), {"number": number}).scalar_one()

    while True:
        connection = database.open_transaction(url, take)
        if connection is not None:
            return connection
        time.sleep(ASK_SECONDS)


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
