"""One look at what has changed for all clients that stay connected. Without a client nothing is looked at."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress

from anyio.to_thread import run_sync

from quantum_training.resources.database import DatabaseError
from quantum_training.service.problems import Problem
from quantum_training.service.state import State
from quantum_training.service.streaming.changes import Changes, Message, events_after

log = logging.getLogger(__name__)
EVERY_SECONDS = 2.0
MOST_CLIENTS = 200
MOST_WAITING = 500
"""Messages that wait for a slow client; then its connection ends, and it comes again with Last-Event-ID."""


class Feed:
    """The connected clients of a process, each with a queue. Used in the event loop only."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._clients: set[asyncio.Queue[Message | None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    def require_place(self) -> None:
        """Problem 503 if too many clients are connected."""
        if len(self._clients) >= MOST_CLIENTS:
            rule = f"at most {MOST_CLIENTS} clients stay connected"
            raise Problem(503, "too many clients are connected", rule, "close pages, or read /api/v2/events")

    async def messages(self, last_event_id: str | None) -> AsyncIterator[Message]:
        """What is new from now on, after what a client missed that comes again. It ends when the feed is closed."""
        queue: asyncio.Queue[Message | None] = asyncio.Queue(MOST_WAITING)
        if self._is_closed:
            return
        self._clients.add(queue)
        self._task = self._task or asyncio.create_task(self._look())
        try:
            missed = await run_sync(events_after, self._state, last_event_id) if last_event_id else []
            for missed_message in missed:
                yield missed_message
            while (message := await queue.get()) is not None:
                if message not in missed:
                    yield message
        finally:
            self._clients.discard(queue)
            if not self._clients and self._task:
                self._task.cancel()

    def close(self) -> None:
        """End every connection: a server that stops waits for them."""
        self._is_closed = True
        for queue in self._clients:
            _end(queue)

    async def _look(self) -> None:
        """Until there is no client, or the database does not answer at its start: clients then come again later."""
        try:
            changes = await run_sync(Changes, self._state)
            while True:
                self._send(await run_sync(changes.new))
                await asyncio.sleep(EVERY_SECONDS)
        except DatabaseError as error:
            log.warning("streams end: %s", error)
        finally:
            self._task = None
            for queue in self._clients:
                _end(queue)

    def _send(self, messages: list[Message]) -> None:
        for queue in self._clients:
            try:
                for message in messages:
                    queue.put_nowait(message)
            except asyncio.QueueFull:
                _end(queue)


def _end(queue: asyncio.Queue[Message | None]) -> None:
    with suppress(asyncio.QueueEmpty):
        while True:
            queue.get_nowait()
    queue.put_nowait(None)
