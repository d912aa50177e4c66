"""The key in a real Redis that shows that the service is alive."""

import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
import redis
from fastapi.testclient import TestClient

from quantum_training.lifecycle.training.events import TrainingJob
from quantum_training.resources.events.bus import EventBus
from quantum_training.service import heartbeat
from quantum_training.service.app import build_app
from quantum_training.service.state import State
from quantum_training_tests.service.conftest import BASE_URL
from quantum_training_tests.service.support import RecordingDagster
from quantum_training_tests.support.processes import wait_for


@pytest.fixture
def project(build_project, small, redis_server):
    return build_project({**small, "event_bus_url": redis_server.url})


def events_of(project):
    return EventBus(database_url=project.settings.database_url, url=project.settings.event_bus_url)


@pytest.fixture
def stored(redis_server):
    """`stored()`: the key's content and the seconds that it has left; None if there is no key."""

    def stored():
        with redis.Redis.from_url(redis_server.url) as client:
            text = client.get(heartbeat.KEY)
            return text and (json.loads(text), client.ttl(heartbeat.KEY))

    return stored


def test_the_key_is_there_while_the_service_runs_and_expires(project, stored):
    job = TrainingJob(events_of(project), "AAA", "xgboost", "run1/AAA|2020-01-06/xgboost")
    with job.publish_started("SCHEDULED", "weekly refresh"):
        job.publish_succeeded("m1", {}, 1.0)
    resources = {"events": events_of(project), "dagster": RecordingDagster()}
    with TestClient(build_app(project.settings, resources), base_url=BASE_URL):
        wait_for("the key", lambda: stored() is not None, 30)
    content, seconds = stored()
    assert 0 < seconds <= heartbeat.EXPIRY_SECONDS
    assert datetime.now(UTC) - datetime.fromisoformat(content["timestamp"]) < timedelta(minutes=1)
    assert content["status"] == "running"
    assert content["jobs"] == {"queued": 0, "running": 0, "completed": 1, "failed": 0}


def test_it_beats_again_after_an_outage_of_redis(project, stored, redis_server, caplog):
    state = State.of(project.settings, {"events": events_of(project), "dagster": RecordingDagster(down=True)})
    redis_server.kill()
    with caplog.at_level(logging.WARNING):
        heartbeat.beat(state)
    assert "no heartbeat" in caplog.text
    assert "secret" not in caplog.text
    redis_server.start()
    heartbeat.beat(state)
    assert stored()[0]["jobs"]["queued"] is None, "nobody knows without Dagster's webserver"


def test_without_redis_nothing_is_written(build_project, small, monkeypatch):
    monkeypatch.setattr(heartbeat, "beat", pytest.fail)
    project = build_project(small)
    with heartbeat.heartbeat(State.of(project.settings, {"events": events_of(project)})):
        pass
