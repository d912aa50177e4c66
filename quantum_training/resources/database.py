"""The database of what must never be lost: its tables and one way to run a transaction. No meaning of a row lives here.

SQLite for one machine, Postgres for several. It loads SQLAlchemy, so others import it inside their functions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from tenacity import (
    RetryError,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from quantum_training.settings import under_dagster_home, without_password

T = TypeVar("T")
SQLITE_BUSY_SECONDS = 10
POSTGRES_CONNECT_SECONDS = 5
POSTGRES_ANSWER_MILLISECONDS = 30_000
GIVE_UP_SECONDS = 20
TABLES_LOCK = 7_104_281_963  # any number that no other program takes in this database

TABLES = sa.MetaData()


def _recorded() -> sa.Column[datetime]:
    return sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False, default=lambda: datetime.now(UTC))


def _events(name: str) -> sa.Table:
    return sa.Table(
        name,
        TABLES,
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("event_id", sa.Text, nullable=False, unique=True),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        _recorded(),
    )


ledger = sa.Table(
    "ledger",
    TABLES,
    sa.Column("symbol", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("effective", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("previous_hash", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    _recorded(),
    sa.UniqueConstraint("symbol", "key"),
)
outbox = _events("outbox")
inbox = _events("inbox")
acknowledged = sa.Table(
    "acknowledged",
    TABLES,
    sa.Column("queue", sa.Text, primary_key=True),
    sa.Column("consumer", sa.Text, primary_key=True),
    sa.Column("event_id", sa.Text, primary_key=True),
)
cursors = sa.Table(
    "cursors",
    TABLES,
    sa.Column("queue", sa.Text, primary_key=True),
    sa.Column("consumer", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
)
dead_letters = sa.Table(
    "dead_letters",
    TABLES,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("letter_id", sa.Text, nullable=False, unique=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("raw", sa.Text, nullable=False),
    _recorded(),
)


class DatabaseError(RuntimeError):
    """The database did not do it. The message names it, without its password, and says what to do."""


def transaction(url: str, work: Callable[[sa.Connection], T]) -> T:
    """`work(connection)` in one transaction: all of it or nothing. "" is the SQLite file under DAGSTER_HOME.

    Where the connection breaks or another process wrote the same key first, `work` runs again from its start, for
    about 20 s, so it must read what it depends on inside. DatabaseError in the end; what `work` raises passes through.
    """
    url = url or f"sqlite:///{under_dagster_home('quantum_training.db')}"

    def once() -> T:
        with _engine(url, os.getpid()).begin() as connection:
            return work(connection)

    try:
        return Retrying(
            retry=retry_if_exception_type((sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.IntegrityError)),
            wait=wait_random_exponential(multiplier=0.02, max=1),
            stop=stop_after_delay(GIVE_UP_SECONDS) | stop_after_attempt(50),
        )(once)
    except (RetryError, sa.exc.DBAPIError, ModuleNotFoundError) as error:
        cause = error.last_attempt.exception() if isinstance(error, RetryError) else error
        said = " ".join(str(getattr(cause, "orig", None) or cause).split())[:300]
        raise DatabaseError(
            f"{without_password(url)}: {said}. Start the database or mend database_url, then run this again: what was "
            "stored is not stored twice"
            + (" (Postgres needs the extra quantum_training[postgres])" if isinstance(error, ImportError) else "")
        ) from cause


def insert_missing(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose unique columns are not there yet."""
    if rows:
        insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[connection.dialect.name]
        connection.execute(insert(table).on_conflict_do_nothing(), list(rows))


@cache
def _engine(url: str, process: int) -> sa.Engine:
    """The pool of one process (a forked child must not share its parent's), with the tables made."""
    if url.startswith("sqlite"):
        engine = _sqlite(url)
    else:
        arguments = {"connect_timeout": POSTGRES_CONNECT_SECONDS, "tcp_user_timeout": POSTGRES_ANSWER_MILLISECONDS}
        engine = sa.create_engine(url, pool_pre_ping=True, connect_args=arguments)

        @sa.event.listens_for(engine, "begin")
        def bound(connection: sa.Connection) -> None:
            limit = sa.func.set_config("statement_timeout", str(POSTGRES_ANSWER_MILLISECONDS), True)
            connection.execute(sa.select(limit))

    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(TABLES_LOCK)))
        TABLES.create_all(connection)
    return engine


def _sqlite(url: str) -> sa.Engine:
    Path(sa.make_url(url).database or "").absolute().parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": SQLITE_BUSY_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # sqlite3 would begin late; a writer must hold its lock before it reads
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
