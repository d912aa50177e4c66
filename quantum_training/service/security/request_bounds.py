"""The size and the time that a request's body may take, as a wrapper of ASGI's `receive`."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive

from quantum_training.service.problems import Problem

MAX_BODY_BYTES = 64 * 1024
BODY_SECONDS = 10.0


def too_large() -> Problem:
    """413."""
    return Problem(
        413, "the body is too large", f"a body has at most {MAX_BODY_BYTES} bytes", "send less", {"Connection": "close"}
    )


async def read_body(receive: Receive) -> Receive:
    """A `receive` that gives the whole body, which is read here. Problem 413 if it is too large, 408 if it is late."""
    chunks: list[bytes] = []
    loop = asyncio.get_running_loop()
    end, size = loop.time() + BODY_SECONDS, 0
    while True:
        try:
            message = await asyncio.wait_for(receive(), end - loop.time())
        except TimeoutError:
            rule, remedy = f"a body arrives within {BODY_SECONDS:g} s", "send it at once"
            raise Problem(408, "the body did not arrive", rule, remedy, {"Connection": "close"}) from None
        if message["type"] == "http.disconnect":
            break
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_BODY_BYTES:
            raise too_large()
        if not message.get("more_body"):
            break
    body: Message | None = {"type": "http.request", "body": b"".join(chunks), "more_body": False}

    async def receive_read() -> Message:
        nonlocal body
        if body is not None:
            whole, body = body, None
            return whole
        return await receive()

    return receive_read
