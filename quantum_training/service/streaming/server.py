"""The web server, which ends the streams when it stops: it waits for its connections, and a client never leaves."""

from __future__ import annotations

from socket import socket

import uvicorn

from quantum_training.service.streaming.feed import Feed


class Server(uvicorn.Server):
    """uvicorn's server of an app that has this feed."""

    def __init__(self, config: uvicorn.Config, feed: Feed) -> None:
        super().__init__(config)
        self._feed = feed

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        self._feed.close()
        await super().shutdown(sockets)
