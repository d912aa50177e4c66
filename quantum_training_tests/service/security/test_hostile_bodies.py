"""Bodies that no well-behaved client sends: each is refused with a problem, and nothing is started or stored."""

import json

import pytest
from fastapi.testclient import TestClient

from quantum_training.service.app import build_app
from quantum_training.service.security.request_bounds import MAX_BODY_BYTES
from quantum_training_tests.service.conftest import BASE_URL, resources
from quantum_training_tests.service.support import RecordingDagster

TRAIN, DEMOTE, ROLLOUT = "v2/symbols/AAA/train", "training/shadow/demote", "v1/rl/v3/rollout"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
HALF_A_CHARACTER = b'"\\ud800"'
DEEP = b"[" * (MAX_BODY_BYTES // 4) + b"]" * (MAX_BODY_BYTES // 4)


@pytest.fixture
def dagster():
    return RecordingDagster()


@pytest.fixture
def client(recorded, dagster):
    """A client of a service whose Dagster is the stand-in. An error that nobody foresaw is raised in the test."""
    app = build_app(recorded.settings, {**resources(recorded), "dagster": dagster})
    return TestClient(app, base_url=BASE_URL)


@pytest.mark.parametrize("text", ["", " ", "a\0b", "a\nJohn promoted xgboost", "a\x1b[2J", "\x85"])
@pytest.mark.parametrize(
    ("path", "body"),
    [(TRAIN, {}), (DEMOTE, {"symbol": "AAA"}), (ROLLOUT, {"symbol": "AAA", "capital_percentage": 5})],
)
def test_an_actor_and_a_reason_are_one_line_of_text(client, dagster, path, body, text):
    who = {"actor": "Ann", "reason": "a test"}
    for name in who:
        response = client.post(f"/api/{path}", json={**body, **who, name: text})
        assert response.status_code == 422, response.text
        assert f"body.{name}" in response.json()["detail"]
    assert not dagster.launches


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (TRAIN, b"\xff\xfe"),
        (TRAIN, DEEP),
        (TRAIN, b'{"reason": %s, "actor": "Ann"}' % HALF_A_CHARACTER),
        (TRAIN, b'{%s: 1, "reason": "a test", "actor": "Ann"}' % HALF_A_CHARACTER),
        (TRAIN, b'{"reason": "a test", "actor": "Ann", "episodes": %s}' % (b"9" * 5000)),
        (TRAIN, b'{"reason": "a test", "actor": "Ann", "as_of": 1e300}'),
        (ROLLOUT, b'{"symbol": "AAA", "capital_percentage": NaN}'),
        (ROLLOUT, b'{"symbol": "AAA", "capital_percentage": 1e999}'),
        ("training/config", b"\xff\xfe"),
        ("training/config", b'{"name": "x", "config": {"a": %s}}' % HALF_A_CHARACTER),
        ("training/config", b'{"name": "x", "config": {%s: 1}}' % HALF_A_CHARACTER),
        ("training/config", b'{"name": "x", "config": {"a": %s}}' % DEEP),
        ("training/config", b'{"name": "x", "config": {"a": %s}}' % (b"9" * 5000)),
        ("training/config", b'{"name": "x", "config": {"a": 1e999}}'),
        ("training/config", b'{"name": "../x", "config": {}}'),
        ("training/config", b'["name", "config"]'),
        ("training/drift/check-feature", b'{"feature": "x", "current": [NaN], "symbol": "AAA"}'),
    ],
)
def test_json_that_cannot_be_taken_is_refused(client, recorded, dagster, path, content):
    response = client.post(f"/api/{path}", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 422, response.text
    assert "Traceback" not in response.text
    assert not dagster.launches
    assert not recorded.store.periods("training_config", "all_symbols", "json")


@pytest.mark.parametrize("content", [b"&".join(b"a%d=1" % number for number in range(500)), b"a=\xff", b"symbol=%00"])
def test_a_form_that_cannot_be_taken_is_refused(client, dagster, content):
    response = client.post("/api/training/train", content=content, headers=FORM)
    assert response.status_code == 422, response.text
    assert response.json()["success"] is False
    assert not dagster.launches


def test_a_body_that_is_no_json_starts_nothing(client, dagster):
    """What a page of another origin can send without asking first."""
    body = json.dumps({"actor": "Ann", "reason": "a test"})
    for kind in ("text/plain", "multipart/form-data; boundary=x", FORM["Content-Type"], ""):
        assert client.post(f"/api/{TRAIN}", content=body, headers={"Content-Type": kind}).status_code == 422
    assert not dagster.launches
