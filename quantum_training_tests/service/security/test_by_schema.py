"""Requests that schemathesis makes of every address from the OpenAPI document: such as follow it, such as break it.

No answer is a server error, and each is as the document says: its status, its type, its fields.
"""

import shutil

import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from quantum_training.lifecycle.training.versions import recorded_versions
from quantum_training.service.app import build_app
from quantum_training.service.cached_store import CachedStore
from quantum_training.service.dagster_client import Launch
from quantum_training.service.security.keys import make_key
from quantum_training_tests.service.conftest import DAY, WEEKS
from quantum_training_tests.service.support import RecordingDagster

ENDLESS = "/api/v2/stream"
LEFT_OUT = [positive_data_acceptance, ignored_auth]
"""A document cannot say that a day is a Monday, or that only an actor may be left out who has a key; 422 says it.
Every request here has a key, beside whatever else is sent; test_guard.py sends none."""


@pytest.fixture(scope="module")
def attacked(recorded, tmp_path_factory):
    """The operations of a service over a copy of what is recorded, since some of them write; a key; known values."""
    root = tmp_path_factory.mktemp("attacked") / "store"
    shutil.copytree(recorded.store.root, root)
    dagster, (key, line) = RecordingDagster(), make_key("ann", "admin")
    bounds = {"requests_per_minute": 10**9, "hosts": ("testserver",)}
    service = recorded.settings.service.model_copy(update=bounds)
    own = {"store": CachedStore(root=str(root)), "registry": recorded.registry, "dagster": dagster}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVICE_KEYS", line)
        app = build_app(recorded.settings.model_copy(update={"service": service}), own)
    headers = {"X-API-Key": key}
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers=headers)
    run, version = dagster.launch(Launch("retrain", {}, {})), recorded_versions(recorded.store, "AAA", "xgboost")[-1]
    known = {
        **dict.fromkeys(("recipe", "strategy", "model_type", "agent_type"), "xgboost"),
        **dict.fromkeys(("model_id", "model_version"), version.model_id),
        **dict.fromkeys(("run_id", "session_id"), run),
        "symbol": "AAA",
        "week": WEEKS[-1],
        "day": DAY,
    }
    operations = (found.ok() for found in schema.get_all_operations())
    return [operation for operation in operations if operation.path != ENDLESS], headers, known


def attack(operation, mode, headers, known, examples):
    """Send so many requests to an operation. Requests that follow the document have known values half of the time."""

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True)
    @given(case=operation.as_strategy(generation_mode=mode), invented=st.sets(st.sampled_from(sorted(known))))
    def send(case, invented):
        if mode is GenerationMode.POSITIVE:
            for part in (case.path_parameters, case.query, case.body):
                if isinstance(part, dict):
                    part |= {name: known[name] for name in part.keys() & known.keys() - invented}
        response = case.call(headers=headers)
        statuses.append(response.status_code)
        case.validate_response(response, headers=headers, excluded_checks=LEFT_OUT)

    statuses: list[int] = []
    try:
        send()
    except Unsatisfiable:  # nothing in a request without parameters can break the document
        assert mode is GenerationMode.NEGATIVE, operation.label
    return statuses


@pytest.mark.parametrize("mode", GenerationMode)
def test_every_answer_is_as_the_document_says(attacked, mode):
    operations, headers, known = attacked
    answered = [status for operation in operations for status in attack(operation, mode, headers, known, 8)]
    assert len(operations) > 60
    assert {GenerationMode.POSITIVE: 200, GenerationMode.NEGATIVE: 422}[mode] in answered


@pytest.mark.long
@pytest.mark.parametrize("mode", GenerationMode)
def test_every_answer_to_many_requests_is_as_the_document_says(attacked, mode):
    operations, headers, known = attacked
    for operation in operations:
        attack(operation, mode, headers, known, 40)
