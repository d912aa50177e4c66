"""The events that the project sends and accepts: payloads, envelope, identity. Queues: table_queue.py."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationInfo, field_validator

from quantum_training.selection.hash_chain import Instant
from quantum_training.settings.schema import Name

NAMESPACE = UUID("6f1c8d0e-52b3-5b8a-9d53-3c1a7be0f4d2")

Word = Annotated[str, Field(min_length=1, max_length=200)]
Severity = Literal["NONE", "MINOR", "MODERATE", "SEVERE", "CRITICAL"]
Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
MAX_ERROR = 500
"""Longest error message of an event, in characters."""
_METRICS = {"sharpe_ratio": "sharpe"}


class Payload(BaseModel):
    """The content of an event of one type. Unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    type: ClassVar[str]


class TrainingStarted(Payload):
    """A fit begins."""

    type = "model.training_started"
    job_id: Word = Field(description="Dagster run (of restarts the first), partition and recipe.")
    model_type: Word = Field(description="The recipe.")
    trigger: Word = Field(description="SCHEDULED, DRIFT_DETECTED, PERFORMANCE_DECAY or MANUAL.")
    reason: str = Field(description="A sentence for people.")
    started_at: Instant = Field(description="When the fit began.")
    episodes: Count | None = Field(None, description="Episodes that an agent is to play; None of other algorithms.")


class TrainingCompleted(Payload):
    """A version is registered, or its training failed. A job that failed may be run again by hand and succeed later."""

    type = "model.training_completed"
    job_id: Word = Field(description="That of model.training_started.")
    model_version: Word | None = Field(description="model_id of the version; None if the training failed.")
    status: Literal["succeeded", "failed"] = Field(description="How it ended.")
    metrics: dict[str, Number | None] = Field(description="The fit's own report; None if one is undefined.")
    duration_seconds: Annotated[Number, Field(ge=0)] | None = Field(
        description="Of the fit, or until it failed; None if the run was killed during the fit."
    )
    completed_at: Instant = Field(description="When this was found to be over.")
    episodes: Count | None = Field(
        None, description="Episodes that an agent played, or was to play if it failed; None of other algorithms."
    )
    error_message: str | None = Field(
        None, max_length=MAX_ERROR, description="Why it failed; None if it succeeded or its process was killed."
    )


class Promoted(Payload):
    """A version takes over."""

    type = "model.promoted"
    model_type: Word = Field(description="The recipe.")
    old_version: Word | None = Field(description="model_id of the former champion; None if there was none.")
    new_version: Word = Field(description="model_id of the champion.")
    promotion_reason: str = Field(description="The evidence in a sentence.")
    improvement_pct: Number | None = Field(description="Gain over the former in per cent; None if undefined.")
    promoted_at: Instant = Field(description="When it takes effect.")


class Regressed(Payload):
    """A champion does harm or does not work, and is rolled back."""

    type = "model.regressed"
    model_type: Word = Field(description="The recipe.")
    failed_version: Word | None = Field(description="model_id of the version that failed; None if it has none.")
    rolled_back_to: Word | None = Field(description="model_id of the version that trades now; None if none does.")
    regression_reason: str = Field(description="The harm or the fault in a sentence.")
    regressed_at: Instant = Field(description="When it takes effect.")


class DriftDetected(Payload):
    """A drift report found something."""

    type = "data.drift_detected"
    drift_type: Word = Field(description="What drifted, as features, predictions or residuals.")
    severity: Severity = Field(description="How far.")
    affected_models: tuple[Word, ...] = Field(description="Recipes that read what drifted.")
    psi_score: Annotated[Number, Field(ge=0)] | None = Field(description="The worst PSI; None if undefined.")
    recommendation: str = Field(description="What to do.")
    detected_at: Instant = Field(description="When the report was made.")


class MetricsUpdated(Payload):
    """An outside system measured how a model performs."""

    type = "performance.metrics_updated"
    model_type: Word = Field(description="The recipe.")
    metrics: dict[str, Number | None] = Field(description="Metrics by name; None if undefined.")
    measured_at: Instant = Field(description="Up to when was measured.")

    @field_validator("metrics")
    @classmethod
    def _name_the_sharpe_ratio(cls, value: dict[str, float | None]) -> dict[str, float | None]:
        """`sharpe_ratio`, as other systems name it, is `sharpe`."""
        return value if "sharpe" in value else {_METRICS.get(name, name): number for name, number in value.items()}


class DriftSignal(Payload):
    """An outside system observed drift of the data."""

    type = "data.drift_signal"
    severity: Severity = Field(description="How far.")
    reason: str = Field(description="What was seen.")
    observed_at: Instant = Field(description="When it was seen.")

    @field_validator("severity", mode="before")
    @classmethod
    def _in_capitals(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


class RetrainRequest(Payload):
    """A person requests new versions."""

    type = "manual.retrain_request"
    recipes: tuple[Word, ...] = Field((), description="Recipes to train; empty means all of the symbol.")
    requested_by: Word = Field(description="Who asks.")
    reason: str = Field(min_length=1, description="Why.")
    requested_at: Instant = Field(description="When.")


OUT = {p.type: p for p in (TrainingStarted, TrainingCompleted, Promoted, Regressed, DriftDetected)}
IN = {p.type: p for p in (MetricsUpdated, DriftSignal, RetrainRequest)}
PAYLOADS: dict[str, type[Payload]] = {**OUT, **IN}


class Event(BaseModel):
    """The envelope. The same `event_id` is the same event, however often it arrives."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_id: UUID
    type: str
    symbol: Name
    schema_version: Literal[1] = 1
    payload: SerializeAsAny[Payload]

    @field_validator("type")
    @classmethod
    def _check_type(cls, value: str) -> str:
        if value not in PAYLOADS:
            raise ValueError(f"unknown type {value!r}; allowed: {', '.join(PAYLOADS)}")
        return value

    @field_validator("payload", mode="before")
    @classmethod
    def _by_type(cls, value: Any, info: ValidationInfo) -> Payload:
        return PAYLOADS[info.data["type"]].model_validate(value) if "type" in info.data else Payload()


def event(symbol: str, payload: Payload, cause: str) -> Event:
    """The event with this payload. Its id is the same on every machine for the same type, symbol and cause.

    cause: a key of what caused the event, for example the id of a run.
    """
    event_id = uuid5(NAMESPACE, json.dumps([payload.type, symbol, cause]))
    return Event(event_id=event_id, type=payload.type, symbol=symbol, payload=payload)
