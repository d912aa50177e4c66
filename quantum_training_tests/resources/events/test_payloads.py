"""Events: one identity per cause, one text that comes back as it went, and nothing else let in."""

import json
from datetime import UTC, datetime
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints
from uuid import uuid5

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import AwareDatetime, ValidationError

from quantum_training.resources.events.payloads import (
    IN,
    NAMESPACE,
    OUT,
    PAYLOADS,
    DriftDetected,
    Event,
    RetrainRequest,
    TrainingCompleted,
    event,
)

NOW = datetime(2024, 1, 8, tzinfo=UTC)
CAUSE = st.text(min_size=1, max_size=30)


PLAIN = {
    str: st.text(min_size=1, max_size=20),
    float: st.floats(0, 1e300),
    int: st.integers(0, 10**9),
    type(None): st.none(),
    AwareDatetime: st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.timezones()),
}


def values(kind):
    """A strategy for what a field of this annotation may hold."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return PLAIN[inner[0]]
    if origin is Literal:
        return st.sampled_from(inner)
    if origin in (Union, UnionType):
        return st.one_of(*map(values, inner))
    if origin is dict:
        return st.dictionaries(*map(values, inner), max_size=3)
    if origin is tuple:
        return st.lists(values(inner[0]), max_size=3).map(tuple)
    return PLAIN[kind]


def request(**changes):
    return RetrainRequest(**{"requested_by": "ann", "reason": "asked", "requested_at": NOW, **changes})


def completed(**changes):
    fields = {
        "job_id": "j",
        "model_version": "v1",
        "status": "succeeded",
        "metrics": {"loss": 0.1, "gain": None},
        "duration_seconds": 1.5,
        "completed_at": NOW,
    }
    return TrainingCompleted(**{**fields, **changes})


def test_the_event_types_are_those_promised():
    assert set(OUT) == {
        "model.training_started",
        "model.training_completed",
        "model.promoted",
        "model.regressed",
        "data.drift_detected",
    }
    assert set(IN) == {"performance.metrics_updated", "data.drift_signal", "manual.retrain_request"}
    assert all(field.description for payload in PAYLOADS.values() for field in payload.model_fields.values())


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_every_payload_is_read_back_from_its_json(payload):
    fields = {name: get_type_hints(payload, include_extras=True)[name] for name in payload.model_fields}

    @hypothesis_settings(max_examples=20)
    @given(st.fixed_dictionaries({n: values(kind) for n, kind in fields.items()}).map(lambda f: payload(**f)))
    def check(made):
        sent = event("AAA", made, "cause")
        back = Event.model_validate_json(sent.model_dump_json())
        assert back == sent
        assert type(back.payload) is payload
        assert back.model_dump_json() == sent.model_dump_json()

    check()


@given(CAUSE, CAUSE)
def test_an_event_id_depends_on_type_symbol_and_cause_only(cause, other):
    first = event("AAA", request(), cause)
    assert event("AAA", request(reason="said otherwise"), cause).event_id == first.event_id
    assert (event("AAA", request(), other).event_id == first.event_id) == (cause == other)
    assert event("BBB", request(), cause).event_id != first.event_id
    assert event("AAA", completed(), cause).event_id != first.event_id


def test_event_ids_are_the_same_on_every_machine_and_in_every_release():
    expected = uuid5(NAMESPACE, '["manual.retrain_request", "AAA", "week 1"]')
    assert event("AAA", request(), "week 1").event_id == expected
    assert str(expected) == "3d516364-81c2-5ee5-b767-1c1b117b7a0c"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("type", "model.sold", "unknown type 'model.sold'; allowed: model.training_started"),
        ("type", "model.promoted", "payload.model_type\n  Field required"),
        ("symbol", "A|B", "symbol"),
        ("schema_version", 2, "schema_version\n  Input should be 1"),
        ("event_id", "one", "event_id"),
        ("colour", "blue", "colour"),
        ("payload.colour", "blue", "payload.colour"),
        ("payload.requested_at", "2024-01-08T00:00:00", "payload.requested_at"),
        ("payload.requested_by", "", "payload.requested_by"),
    ],
)
def test_an_event_outside_the_schema_is_refused_by_field(path, value, message):
    raw = json.loads(event("AAA", request(), "c").model_dump_json())
    *parents, last = path.split(".")
    target = raw
    for parent in parents:
        target = target[parent]
    target[last] = value
    with pytest.raises(ValidationError) as caught:
        Event.model_validate_json(json.dumps(raw))
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_number_is_nan_or_infinite(value):
    with pytest.raises(ValidationError, match="finite"):
        completed(metrics={"loss": value})
    with pytest.raises(ValidationError, match="finite"):
        DriftDetected(
            drift_type="features",
            severity="SEVERE",
            affected_models=("xgboost",),
            psi_score=value,
            recommendation="",
            detected_at=NOW,
        )
