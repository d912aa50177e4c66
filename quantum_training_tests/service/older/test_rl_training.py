"""S0's jobs: a client finds the training that it triggered under the id that it was told."""

import pandas as pd
import pytest
from fastapi.testclient import TestClient

from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.payloads import TrainingStarted, event
from quantum_training.resources.run_origin import LAUNCHED_BY, REQUEST_TAG
from quantum_training.service.app import build_app
from quantum_training.service.dagster_client import Launch
from quantum_training_tests.service.conftest import BASE_URL
from quantum_training_tests.service.support import RecordingDagster

TRIGGER = "/api/training/jobs/trigger"


@pytest.fixture
def dagster():
    return RecordingDagster()


@pytest.fixture
def client(empty_settings, dagster):
    """A client of the service over a home in which nothing is stored."""
    return TestClient(build_app(empty_settings, {"dagster": dagster}), base_url=BASE_URL)


def begin_training(run_id):
    start = {"model_type": "xgboost", "trigger": "MANUAL", "reason": "a test", "started_at": pd.Timestamp.now("UTC")}
    job_id = f"{run_id}/AAA|2020-01-06/xgboost"
    EventBus().outbox.publish([event("AAA", TrainingStarted(job_id=job_id, **start), job_id)])


def test_a_triggered_training_is_found_under_the_id_of_the_answer(client, dagster):
    body = {"symbol": "AAA", "model_type": "xgboost", "trigger": "MANUAL", "reason": "a test"}
    told = client.post(TRIGGER, json=body).json()
    begin_training(dagster.launch(Launch("weekly_cycle", {}, {LAUNCHED_BY: told["run_id"], REQUEST_TAG: TRIGGER})))
    current = client.get("/api/training/jobs/current").json()
    assert current["job_id"] == told["job_id"]
    begin_training(dagster.launch(Launch("weekly_cycle", {}, {})))
    ids = [job["job_id"] for job in client.get("/api/training/jobs/history").json()]
    assert told["job_id"] in ids
    assert len({*ids}) == 2
    dagster.down = True
    assert len(client.get("/api/training/jobs/history").json()) == 2
