"""`GET /api/v2/stream`: what is new, for a client that stays connected (Server-Sent Events)."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from quantum_training.service.streaming.feed import Feed

router = APIRouter(prefix="/api/v2")


def _feed(request: Request) -> Feed:
    feed: Feed = request.app.state.feed
    feed.require_place()
    return feed


@router.get("/stream", response_class=EventSourceResponse, tags=["events"])
async def stream(
    feed: Annotated[Feed, Depends(_feed)],
    last_event_id: Annotated[str | None, Header(max_length=36, description="The newest event that is known.")] = None,
) -> AsyncIterable[ServerSentEvent]:
    """Events (`event`, as /api/v2/events) and the progress of active runs (`run`, as a run's progress) as they come."""
    async for message in feed.messages(last_event_id):
        yield ServerSentEvent(raw_data=message.data, event=message.kind, id=message.id)
