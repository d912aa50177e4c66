"""Messages of the systems that this project replaces, as the fields of its own events.

They have other names, flat fields and no event id. Only names and places change here; payloads.py validates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid5

from pydantic_core import from_json

from quantum_training.resources.events.payloads import IN, NAMESPACE, DriftSignal, MetricsUpdated, RetrainRequest
from quantum_training.resources.events.queue import Delivery

TYPE_KEYS, PAYLOAD_KEYS = ("type", "event_type", "event"), ("payload", "data")
TIME_KEYS = ("timestamp", "detected_at", "updated_at")
ENVELOPE_KEYS = {"event_id", "symbol", "schema_version", *TYPE_KEYS, *PAYLOAD_KEYS}
INFORMATION = {"trigger", "source", "model_version", "job_id"}
"""Fields that change nothing here."""
TIMES = {MetricsUpdated.type: "measured_at", DriftSignal.type: "observed_at", RetrainRequest.type: "requested_at"}
UNKNOWN_SENDER = "not named"
"""Who requests a training, if the message does not say it."""


class OlderMessage(NamedTuple):
    """The fields of an event. sent_as: the sender's name of each field that was renamed."""

    fields: dict[str, Any]
    sent_as: dict[str, str]


def read_older_message(delivery: Delivery) -> OlderMessage | None:
    """The event of a message that the replaced systems send; None for a text that is no message of a known type.

    A message without a time was sent when it arrived. One without an event id has an id made of its text, or, if it
    has no time either, of text and arrival. A time without a zone is UTC. ValueError if its payload is no object.
    """
    message = from_json(delivery.text)
    if not isinstance(message, dict):
        return None
    event_type = next((str(message[key]) for key in TYPE_KEYS if str(message.get(key)) in IN), None)
    if event_type is None:
        return None
    payload = _payload(message)
    symbol = message.get("symbol", payload.pop("symbol", None))
    sent_as = _rename_time(payload, TIMES[event_type], delivery.received_at)
    sent_as |= PAYLOADS[event_type](payload)
    is_timed = TIMES[event_type] in sent_as or delivery.received_at is None
    identity = delivery.text if is_timed else f"{delivery.received_at} {delivery.text}"
    fields = {
        "event_id": message.get("event_id", delivery.id or str(uuid5(NAMESPACE, identity))),
        "type": event_type,
        **({} if symbol is None else {"symbol": symbol.replace("/", "-") if isinstance(symbol, str) else symbol}),
        **({"schema_version": message["schema_version"]} if "schema_version" in message else {}),
        "payload": payload,
    }
    return OlderMessage(fields, sent_as)


def _payload(message: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a message beside its envelope, and those of its payload, which may be JSON in a text."""
    key = next((key for key in PAYLOAD_KEYS if key in message), None)
    inner = {} if key is None else message[key]
    with suppress(ValueError):
        inner = from_json(inner) if isinstance(inner, str) else inner
    if not isinstance(inner, dict):
        raise ValueError(f"{key}: it should be an object with the fields of the payload")
    outer = {name: value for name, value in message.items() if name not in ENVELOPE_KEYS}
    return {name: value for name, value in {**outer, **inner}.items() if name not in INFORMATION}


def _rename_time(payload: dict[str, Any], name: str, received_at: datetime | None) -> dict[str, str]:
    """Give the payload's time its name, or the arrival if it has none. Returns the sender's name of the time."""
    key = next((key for key in (name, *TIME_KEYS) if key in payload), None)
    if key is None:
        if received_at is not None:
            payload[name] = received_at
        return {}
    payload[name] = payload.pop(key) if key == name else _in_utc(payload.pop(key))
    return {name: key}


def _in_utc(time: Any) -> Any:
    """The time, with the zone UTC if it has none. What is no time stays, for the validation to refuse."""
    try:
        parsed = datetime.fromisoformat(time)
    except (TypeError, ValueError):
        return time
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _rename_metrics(payload: dict[str, Any]) -> dict[str, str]:
    """Without `metrics`, every other field is a metric."""
    sent_as = _rename(payload, "model_type", "model_name")
    if "metrics" not in payload:
        own = {"model_type", TIMES[MetricsUpdated.type]}
        payload["metrics"] = {name: payload.pop(name) for name in [*payload] if name not in own}
        sent_as["metrics"] = ""
    return sent_as


def _rename_drift(payload: dict[str, Any]) -> dict[str, str]:
    """Without `reason`, it is made of what drifted, how far, and what the sender recommends."""
    kind, psi, models, advice = (
        payload.pop(name, None) for name in ("drift_type", "psi_score", "affected_models", "recommendation")
    )
    parts = (kind and f"drift of {kind}", psi is not None and f"PSI {psi}", models and f"affects {models}", advice)
    if "reason" not in payload and any(parts):
        payload["reason"] = ", ".join(str(part) for part in parts if part)
    return {}


def _rename_request(payload: dict[str, Any]) -> dict[str, str]:
    sent_as = {}
    if "recipes" not in payload and "model_type" in payload:
        recipe = payload.pop("model_type")
        payload["recipes"] = () if recipe is None else (recipe,)
        sent_as["recipes"] = "model_type"
    payload.setdefault("requested_by", UNKNOWN_SENDER)
    return sent_as


def _rename(payload: dict[str, Any], name: str, older: str) -> dict[str, str]:
    if name in payload or older not in payload:
        return {}
    payload[name] = payload.pop(older)
    return {name: older}


PAYLOADS: dict[str, Callable[[dict[str, Any]], dict[str, str]]] = {
    MetricsUpdated.type: _rename_metrics,
    DriftSignal.type: _rename_drift,
    RetrainRequest.type: _rename_request,
}
"""How the payload of each type is renamed in place; returns the sender's names of the fields."""
