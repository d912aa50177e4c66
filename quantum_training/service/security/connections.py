"""What a connection may take: time and bytes until a request's headers are complete, time to read an answer.

uvicorn bounds neither, so a client that sends or reads a byte now and then would hold a connection for ever; and one
address could hold all of them.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_SECONDS = 10.0
MAX_HEADER_BYTES = 64 * 1024
READING_SECONDS = 60.0
"""So long a client may leave an answer unread in the buffers."""
CONNECTIONS = 500
CONNECTIONS_OF_ADDRESS = 200
"""A proxy has one address for all its clients, and one connection for each request that it waits for."""


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's connection, closed when a bound is crossed."""

    _closing: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _in_headers = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin to wait for the first request."""
        super().connection_made(transport)
        if self._of_same_address() > CONNECTIONS_OF_ADDRESS:
            transport.abort()
        else:
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what arrived, and wait on if it leaves headers incomplete or comes between two requests."""
        super().data_received(data)
        if self._in_headers or self.cycle is None or self.cycle.response_complete:
            self._header_bytes += len(data)
            self._await_headers()
            if self._header_bytes > MAX_HEADER_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_headers = True

    def on_headers_complete(self) -> None:
        """Its headers are complete."""
        self._in_headers = False
        self._stop_waiting()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """The client does not read what was sent."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(READING_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads on."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    @property
    def _address(self) -> str | None:
        return self.client[0] if self.client else None

    def _of_same_address(self) -> int:
        others = (other for other in self.connections if isinstance(other, BoundedConnection))
        return sum(other._address == self._address for other in others)

    def _await_headers(self) -> None:
        if self._closing is None:
            self._closing = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        self._header_bytes = 0
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
