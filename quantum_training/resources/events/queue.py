"""The interface of a queue of events. Its two implementations are table_queue.py and redis_stream.py."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple, Protocol

from quantum_training.resources.events.payloads import Event


class Delivery(NamedTuple):
    """One event in a queue: the id that acknowledges it, and its JSON, not validated. received_at: UTC, if known."""

    id: str
    text: str
    received_at: datetime | None = None


class Queue(Protocol):
    """Each named consumer gets every event at least once, oldest first, until it acknowledges it."""

    def publish(self, events: Iterable[Event]) -> None:
        """Store the events."""

    def read(self, consumer: str, limit: int) -> list[Delivery]:
        """Up to `limit` events that the consumer has not acknowledged."""

    def acknowledge(self, consumer: str, ids: Iterable[str]) -> None:
        """Never return these deliveries to the consumer again."""
