"""The database of what must never be lost: its tables and one way to run a transaction. No meaning of a row lives here.

SQLite for one machine, Postgres for several. It loads SQLAlchemy, so others import it inside their functions.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception,
    stop_after_delay,
    wait_random_exponential,
)

from quantum_training.resources.faults import is_outage_of_database, remedy
from quantum_training.resources.time_limits import patience
from quantum_training.settings.paths import under_dagster_home, without_password

T = TypeVar("T")
SQLITE_BUSY_SECONDS = 10
POSTGRES_CONNECT_SECONDS = 5
POSTGRES_ANSWER_MILLISECONDS = 30_000
GIVE_UP_SECONDS = 180
"""Longer than a server takes to start again elsewhere, far shorter than a run may take. All work may run again."""

QUERY_CANCELED = "57014"
"""Postgres: the statement took longer than POSTGRES_ANSWER_MILLISECONDS, or a person ended it."""

MOST_CONFLICTS = 50
FIRST_TOLD = 8
"""Failed try after which the log says that a database is waited for: earlier ones are over in a moment."""

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
alerts = sa.Table(
    "alerts",
    TABLES,
    sa.Column("alert_id", sa.Text, primary_key=True),
    sa.Column("identity", sa.Text, nullable=False, index=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("before", sa.Integer, nullable=False),
    sa.Column("newest_event", sa.BigInteger, nullable=False),
    sa.Column("first_seen", sa.Float, nullable=False),  # seconds since 1970
    sa.Column("last_seen", sa.Float, nullable=False),
    sa.Column("owed", sa.Text, nullable=False),  # names of channels, with spaces between
    sa.Column("claimed_until", sa.Float, nullable=False),
)


log = logging.getLogger(__name__)


class DatabaseError(RuntimeError):
    """The database did not do it. The message names it, without its password, and says what to do."""


def transaction(url: str, work: Callable[[sa.Connection], T]) -> T:
    """`work(connection)` in one transaction: all of it or nothing. "" is the SQLite file under DAGSTER_HOME.

    Where the server is away, the connection breaks or another process wrote the same key first, `work` runs again from
    its start, for up to GIVE_UP_SECONDS, so it must read what it depends on inside. DatabaseError in the end, at once
    where waiting does not help; what `work` raises passes through.
    """

    def once() -> T:
        with _engine(_resolved(url), os.getpid()).begin() as connection:
            return work(connection)

    return _persistently(url, once)


def held_transaction(url: str, ask: Callable[[sa.Connection], bool]) -> sa.Connection | None:
    """A connection whose transaction goes on, where `ask(connection)` says yes in it; close it to end that. Else None.

    Tried again as `transaction` is. DatabaseError in the end.
    """

    def once() -> sa.Connection | None:
        connection = _engine(_resolved(url), os.getpid()).connect()
        try:
            if ask(connection):
                return connection
        except BaseException:
            connection.close()
            raise
        connection.close()
        return None

    return _persistently(url, once)


def sqlite_file(url: str) -> Path | None:
    """The SQLite file that the database is, or None."""
    url = _resolved(url)
    return Path(sa.make_url(url).database or "").absolute() if url.startswith("sqlite") else None


def _resolved(url: str) -> str:
    return url or f"sqlite:///{under_dagster_home('quantum_training.db')}"


def _persistently(url: str, once: Callable[[], T]) -> T:
    seconds = patience(GIVE_UP_SECONDS)
    conflicts: list[BaseException] = []

    def passing(error: BaseException) -> bool:
        if isinstance(error, sa.exc.IntegrityError):
            conflicts.append(error)
            return len(conflicts) < MOST_CONFLICTS
        return is_outage_of_database(error)

    def say(state: RetryCallState) -> None:
        if state.attempt_number == FIRST_TOLD and state.outcome:
            error = state.outcome.exception()
            place = without_password(_resolved(url))
            log.warning("%s: %s; asked again for up to %g s", place, _said(error), seconds)

    try:
        return Retrying(
            retry=retry_if_exception(passing),
            wait=wait_random_exponential(multiplier=0.02, max=1),
            stop=stop_after_delay(seconds),
            before_sleep=say,
        )(once)
    except (RetryError, sa.exc.DBAPIError, OSError, ModuleNotFoundError) as error:
        cause = error.last_attempt.exception() if isinstance(error, RetryError) else error
        todo = _todo(cause)
        raise DatabaseError(
            f"{without_password(_resolved(url))}: {_said(cause)}. {todo}, then run this again: what was stored is not "
            "stored twice"
            + (" (Postgres needs the extra quantum_training[postgres])" if isinstance(error, ImportError) else "")
        ) from cause


def _todo(error: BaseException | None) -> str:
    if isinstance(error, sa.exc.IntegrityError):
        return "See which other processes write these rows, or what else the row breaks"
    if getattr(getattr(error, "orig", None), "pgcode", None) == QUERY_CANCELED:
        return "See what else keeps the database busy or holds the rows"
    return remedy(error) or "Start the database or mend database_url"


def _said(error: BaseException | None) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())[:300]


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
