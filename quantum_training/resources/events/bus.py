"""The event bus: an outbox and an inbox over one database, which keeps events, and one Redis, which carries them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from quantum_training.resources.events.inbox import EventInbox
from quantum_training.resources.events.outbox import EventOutbox


@dataclass(frozen=True)
class EventBus:
    """Events of all symbols. `database_url` and `url` are settings.database_url and settings.event_bus_url."""

    database_url: str = ""
    url: str = ""

    @property
    def outbox(self) -> EventOutbox:
        """The events that leave."""
        return EventOutbox(self.database_url, self.url)

    @property
    def inbox(self) -> EventInbox:
        """The events that arrive."""
        return EventInbox(self.database_url, self.url)

    def prune(self, before: datetime, dry_run: bool = False) -> int:
        """Empty old events that every consumer has acknowledged, and delete old dead letters; returns how many.

        With dry_run nothing is changed. Event ids stay, so the same event is never sent or received twice. What Redis
        holds is bounded by its stream.
        """
        return self.outbox.prune(before, dry_run) + self.inbox.prune(before, dry_run)
