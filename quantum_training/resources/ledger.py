"""The ledger in the database: one chain of rows per symbol. Rows and their hashes: selection/hash_chain.py."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quantum_training.resources.events.payloads import Event
from quantum_training.selection.hash_chain import GENESIS, Entry, LedgerError, Row, canonical, chain, verify

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection


class LedgerConflict(LedgerError):  # noqa: N818 - an expected outcome: decide again
    """The head of the chain is not the one that the writer has read. Nothing was written."""


@dataclass(frozen=True)
class Ledger:
    """The append-only record of what took effect, by symbol.

    url: settings.database_url. read_only: a SQLite file that is missing has no rows, and is not created.
    """

    url: str = ""
    read_only: bool = False

    def append(
        self, entries: Iterable[Entry], events: Iterable[Event] = (), expected_head: str | None = None
    ) -> list[Row]:
        """Chain the entries and put the events into the outbox, in one transaction. Returns the row of each entry.

        An entry whose key is already in its chain is not written again, even if it differs: its stored row is
        returned. expected_head: a result of `head`; then the entries must be of one symbol, and LedgerConflict is
        raised if something new would follow another head. DatabaseError if the database is out of reach; running it
        again is safe.
        """
        from quantum_training.resources import database
        from quantum_training.resources.events.table_queue import insert

        entries, events = list(entries), list(events)
        if expected_head is not None and len({entry.symbol for entry in entries}) > 1:
            raise ValueError("expected_head is the head of one chain, but the entries are of several symbols")

        def work(connection: Connection) -> list[Row]:
            rows, expected = [], expected_head
            for entry in entries:
                row = _find(connection, database.ledger.c.symbol == entry.symbol, database.ledger.c.key == entry.key)
                if row is None:
                    row = _write(connection, entry, expected)
                    expected = None  # from here on the head is our own
                rows.append(row)
            insert(connection, database.outbox, events)
            return rows

        return database.transaction(self.url, work)

    def rows(self, symbol: str, kinds: Collection[str] | None = None) -> list[Row]:
        """The rows of a symbol, oldest first. kinds: only rows of these kinds."""
        from quantum_training.resources import database

        if self._is_missing():
            return []
        table = database.ledger
        query = table.select().where(table.c.symbol == symbol).order_by(table.c.number)
        if kinds is not None:
            query = query.where(table.c.kind.in_(list(kinds)))
        records = database.reading(self.url, lambda connection: connection.execute(query).mappings().all())
        return [_row(record) for record in records]

    def head(self, symbol: str) -> str:
        """Hash of the newest row of a symbol; 64 zeros if it has none."""
        from quantum_training.resources import database

        if self._is_missing():
            return GENESIS
        newest = database.reading(self.url, lambda connection: _find(connection, database.ledger.c.symbol == symbol))
        return newest.hash if newest else GENESIS

    def verify(self, symbol: str, head: str | None = None) -> None:
        """Check the whole chain of a symbol, as selection.ledger.verify does. LedgerError names the first wrong row."""
        verify(self.rows(symbol), head)

    def _is_missing(self) -> bool:
        from quantum_training.resources import database

        file = database.sqlite_file(self.url)
        return self.read_only and file is not None and not file.exists()


def _write(connection: Connection, entry: Entry, expected_head: str | None) -> Row:
    from quantum_training.resources.database import ledger

    newest = _find(connection, ledger.c.symbol == entry.symbol)
    head = newest.hash if newest else GENESIS
    if expected_head is not None and head != expected_head:
        raise LedgerConflict(
            f"{entry.symbol}: the head is {head}, not {expected_head}: {entry.key} was decided on an older state. "
            "Nothing was written; read the rows and decide again"
        )
    row = chain(newest, entry)
    connection.execute(ledger.insert().values({**row.model_dump(mode="json"), "payload": canonical(row.payload)}))
    return row


def _find(connection: Connection, *conditions: ColumnElement[bool]) -> Row | None:
    """The newest row that meets the conditions, or None."""
    from quantum_training.resources.database import ledger

    query = ledger.select().where(*conditions).order_by(ledger.c.number.desc()).limit(1)
    record = connection.execute(query).mappings().one_or_none()
    return _row(record) if record else None


def _row(record: Any) -> Row:
    try:
        fields = {name: record[name] for name in Row.model_fields}
        return Row.model_validate({**fields, "payload": json.loads(record["payload"])})
    except ValueError as error:
        raise LedgerError(f"{record['symbol']}: row {record['number']} was changed: it is no row: {error}") from error
