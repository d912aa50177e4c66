"""Events that arrive: taken from Redis if that is set, validated, stored. What is unreadable becomes a dead letter.

How a queue stores them: table_queue.py. What follows from an event is decided by its consumer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import ValidationError

from quantum_training.resources.events.older_messages import read_older_message
from quantum_training.resources.events.payloads import IN, Event, MetricsUpdated
from quantum_training.resources.events.queue import Delivery
from quantum_training.resources.events.redis_stream import BATCH, INBOX_STREAM, RELAY, RedisError, RedisQueue

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from quantum_training.resources.events.table_queue import DeadLetter, TableQueue

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EventInbox:
    """The incoming events of all symbols. The fields are those of EventBus."""

    database_url: str = ""
    url: str = ""

    def receive(self, texts: Iterable[str]) -> None:
        """Store events that arrive as JSON, each event id once. A text that is no event becomes a dead letter."""
        now = datetime.now(UTC)
        self._store(Delivery("", text, now) for text in texts)

    def read(self, consumer: str, limit: int = 100) -> list[Event]:
        """Events that the consumer has not acknowledged, oldest first; each is returned at least once.

        What waits in Redis is received first. RedisError or DatabaseError if one of the two is out of reach.
        """
        self._receive_from_redis()
        while True:
            events, letters = _parse(self._table.read(consumer, limit))
            self._table.move_to_dead_letters(consumer, dict(letters))
            if events or not letters:
                return [event for _, event in events]

    def acknowledge(self, consumer: str, events: Iterable[Event]) -> None:
        """Never return these events to the consumer again."""
        self._table.acknowledge(consumer, [str(e.event_id) for e in events])

    def refuse(self, consumer: str, event: Event, reason: str) -> None:
        """Make an event that the consumer can read but not follow a dead letter."""
        from quantum_training.resources.events.table_queue import DeadLetter

        letter = DeadLetter(reason, event.model_dump_json())
        self._table.move_to_dead_letters(consumer, {str(event.event_id): letter})

    def find(self, event_type: str, symbol: str) -> list[Event]:
        """All events of a type and symbol in the order of arrival, acknowledged or not, except the pruned.

        What waits in Redis is received first; an outage of Redis is logged. DatabaseError if that is out of reach.
        """
        try:
            self._receive_from_redis()
        except RedisError as error:
            log.warning("events may wait in Redis: %s", error)
        events, _ = _parse(self._table.find(event_type, symbol))
        return [event for _, event in events]

    def dead_letters(self) -> list[DeadLetter]:
        """What arrived and could not be read, oldest first."""
        from quantum_training.resources.events.table_queue import dead_letters_of

        return dead_letters_of(self.database_url)

    def dead_letter_count(self) -> int:
        """The number of what arrived and could not be read."""
        from quantum_training.resources.events.table_queue import dead_letter_count

        return dead_letter_count(self.database_url)

    def prune(self, before: datetime, dry_run: bool = False) -> int:
        """Empty old events that every consumer has acknowledged, and delete old dead letters; returns how many.

        The last measurement of each symbol, recipe and week stays: a decay report reads it.
        """
        from quantum_training.resources.events.table_queue import prune_letters

        events = self._table.prune(before, self._last_measurements(), dry_run)
        return events + prune_letters(self.database_url, before, dry_run)

    def _last_measurements(self) -> set[str]:
        """Event ids of the last measurement of each symbol, recipe and week; of one instant, the last to arrive."""
        events, _ = _parse(self._table.find(MetricsUpdated.type, None))
        last: dict[tuple[str, str, date], tuple[datetime, str]] = {}
        for _, event in events:
            if isinstance(payload := event.payload, MetricsUpdated):
                monday = payload.measured_at.date() - timedelta(days=payload.measured_at.weekday())
                key = (event.symbol, payload.model_type, monday)
                if key not in last or payload.measured_at >= last[key][0]:
                    last[key] = (payload.measured_at, str(event.event_id))
        return {event_id for _, event_id in last.values()}

    def _receive_from_redis(self) -> None:
        """Move what waits in Redis, if that is set, into the table."""
        if self.url:
            stream = RedisQueue(self.url, INBOX_STREAM)
            while batch := stream.read(RELAY, BATCH):
                self._store(delivery._replace(id="") for delivery in batch)
                stream.acknowledge(RELAY, [delivery.id for delivery in batch])

    def _store(self, deliveries: Iterable[Delivery]) -> None:
        from quantum_training.resources.database import inbox, transaction
        from quantum_training.resources.events.table_queue import add_dead_letters, insert

        events, letters = _parse(deliveries)

        def work(connection: Connection) -> None:
            insert(connection, inbox, [event for _, event in events])
            add_dead_letters(connection, [letter for _, letter in letters])

        transaction(self.database_url, work)

    @property
    def _table(self) -> TableQueue:
        from quantum_training.resources.database import inbox
        from quantum_training.resources.events.table_queue import TableQueue

        return TableQueue(self.database_url, inbox)


def _parse(deliveries: Iterable[Delivery]) -> tuple[list[tuple[str, Event]], list[tuple[str, DeadLetter]]]:
    """The readable events and the dead letters, each with the id of its delivery."""
    from quantum_training.resources.events.table_queue import DeadLetter

    events, letters = [], []
    for delivery in deliveries:
        try:
            events.append((delivery.id, _incoming_event(delivery)))
        except ValueError as error:
            letters.append((delivery.id, DeadLetter(str(error), delivery.text)))
    return events, letters


def _incoming_event(delivery: Delivery) -> Event:
    """The event that a delivery holds. ValueError if it holds none, or one of a type that is not accepted."""
    event = _event(delivery)
    if event.type not in IN:
        raise ValueError(f"{event.type} is not taken from outside; allowed: {', '.join(IN)}")
    if delivery.id not in ("", str(event.event_id)):
        raise ValueError(f"its event_id {event.event_id} is not the one it is stored under, {delivery.id}")
    return event


def _event(delivery: Delivery) -> Event:
    """The event of a delivery, in this project's form or in that of the systems that it replaces.

    ValueError names each field that is wrong as its sender names it.
    """
    try:
        return Event.model_validate_json(delivery.text)
    except ValidationError as error:
        is_object = any(problem["loc"] for problem in error.errors())
        message = read_older_message(delivery) if is_object else None
        if message is None:
            raise ValueError(_wrong_fields(error, {})) from None
    try:
        return Event.model_validate(message.fields)
    except ValidationError as error:
        raise ValueError(_wrong_fields(error, message.sent_as)) from None


def _wrong_fields(error: ValidationError, sent_as: Mapping[str, str]) -> str:
    """Each wrong field and what is wrong with it. sent_as: the sender's names of renamed fields."""
    return "; ".join(
        f"{'.'.join(filter(None, (sent_as.get(str(part), str(part)) for part in problem['loc'])))}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    )
