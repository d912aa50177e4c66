"""A bound on how long a request waits for a database: what answers later is answered with a problem."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from quantum_training.resources.time_limits import short_timeouts

WAIT_SECONDS = 5.0


class TimeBound:
    """ASGI middleware: in a request no transaction is repeated for more than WAIT_SECONDS."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with short_timeouts(WAIT_SECONDS):
            await self.app(scope, receive, send)
