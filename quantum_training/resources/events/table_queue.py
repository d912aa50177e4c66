"""A queue of events in a table of the database, its searches and pruning, and the dead letters.

The tables are in resources/database.py. It loads SQLAlchemy: import it in functions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from quantum_training.resources.database import (
    acknowledged,
    cursors,
    dead_letters,
    insert_missing,
    reading,
    transaction,
)
from quantum_training.resources.events.payloads import Event
from quantum_training.resources.events.queue import Delivery
from quantum_training.resources.texts import bounded

RAW_LIMIT = 100_000
PRUNED = ""
"""Body of an event that was pruned."""
LOCK_NOT_AVAILABLE = "55P03"
BATCH_SIZE = 500
"""Ids in one statement."""
LOCK = {
    "outbox": sa.text("LOCK TABLE outbox IN SHARE MODE NOWAIT"),
    "inbox": sa.text("LOCK TABLE inbox IN SHARE MODE NOWAIT"),
}


class DeadLetter(NamedTuple):
    """A text that arrived and could not be read or followed, with the reason."""

    reason: str
    raw: str


class TableQueue:
    """Events by table `outbox` or `inbox`. An event id is kept once, so publishing again changes nothing.

    A consumer acknowledges event by event. Its cursor is the number up to which it has acknowledged every event; only
    later events are searched.
    """

    def __init__(self, url: str, table: sa.Table) -> None:
        self.url, self.table = url, table

    def publish(self, events: Iterable[Event]) -> None:
        events = list(events)
        transaction(self.url, lambda connection: insert(connection, self.table, events))

    def read(self, consumer: str, limit: int) -> list[Delivery]:
        def work(connection: sa.Connection) -> list[Delivery]:
            rows = connection.execute(self._unread(connection, consumer).limit(limit))
            return [_delivery(row) for row in rows]

        return reading(self.url, work)

    def unread(self, consumer: str) -> int:
        """The number of events that the consumer has not acknowledged."""

        def work(connection: sa.Connection) -> int:
            rows = self._unread(connection, consumer).order_by(None).subquery()
            return connection.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one()

        return reading(self.url, work)

    def acknowledge(self, consumer: str, ids: Iterable[str]) -> None:
        ids = list(ids)
        transaction(self.url, lambda connection: self._mark_done(connection, consumer, ids))

    def find(self, event_type: str, symbol: str | None) -> list[Delivery]:
        """All events of a type and symbol (None: all symbols) except the pruned, oldest first. Acknowledges nothing."""
        query = sa.select(self.table).where(self.table.c.type == event_type, self.table.c.body != PRUNED)
        if symbol is not None:
            query = query.where(self.table.c.symbol == symbol)

        def work(connection: sa.Connection) -> list[Delivery]:
            rows = connection.execute(query.order_by(self.table.c.number))
            return [_delivery(row) for row in rows]

        return reading(self.url, work)

    def since(self, types: Collection[str], time: datetime) -> list[Delivery]:
        """All events of these types since a time except the pruned, oldest first. Acknowledges nothing."""
        recent = self.table.c.recorded_at >= time.astimezone(UTC)
        query = sa.select(self.table).where(self.table.c.type.in_([*types]), recent, self.table.c.body != PRUNED)

        def work(connection: sa.Connection) -> list[Delivery]:
            rows = connection.execute(query.order_by(self.table.c.number))
            return [_delivery(row) for row in rows]

        return reading(self.url, work)

    def newest(self, limit: int, types: Collection[str] = (), symbols: Collection[str] = ()) -> list[Delivery]:
        """The newest events except the pruned, newest first. types, symbols: only these. Acknowledges nothing."""
        query = sa.select(self.table).where(self.table.c.body != PRUNED)
        if types:
            query = query.where(self.table.c.type.in_([*types]))
        if symbols:
            query = query.where(self.table.c.symbol.in_([*symbols]))
        query = query.order_by(self.table.c.number.desc()).limit(limit)
        return reading(self.url, lambda connection: [_delivery(row) for row in connection.execute(query)])

    def move_to_dead_letters(self, consumer: str, letters: Mapping[str, DeadLetter]) -> None:
        """Store dead letters, each under the id of its event, and acknowledge those events."""

        def work(connection: sa.Connection) -> None:
            self._mark_done(connection, consumer, letters)
            add_dead_letters(connection, letters.values())

        if letters:
            transaction(self.url, work)

    def prune(self, before: datetime, protected: Collection[str] = (), dry_run: bool = False) -> int:
        """Empty the events recorded before a time that every consumer has acknowledged. Returns their number.

        protected: ids of events that stay. dry_run: only count.

        Ids stay, so an event that is published again, for example by the re-run of an old week, is recognised. A
        consumer counts from its first acknowledgement on; without any consumer nothing is pruned. A later consumer does
        not get pruned events. ValueError if `before` has no time zone.
        """
        if before.tzinfo is None:
            raise ValueError(f"prune before {before}: the time has no time zone; give it one, as UTC")
        of_this = cursors.c.queue == self.table.name
        passed = sa.select(sa.func.min(cursors.c.number)).where(of_this).scalar_subquery()
        old = self.table.c.recorded_at < before.astimezone(UTC)  # SQLite stores no zone: its times are UTC
        query = sa.select(self.table.c.event_id).where(self.table.c.number <= passed, old, self.table.c.body != PRUNED)

        def work(connection: sa.Connection) -> int:
            ids = [id_ for id_ in connection.execute(query).scalars() if id_ not in protected]
            for first in range(0, 0 if dry_run else len(ids), BATCH_SIZE):
                these = self.table.c.event_id.in_(ids[first : first + BATCH_SIZE])
                connection.execute(self.table.update().where(these).values(body=PRUNED))
            return len(ids)

        return transaction(self.url, work)

    def _mark_done(self, connection: sa.Connection, consumer: str, ids: Iterable[str]) -> None:
        rows = [{"queue": self.table.name, "consumer": consumer, "event_id": id_} for id_ in ids]
        insert_missing(connection, acknowledged, rows)
        if self._lock_out_writers(connection):
            self._move_cursor(connection, consumer)

    def _lock_out_writers(self, connection: sa.Connection) -> bool:
        """Lock out writers until this transaction ends; False if one is active.

        On Postgres the rows of a writer may become visible after rows with higher numbers, and a cursor must not pass
        them.
        """
        if connection.dialect.name == "postgresql":
            try:
                with connection.begin_nested():
                    connection.execute(LOCK[self.table.name])
            except sa.exc.OperationalError as error:
                if getattr(error.orig, "pgcode", None) != LOCK_NOT_AVAILABLE:
                    raise
                return False
        return True

    def _move_cursor(self, connection: sa.Connection, consumer: str) -> None:
        first = connection.execute(self._unread(connection, consumer).limit(1)).one_or_none()
        last = connection.execute(sa.select(sa.func.max(self.table.c.number))).scalar_one() or 0
        number = first.number - 1 if first else last
        insert_missing(connection, cursors, [{"queue": self.table.name, "consumer": consumer, "number": 0}])
        behind = cursors.c.number < number
        connection.execute(cursors.update().where(*self._of(cursors, consumer), behind).values(number=number))
        passed = sa.exists().where(self.table.c.event_id == acknowledged.c.event_id, self.table.c.number <= number)
        connection.execute(acknowledged.delete().where(*self._of(acknowledged, consumer), passed))

    def _unread(self, connection: sa.Connection, consumer: str) -> sa.Select:
        query = sa.select(cursors.c.number).where(*self._of(cursors, consumer))
        number = connection.execute(query).scalar_one_or_none()
        done = sa.exists().where(*self._of(acknowledged, consumer), acknowledged.c.event_id == self.table.c.event_id)
        is_unread = self.table.c.number > (number or 0), self.table.c.body != PRUNED, ~done
        return sa.select(self.table).where(*is_unread).order_by(self.table.c.number)

    def _of(self, table: sa.Table, consumer: str) -> tuple[sa.ColumnElement[bool], ...]:
        return table.c.queue == self.table.name, table.c.consumer == consumer


def _delivery(row: Any) -> Delivery:
    recorded_at = row.recorded_at
    return Delivery(row.event_id, row.body, recorded_at if recorded_at.tzinfo else recorded_at.replace(tzinfo=UTC))


def insert(connection: sa.Connection, table: sa.Table, events: Iterable[Event]) -> None:
    """Insert events into a table in the caller's transaction; events already there stay unchanged."""
    rows = [
        {"event_id": str(e.event_id), "type": e.type, "symbol": e.symbol, "body": e.model_dump_json()} for e in events
    ]
    insert_missing(connection, table, rows)


def add_dead_letters(connection: sa.Connection, letters: Iterable[DeadLetter]) -> None:
    """Store dead letters, each raw text once and cut to 100,000 bytes."""
    rows = [
        {
            "letter_id": hashlib.sha256(letter.raw.encode(errors="backslashreplace")).hexdigest(),
            "reason": bounded(letter.reason, RAW_LIMIT),
            "raw": bounded(letter.raw, RAW_LIMIT),
        }
        for letter in letters
    ]
    insert_missing(connection, dead_letters, rows)


def dead_letters_of(url: str) -> list[DeadLetter]:
    """All dead letters, oldest first."""
    query = sa.select(dead_letters.c.reason, dead_letters.c.raw).order_by(dead_letters.c.number)
    return reading(url, lambda connection: [DeadLetter(*row) for row in connection.execute(query)])


def dead_letter_count(url: str) -> int:
    """The number of dead letters."""
    query = sa.select(sa.func.count()).select_from(dead_letters)
    return reading(url, lambda connection: connection.execute(query).scalar_one())


def prune_letters(url: str, before: datetime, dry_run: bool) -> int:
    """Delete the dead letters recorded before a time. Returns their number. dry_run: only count."""
    old = dead_letters.c.recorded_at < before.astimezone(UTC)

    def work(connection: sa.Connection) -> int:
        if dry_run:
            return connection.execute(sa.select(sa.func.count()).select_from(dead_letters).where(old)).scalar_one()
        return connection.execute(dead_letters.delete().where(old)).rowcount

    return transaction(url, work)
