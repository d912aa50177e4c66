"""Streams of a real server: new events and progress come as they happen, and nobody is waited for."""

import asyncio
import json
import time
from contextlib import ExitStack

import httpx
import pandas as pd
import pytest

from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.payloads import TrainingStarted, event
from quantum_training.service.app import build_app
from quantum_training.service.dagster_client import Launch
from quantum_training.service.streaming import changes, feed
from quantum_training.service.streaming.changes import Message
from quantum_training_tests.service.support import RecordingDagster, serving
from quantum_training_tests.support.processes import wait_for


@pytest.fixture
def dagster():
    return RecordingDagster()


@pytest.fixture
def app(empty_settings, monkeypatch, dagster):
    """The app over a home in which nothing is stored, which looks often."""
    monkeypatch.setattr(feed, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(changes, "RUNS_EVERY_SECONDS", 0.05)
    return build_app(empty_settings, {"dagster": dagster})


@pytest.fixture
def address(app):
    with serving(app) as address:
        yield address


class Stream:
    """A connected client. Text that was sent is read as messages: kind, id and content."""

    def __init__(self, address, last_event_id=None):
        self._stack = ExitStack()
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        client = self._stack.enter_context(httpx.Client(timeout=20))
        request = client.stream("GET", f"{address}/api/v2/stream", headers=headers)
        self.response = self._stack.enter_context(request)
        self._lines = self.response.iter_lines()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()

    def next(self):
        fields = {}
        for line in self._lines:
            if not line and fields:
                return fields["event"], fields.get("id"), json.loads(fields["data"])
            name, _, value = line.partition(": ")
            if name:
                fields[name] = value
        return None


def publish(job):
    start = {"model_type": "logistic", "trigger": "MANUAL", "reason": "a test", "started_at": pd.Timestamp.now("UTC")}
    sent = event("AAA", TrainingStarted(job_id=job, **start), job)
    EventBus().outbox.publish([sent])
    return str(sent.event_id)


def connected(app, clients):
    """Wait until so many clients follow and what was there before is known."""
    wait_for("clients", lambda: len(app.state.feed._clients) == clients, 20)
    time.sleep(0.5)


def test_every_client_gets_an_event_once_when_it_happens(app, address):
    publish("before")
    with Stream(address) as one, Stream(address) as other:
        connected(app, 2)
        ids = [publish(f"job {n}") for n in range(3)]
        for stream in (one, other):
            assert stream.response.headers["content-type"].startswith("text/event-stream")
            messages = [stream.next() for _ in ids]
            assert [(kind, id_) for kind, id_, _ in messages] == [("event", id_) for id_ in ids]
            assert [row["payload"]["job_id"] for _, _, row in messages] == ["job 0", "job 1", "job 2"]


def test_a_client_that_comes_again_gets_what_it_missed(app, address):
    ids = [publish(f"job {n}") for n in range(3)]
    with Stream(address, ids[0]) as stream:
        assert [stream.next()[1] for _ in range(2)] == ids[1:]
    wait_for("end", lambda: not app.state.feed._clients, 20)
    wait_for("rest", lambda: app.state.feed._task is None, 20)


def test_progress_of_a_run_comes_when_it_changes_and_when_the_run_is_over(app, address, dagster):
    with Stream(address) as stream:
        connected(app, 1)
        run_id = dagster.launch(Launch("retrain", {}, {"symbol": "AAA"}))
        kind, id_, progress = stream.next()
        assert (kind, id_, progress["run_id"], progress["is_over"]) == ("run", None, run_id, False)
        dagster.lines.append("[episode 5/10] step 1,000/2,000, mean reward 0.5, policy loss -0.1, 90 steps/s")
        _, _, progress = stream.next()
        assert (progress["percent"], progress["episode"]) == (50.0, 5)
        assert progress["metrics"] == {"mean_reward": 0.5, "policy_loss": -0.1}
        dagster.end(run_id, "SUCCESS")
        assert stream.next()[2]["is_over"]


def test_an_outage_of_the_webserver_keeps_no_event_back(app, address, dagster):
    dagster.down = True
    with Stream(address) as stream:
        connected(app, 1)
        id_ = publish("job")
        assert stream.next()[1] == id_


@pytest.mark.parametrize(("sent", "got"), [(2, 2), (3, 0)])
def test_a_client_that_reads_too_slowly_is_let_go(monkeypatch, app, sent, got):
    monkeypatch.setattr(feed, "MOST_WAITING", 2)
    clients = app.state.feed

    async def read_late():
        messages = clients.messages(None)
        reading = asyncio.create_task(_all(messages))
        await asyncio.sleep(0)
        clients._send([Message("event", str(number)) for number in range(sent)])
        await asyncio.sleep(0)
        clients.close()
        return await reading

    assert len(asyncio.run(read_late())) == got


async def _all(messages):
    return [message async for message in messages]


def test_too_many_clients_are_refused(monkeypatch, app, address):
    monkeypatch.setattr(feed, "MOST_CLIENTS", 1)
    with Stream(address):
        connected(app, 1)
        answer = httpx.get(f"{address}/api/v2/stream", timeout=20)
        assert answer.status_code == 503
        assert "at most 1 clients" in answer.json()["rule"]


def test_a_server_that_stops_waits_for_no_stream(app):
    with ExitStack() as clients:
        with serving(app) as address:
            stream = clients.enter_context(Stream(address))
            connected(app, 1)
            began = time.monotonic()
        assert time.monotonic() - began < 10
        assert stream.next() is None
