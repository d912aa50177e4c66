"""Events that the project has sent, and the trainings that they tell of."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from quantum_training.resources.events.payloads import (
    DriftDetected,
    Event,
    Payload,
    Promoted,
    Regressed,
    TrainingCompleted,
    TrainingStarted,
)
from quantum_training.resources.events.queue import Delivery
from quantum_training.service.reading.dated import page
from quantum_training.service.state import State
from quantum_training.settings.paths import without_password

TYPES = (TrainingStarted.type, TrainingCompleted.type)
SCANNED = 10_000
"""Newest events of training that are looked through for trainings."""
SCANNED_FOR_ALERTS = 500
ALERTS = (DriftDetected, Regressed, Promoted)
"""Events that a person should know of, as of a training that failed."""


class EventRow(BaseModel):
    """An event of the outbox."""

    event_id: str
    type: str = Field(examples=["model.promoted"])
    symbol: str
    received_at: datetime | None = Field(description="When it was stored, UTC.")
    payload: dict[str, Any] = Field(description="By type: docs/production, quantum_training/resources/events.")
    sentence: str = Field(description="What happened, in words.", examples=["xgboost was promoted: the evidence"])
    is_alert: bool = Field(description="Should a person know? Drift, a promotion, a rollback, a failed training.")


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
    rows = [event_row(delivery) for delivery in state.events.outbox.newest(limit, types, symbols)]
    return page(rows, rows[0].received_at if rows else None)


def event_row(delivery: Delivery) -> EventRow:
    """An event of the outbox."""
    event = Event.model_validate_json(delivery.text)
    return EventRow(
        event_id=str(event.event_id),
        type=event.type,
        symbol=event.symbol,
        received_at=delivery.received_at,
        payload=event.payload.model_dump(mode="json"),
        sentence=sentence_of(event.payload),
        is_alert=is_alert(event.payload),
    )


def is_alert(payload: Payload) -> bool:
    """Should a person know? A training that starts or succeeds is none."""
    failed = isinstance(payload, TrainingCompleted) and payload.status == "failed"
    return failed or isinstance(payload, ALERTS)


def sentence_of(payload: Payload) -> str:
    """What happened, in words."""
    match payload:
        case DriftDetected():
            return f"{payload.severity.lower()} drift of {payload.drift_type}: {payload.recommendation}"
        case Regressed():
            return f"{payload.model_type} was rolled back: {payload.regression_reason}"
        case Promoted():
            return f"{payload.model_type} was promoted: {payload.promotion_reason}"
        case TrainingStarted():
            return f"training of {payload.model_type} started: {payload.reason}"
        case TrainingCompleted():
            recipe = payload.job_id.rpartition("/")[2]
            why = f": {without_password(payload.error_message)}" if payload.error_message else ""
            return f"training of {recipe} {payload.status}{why}"
    return payload.type


def alerts(state: State, limit: int) -> list[EventRow]:
    """The newest alerts of all symbols, newest first, among the newest events of their types."""
    types = [*(kind.type for kind in ALERTS), TrainingCompleted.type]
    rows = map(event_row, state.events.outbox.newest(SCANNED_FOR_ALERTS, types))
    return [row for row in rows if row.is_alert][:limit]


def trainings(state: State, symbols: list[str], limit: int | None = None) -> list[Training]:
    """The newest trainings of these symbols, newest first, from their events. They are read again after a new event."""
    newest = state.events.outbox.newest(1, TYPES)
    head = newest[0].id if newest else None
    kept: tuple[str | None, list[Training]] | None = state.memory.recall("trainings")
    if kept is None or kept[0] != head:
        kept = head, _trainings(state)
        state.memory.keep("trainings", kept, 1, {})
    chosen = {*symbols}
    return [training for training in kept[1] if training.symbol in chosen][:limit]


def _trainings(state: State) -> list[Training]:
    """Of all symbols, among the newest events."""
    deliveries = state.events.outbox.newest(SCANNED, TYPES)
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
