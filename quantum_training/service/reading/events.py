"""Events that the project has sent, and the trainings that they tell of."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from quantum_training.resources.events.payloads import Event, TrainingCompleted, TrainingStarted
from quantum_training.service.reading.dated import page
from quantum_training.service.state import State

TYPES = (TrainingStarted.type, TrainingCompleted.type)
SCANNED = 20_000
"""Newest events of training that are looked through for trainings."""


class EventRow(BaseModel):
    """An event of the outbox."""

    event_id: str
    type: str = Field(examples=["model.promoted"])
    symbol: str
    received_at: datetime | None = Field(description="When it was stored, UTC.")
    payload: dict[str, Any] = Field(description="By type: docs/production, quantum_training/resources/events.")


class Training(BaseModel):
    """A training of a recipe: its start, and its end if it is over."""

    job_id: str = Field(description="Run (of restarts the first), partition and recipe.")
    run_id: str = Field(description="That run, or of restarts the first.")
    symbol: str
    recipe: str
    trigger: str | None = Field(description="Null if its start is no longer stored.", examples=["SCHEDULED"])
    reason: str | None
    status: str = Field(description="running, succeeded or failed.", examples=["succeeded"])
    model_id: str | None = Field(description="The version that it made.")
    metrics: dict[str, float | None]
    started_at: datetime | None
    completed_at: datetime | None
    duration_seconds: float | None


def event_page(state: State, symbols: list[str], types: list[str], limit: int) -> dict[str, Any]:
    """The newest events of these symbols. types: only these; empty: all."""
    deliveries = state.events.outbox.newest(limit, types, symbols)
    events = [(delivery, Event.model_validate_json(delivery.text)) for delivery in deliveries]
    rows: list[dict[str, Any]] = [
        {
            "event_id": str(event.event_id),
            "type": event.type,
            "symbol": event.symbol,
            "received_at": delivery.received_at,
            "payload": event.payload.model_dump(mode="json"),
        }
        for delivery, event in events
    ]
    return page(rows, rows[0]["received_at"] if rows else None)


def trainings(state: State, symbols: list[str], limit: int | None = None) -> list[Training]:
    """The newest trainings of these symbols, newest first, from their events. They are read again after a new event."""
    newest, key = state.events.outbox.newest(1, TYPES), ("trainings", *symbols)
    head = newest[0].id if newest else None
    kept: tuple[str | None, list[Training]] | None = state.memory.recall(key)
    if kept is None or kept[0] != head:
        kept = head, _trainings(state, symbols)
        state.memory.keep(key, kept, 1 + len(kept[1]), {})
    return kept[1][:limit]


def _trainings(state: State, symbols: list[str]) -> list[Training]:
    deliveries = state.events.outbox.newest(SCANNED, TYPES, symbols)
    started: dict[str, TrainingStarted] = {}
    completed: dict[str, TrainingCompleted] = {}
    symbol_of: dict[str, str] = {}
    for delivery in deliveries:
        event = Event.model_validate_json(delivery.text)
        payload = event.payload
        if isinstance(payload, TrainingStarted):
            started.setdefault(payload.job_id, payload)
        elif isinstance(payload, TrainingCompleted):
            completed.setdefault(payload.job_id, payload)
        symbol_of.setdefault(getattr(payload, "job_id", ""), event.symbol)
    return [
        _training(job_id, symbol, started.get(job_id), completed.get(job_id)) for job_id, symbol in symbol_of.items()
    ]


def _training(job_id: str, symbol: str, start: TrainingStarted | None, end: TrainingCompleted | None) -> Training:
    run_id, _, rest = job_id.partition("/")
    return Training(
        job_id=job_id,
        run_id=run_id,
        symbol=symbol,
        recipe=start.model_type if start else rest.rpartition("/")[2],
        trigger=start.trigger if start else None,
        reason=start.reason if start else None,
        status=end.status if end else "running",
        model_id=end.model_version if end else None,
        metrics=dict(end.metrics) if end else {},
        started_at=start.started_at if start else None,
        completed_at=end.completed_at if end else None,
        duration_seconds=end.duration_seconds if end else None,
    )


def training_page(state: State, symbols: list[str], limit: int) -> dict[str, Any]:
    """The newest trainings of these symbols."""
    newest_first = trainings(state, symbols)
    last = newest_first[0] if newest_first else None
    return page(newest_first, (last.completed_at or last.started_at) if last else None, limit)
