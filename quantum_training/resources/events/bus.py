"""The event bus as a resource: events out, events in, dead letters. How a queue keeps them is said in its module.

The database is where events are kept; Redis, where it is set, is the wire to and from it. So an event and the ledger
row that it tells of are stored in one transaction, and an outage of Redis loses nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import ValidationError

from quantum_training.resources.events.payloads import IN, OUT, Event, MetricsUpdated
from quantum_training.resources.events.queue import Delivery, Queue
from quantum_training.resources.events.redis_stream import RedisError, RedisQueue

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from quantum_training.resources.events.table import DeadLetter, TableQueue

RELAY = "relay"
BATCH = 500
STREAM = "quantum_training:"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EventBus:
    """Events of all symbols. `database_url` and `url` are settings.database_url and settings.event_bus_url."""

    database_url: str = ""
    url: str = ""

    def publish(self, events: Iterable[Event]) -> None:
        """Keep the events in the outbox, each once, and pass them on where Redis is set.

        DatabaseError where they could not be kept. An outage of Redis is logged: `relay` passes them on later.
        """
        events = list(events)
        if foreign := {e.type for e in events} - set(OUT):
            raise ValueError(f"{', '.join(sorted(foreign))}: not sent by this project; allowed: {', '.join(OUT)}")
        self._table("outbox").publish(events)
        self.pass_on()

    def pass_on(self) -> None:
        """`relay` after something else, as the ledger, has filled the outbox. An outage of Redis is logged."""
        try:
            self.relay()
        except RedisError as error:
            log.warning("events stay in the outbox: %s", error)

    def relay(self) -> int:
        """Pass on what the outbox holds and Redis has not had yet; returns how many. 0 without Redis.

        Idempotent in event ids: one that dies half-way sends some again. RedisError where Redis is out of reach.
        """
        if not self.url:
            return 0
        outbox, passed = self._table("outbox"), 0
        while batch := outbox.read(RELAY, BATCH):
            self._stream("outbox").send(d.text for d in batch)
            outbox.acknowledge(RELAY, [d.id for d in batch])
            passed += len(batch)
        return passed

    def outbox(self) -> Queue:
        """The queue that readers of our events read: the Redis stream where that is set, else the table."""
        return self._stream("outbox") if self.url else self._table("outbox")

    def told(self, types: Collection[str], since: datetime) -> list[Delivery]:
        """All events of these types that went out since then, oldest first; nothing is acknowledged."""
        return self._table("outbox").since(types, since)

    def receive(self, texts: Iterable[str]) -> None:
        """Take events, as JSON, from outside into the inbox, each event id once; what is none becomes a dead letter."""
        from quantum_training.resources.database import inbox, transaction
        from quantum_training.resources.events.table import bury, put

        events, letters = _sort(Delivery("", text) for text in texts)

        def keep(connection: Connection) -> None:
            put(connection, inbox, [event for _, event in events])
            bury(connection, [letter for _, letter in letters])

        transaction(self.database_url, keep)

    def read(self, consumer: str, limit: int = 100) -> list[Event]:
        """Events that came in and that the consumer has not acknowledged, oldest first, at least once each.

        Takes in what waits in Redis first. RedisError or DatabaseError where one of the two is out of reach.
        """
        self._take_in()
        table = self._table("inbox")
        while True:
            events, letters = _sort(table.read(consumer, limit))
            table.set_aside(consumer, dict(letters))
            if events or not letters:
                return [event for _, event in events]

    def acknowledge(self, consumer: str, events: Iterable[Event]) -> None:
        """Never give the consumer these events again."""
        self._table("inbox").acknowledge(consumer, [str(e.event_id) for e in events])

    def refuse(self, consumer: str, event: Event, reason: str) -> None:
        """Make an event that the consumer can read but not follow a dead letter."""
        from quantum_training.resources.events.table import DeadLetter

        letter = DeadLetter(reason, event.model_dump_json())
        self._table("inbox").set_aside(consumer, {str(event.event_id): letter})

    def known(self, event_type: str, symbol: str) -> list[Event]:
        """All events of a type that came in for a symbol, but the pruned, in that order, acknowledged or not.

        Takes in what waits in Redis first; an outage of Redis is logged. DatabaseError where that is out of reach.
        """
        try:
            self._take_in()
        except RedisError as error:
            log.warning("events may wait in Redis: %s", error)
        events, _ = _sort(self._table("inbox").find(event_type, symbol))
        return [event for _, event in events]

    def prune(self, before: datetime, dry_run: bool = False) -> int:
        """Empty old events of outbox and inbox that all their consumers have acknowledged, and delete old dead letters;
        returns how many. With dry_run it only tells.

        Their ids stay: the same event is never sent or taken in twice. What Redis holds is bounded by its stream.
        Of what was measured of a recipe, the last of each week stays: that is what a decay report reads.
        """
        from quantum_training.resources.events.table import prune_letters

        outbox = self._table("outbox").prune(before, dry_run=dry_run)
        inbox = self._table("inbox").prune(before, self._measured(), dry_run)
        return outbox + inbox + prune_letters(self.database_url, before, dry_run)

    def _measured(self) -> set[str]:
        """The ids of the last measurement of each symbol, recipe and week; of the same instant the last to come in."""
        events, _ = _sort(self._table("inbox").find(MetricsUpdated.type, None))
        last: dict[tuple[str, str, date], tuple[datetime, str]] = {}
        for _, event in events:
            if isinstance(told := event.payload, MetricsUpdated):
                monday = told.measured_at.date() - timedelta(days=told.measured_at.weekday())
                key = (event.symbol, told.model_type, monday)
                if key not in last or told.measured_at >= last[key][0]:
                    last[key] = (told.measured_at, str(event.event_id))
        return {event_id for _, event_id in last.values()}

    def dead_letters(self) -> list[DeadLetter]:
        """What came in and could not be read, oldest first."""
        from quantum_training.resources.events.table import buried

        return buried(self.database_url)

    def _take_in(self) -> None:
        """Move what waits in Redis, where that is set, into the inbox."""
        if self.url:
            stream = self._stream("inbox")
            while batch := stream.read(RELAY, BATCH):
                self.receive(d.text for d in batch)
                stream.acknowledge(RELAY, [d.id for d in batch])

    def _table(self, name: str) -> TableQueue:
        from quantum_training.resources import database
        from quantum_training.resources.events.table import TableQueue

        return TableQueue(self.database_url, database.TABLES.tables[name])

    def _stream(self, name: str) -> RedisQueue:
        return RedisQueue(self.url, STREAM + name)


def _sort(deliveries: Iterable[Delivery]) -> tuple[list[tuple[str, Event]], list[tuple[str, DeadLetter]]]:
    """What can be read and what cannot, each with the id of its delivery."""
    from quantum_training.resources.events.table import DeadLetter

    events, letters = [], []
    for delivery in deliveries:
        try:
            event = Event.model_validate_json(delivery.text)
            if event.type not in IN:
                raise ValueError(f"{event.type} is not taken from outside; allowed: {', '.join(IN)}")
            if delivery.id not in ("", str(event.event_id)):
                raise ValueError(f"its event_id {event.event_id} is not the one it is stored under, {delivery.id}")
            events.append((delivery.id, event))
        except ValueError as error:
            problems = error.errors(include_url=False) if isinstance(error, ValidationError) else []
            said = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in problems) or str(error)
            letters.append((delivery.id, DeadLetter(said, delivery.text)))
    return events, letters
