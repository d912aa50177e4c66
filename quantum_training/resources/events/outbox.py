"""Events that leave: stored in the database first, then relayed to Redis if that is set. Queues: table_queue.py.

An event and the ledger row that it reports are stored in one transaction, and an outage of Redis loses nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from quantum_training.resources.events.payloads import OUT, Event
from quantum_training.resources.events.queue import Delivery, Queue
from quantum_training.resources.events.redis_stream import BATCH, OUTBOX_STREAM, RELAY, RedisError, RedisQueue

if TYPE_CHECKING:
    from quantum_training.resources.events.table_queue import TableQueue

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EventOutbox:
    """The outgoing events of all symbols. The fields are those of EventBus."""

    database_url: str = ""
    url: str = ""

    def publish(self, events: Iterable[Event]) -> None:
        """Store the events, each event id once, and relay them to Redis if that is set.

        DatabaseError if they could not be stored. An outage of Redis is logged: a later `relay` sends them.
        """
        events = list(events)
        if foreign := {e.type for e in events} - set(OUT):
            raise ValueError(f"{', '.join(sorted(foreign))}: not sent by this project; allowed: {', '.join(OUT)}")
        self._table.publish(events)
        self.relay_quietly()

    def relay_quietly(self) -> None:
        """`relay` after something else, as the ledger, has stored events. An outage of Redis is logged, not raised."""
        try:
            self.relay()
        except RedisError as error:
            log.warning("events stay in the outbox: %s", error)

    def relay(self) -> int:
        """Send new events to Redis. Returns their number, 0 without Redis.

        Safe to run again: readers drop repeated event ids. RedisError if Redis is out of reach.
        """
        if not self.url:
            return 0
        relayed = 0
        while batch := self._table.read(RELAY, BATCH):
            RedisQueue(self.url, OUTBOX_STREAM).send(d.text for d in batch)
            self._table.acknowledge(RELAY, [d.id for d in batch])
            relayed += len(batch)
        return relayed

    def queue(self) -> Queue:
        """The queue that readers of our events read: the Redis stream if that is set, else the table."""
        return RedisQueue(self.url, OUTBOX_STREAM) if self.url else self._table

    def events_since(self, types: Collection[str], since: datetime) -> list[Delivery]:
        """All events of these types stored since then, oldest first. Nothing is acknowledged."""
        return self._table.since(types, since)

    def pending(self) -> int:
        """The number of events that wait to be relayed to Redis."""
        return self._table.unread(RELAY)

    def newest(self, limit: int, types: Collection[str] = (), symbols: Collection[str] = ()) -> list[Delivery]:
        """The newest events, newest first. types, symbols: only these. Nothing is acknowledged."""
        return self._table.newest(limit, types, symbols)

    def prune(self, before: datetime, dry_run: bool = False) -> int:
        """Empty old events that every consumer has acknowledged; returns the number of events. See TableQueue.prune."""
        return self._table.prune(before, dry_run=dry_run)

    @property
    def _table(self) -> TableQueue:
        from quantum_training.resources.database import outbox
        from quantum_training.resources.events.table_queue import TableQueue

        return TableQueue(self.database_url, outbox)
