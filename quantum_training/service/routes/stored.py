"""Addresses that answer from the store alone: an answer is kept until something that it was made from is written."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from quantum_training.service.remembered import Memory, noting

ANSWERS_BYTES = 32 * 2**20
AGE_SECONDS = 60.0
"""So late may be what time alone changes in an answer: its age."""
Answer = Callable[[Request], Coroutine[Any, Any, Response]]


class StoredRoute(APIRoute):
    """An address whose answers depend on the store, the settings, and its parameters."""

    def get_route_handler(self) -> Answer:
        """The address, with its answers kept by what was asked."""
        make = super().get_route_handler()

        async def answer(request: Request) -> Response:
            memory: Memory = request.app.state.answers
            key = request.url.path, request.url.query
            kept: Response | None = memory.recall(key)
            if kept is not None:
                return kept
            with noting() as folders:
                response = await make(request)
            if response.status_code == 200:
                memory.keep(key, response, len(response.body), folders)
            return response

        return answer
