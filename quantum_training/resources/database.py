"""The database for ledger, events and alerts: its tables, and transactions that outlast a short outage.

SQLite for one machine, Postgres for several. The meaning of the rows is defined elsewhere. This module loads
SQLAlchemy, so others import it inside their functions.
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
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from quantum_training.resources.faults import is_outage_of_database, remedy
from quantum_training.resources.older_tables import create_views
from quantum_training.resources.time_limits import wait_limit
from quantum_training.settings.paths import under_dagster_home, without_password

T = TypeVar("T")
SQLITE_BUSY_SECONDS = 10
POSTGRES_CONNECT_SECONDS = 5
POSTGRES_ANSWER_MILLISECONDS = 30_000
GIVE_UP_SECONDS = 180
"""Longer than a server takes to restart elsewhere, far shorter than a run may take."""

QUERY_CANCELED = "57014"
"""Postgres code of a statement that took longer than POSTGRES_ANSWER_MILLISECONDS, or that a person cancelled."""
MAX_CONFLICTS = 50
LOGGED_ATTEMPT = 8
"""The failed attempt that is logged: most waits end earlier, after a moment."""
READS = "quantum_training_reads"
"""Execution option of a connection that writes nothing."""
TABLES_LOCK = 7_104_281_963  # any number that no other program uses in this database
log = logging.getLogger(__name__)
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


class DatabaseError(RuntimeError):
    """The database failed. The message names it, without its password, and says what to do."""


def transaction(url: str, work: Callable[[sa.Connection], T]) -> T:
    """The result of `work(connection)`, run in one transaction. url: "" is the SQLite file under DAGSTER_HOME.

    If the server is away, the connection breaks or another process wrote the same key first, `work` runs again from
    its start, for up to GIVE_UP_SECONDS; so it must read inside the transaction whatever it depends on. DatabaseError
    after that, and at once if waiting does not help. Errors that `work` raises pass through.
    """

    def run() -> T:
        with _engine_of(_resolved(url)).begin() as connection:
            return work(connection)

    return _repeat_through_outages(url, run)


def reading(url: str, work: Callable[[sa.Connection], T]) -> T:
    """As `transaction`, for work that only reads. On SQLite it waits for no writer, and no writer for it."""

    def run() -> T:
        engine = _engine_of(_resolved(url)).execution_options(**{READS: True})
        with engine.begin() as connection:
            return work(connection)

    return _repeat_through_outages(url, run)


def open_transaction(url: str, accept: Callable[[sa.Connection], bool]) -> sa.Connection | None:
    """A connection in an open transaction if `accept(connection)` is true in it, else None. Close it to end that.

    Attempts are repeated as by `transaction`; DatabaseError after the last one.
    """

    def run() -> sa.Connection | None:
        connection = _engine_of(_resolved(url)).connect()
        accepted = False
        try:
            accepted = accept(connection)
        finally:
            if not accepted:
                connection.close()
        return connection if accepted else None

    return _repeat_through_outages(url, run)


def sqlite_file(url: str) -> Path | None:
    """The path of the SQLite file, None for a database server."""
    url = _resolved(url)
    return Path(sa.make_url(url).database or "").absolute() if url.startswith("sqlite") else None


def _resolved(url: str) -> str:
    return url or f"sqlite:///{under_dagster_home('quantum_training.db')}"


def _repeat_through_outages(url: str, run: Callable[[], T]) -> T:
    """The result of `run()`, called again after an outage or a conflict. DatabaseError after the last attempt."""
    place, seconds = without_password(_resolved(url)), wait_limit(GIVE_UP_SECONDS)
    conflicts: list[BaseException] = []

    def may_succeed_later(error: BaseException) -> bool:
        if isinstance(error, sa.exc.IntegrityError):
            conflicts.append(error)
            return len(conflicts) < MAX_CONFLICTS
        return is_outage_of_database(error)

    def log_wait(state: RetryCallState) -> None:
        if state.attempt_number == LOGGED_ATTEMPT and state.outcome:
            log.warning("%s: %s; asked again for up to %g s", place, _message(state.outcome.exception()), seconds)

    try:
        return Retrying(
            retry=retry_if_exception(may_succeed_later),
            wait=wait_random_exponential(multiplier=0.02, max=1),
            stop=stop_after_delay(seconds),
            before_sleep=log_wait,
            reraise=True,
        )(run)
    except (sa.exc.DBAPIError, OSError, ModuleNotFoundError) as error:
        advice = f"{_advice(error)}, then run this again: what was stored is not stored twice"
        raise DatabaseError(f"{place}: {_message(error)}. {advice}") from error


def _advice(error: BaseException) -> str:
    if isinstance(error, sa.exc.IntegrityError):
        return "See which other processes write these rows, or what else the row breaks"
    if getattr(getattr(error, "orig", None), "pgcode", None) == QUERY_CANCELED:
        return "See what else keeps the database busy or holds the rows"
    if isinstance(error, ImportError):
        return "Install the extra quantum_training[postgres]"
    return remedy(error) or "Start the database or mend database_url"


def _message(error: BaseException | None) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())[:300]


def insert_missing(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose unique columns are not in the table yet."""
    if rows:
        insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[connection.dialect.name]
        connection.execute(insert(table).on_conflict_do_nothing(), list(rows))


def _engine_of(url: str) -> sa.Engine:
    """The connection pool of this process. A SQLite file that was replaced, as by a backup, is opened anew."""
    file = sqlite_file(url)
    if file is None:
        return _engine(url, os.getpid())
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        file.touch()
    return _engine(url, os.getpid(), file.stat().st_ino)


@cache
def _engine(url: str, process: int, inode: int | None = None) -> sa.Engine:
    """The connection pool of one process, with the tables created. A forked child must not share its parent's pool."""
    if url.startswith("sqlite"):
        engine = _sqlite(url)
    else:
        limits = {"connect_timeout": POSTGRES_CONNECT_SECONDS, "tcp_user_timeout": POSTGRES_ANSWER_MILLISECONDS}
        engine = sa.create_engine(url, pool_pre_ping=True, connect_args=limits)

        @sa.event.listens_for(engine, "begin")
        def limit_statement_time(connection: sa.Connection) -> None:
            setting = sa.func.set_config("statement_timeout", str(POSTGRES_ANSWER_MILLISECONDS), True)
            connection.execute(sa.select(setting))

    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(TABLES_LOCK)))
        TABLES.create_all(connection)
        create_views(connection)
    return engine


def _sqlite(url: str) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": SQLITE_BUSY_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # sqlite3 would begin late; a writer must hold its lock before it reads
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get(READS) else "BEGIN IMMEDIATE")

    return engine
