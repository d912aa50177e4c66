"""Events over a real redis-server: entries of a killed reader are delivered again, and an outage loses nothing."""

import json
import logging
import multiprocessing
import os
import signal
import time
from datetime import UTC, datetime

import pytest

from quantum_training.resources.events import redis_stream
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.payloads import (
    Event,
    Regressed,
    RetrainRequest,
    TrainingCompleted,
    TrainingStarted,
    event,
)
from quantum_training.resources.events.redis_stream import INBOX_STREAM, OUTBOX_STREAM, RedisError, RedisQueue
from quantum_training.resources.events.table_queue import TableQueue

FORK = multiprocessing.get_context("fork")
NOW = datetime(2024, 1, 8, tzinfo=UTC)


def retrain_request(cause):
    return event("AAA", RetrainRequest(requested_by="ann", reason="asked", requested_at=NOW), str(cause))


def regressed(cause):
    payload = Regressed(
        model_type="xgboost", failed_version="v2", rolled_back_to="v1", regression_reason="harm", regressed_at=NOW
    )
    return event("AAA", payload, str(cause))


def events_of(deliveries):
    return [Event.model_validate_json(d.text) for d in deliveries]


@pytest.fixture
def client(redis_server):
    import redis

    with redis.Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture
def bus(redis_server, tmp_path):
    return EventBus(database_url=f"sqlite:///{tmp_path}/bus.db", url=redis_server.url)


def test_each_consumer_gets_every_event_until_it_acknowledges_it(redis_server):
    queue = RedisQueue(redis_server.url, "s", reclaim_seconds=0)
    queue.publish(retrain_request(n) for n in range(3))
    first = queue.read("one", 2)
    assert events_of(first) == [retrain_request(0), retrain_request(1)]
    queue.acknowledge("one", [first[1].id])
    assert events_of(queue.read("one", 10)) == [retrain_request(0), retrain_request(2)]
    assert events_of(queue.read("two", 10)) == [retrain_request(0), retrain_request(1), retrain_request(2)]
    queue.acknowledge("one", [d.id for d in queue.read("one", 10)])
    queue.acknowledge("one", [])
    assert queue.read("one", 10) == []


def test_unacknowledged_entries_of_a_killed_reader_are_claimed_by_the_next(redis_server):
    queue = RedisQueue(redis_server.url, "s", reclaim_seconds=3600)
    queue.publish(retrain_request(n) for n in range(4))
    receiver, sender = FORK.Pipe(duplex=False)

    def work():
        taken = queue.read("one", 3)
        queue.acknowledge("one", [taken[0].id])
        sender.send(True)
        time.sleep(60)

    process = FORK.Process(target=work)
    process.start()
    receiver.recv()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert events_of(queue.read("one", 1)) == [retrain_request(3)], (
        "a living reader's entries are left to it for a while"
    )
    queue = RedisQueue(redis_server.url, "s", reclaim_seconds=0)
    assert events_of(queue.read("one", 10)) == [retrain_request(1), retrain_request(2), retrain_request(3)]


def test_our_events_reach_the_stream_once_and_in_order(bus, client):
    bus.outbox.publish([regressed(1), regressed(2)])
    bus.outbox.publish([regressed(2), regressed(3)])
    assert bus.outbox.relay() == 0
    entries = [fields[b"event"] for _, fields in client.xrange(OUTBOX_STREAM)]
    assert [Event.model_validate_json(e) for e in entries] == [regressed(n) for n in (1, 2, 3)]
    assert events_of(bus.outbox.queue().read("reader", 10)) == [regressed(n) for n in (1, 2, 3)]


def test_a_relay_killed_before_it_acknowledges_sends_the_same_event_ids_again(bus, client, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TableQueue, "acknowledge", die)
        with pytest.raises(KeyboardInterrupt):
            bus.outbox.publish([regressed(1)])
    assert bus.outbox.relay() == 1
    sent = [json.loads(fields[b"event"])["event_id"] for _, fields in client.xrange(OUTBOX_STREAM)]
    assert sent == [str(regressed(1).event_id)] * 2


def test_events_of_the_stream_are_read_once_and_junk_becomes_dead_letters(bus, client):
    good = retrain_request(1).model_dump_json()
    for fields in ({"event": "junk\x00"}, {"event": good}, {"other": b"\xff"}, {"event": good}):
        client.xadd(INBOX_STREAM, fields)
    assert bus.inbox.read("one") == [retrain_request(1)]
    assert [letter.raw for letter in bus.inbox.dead_letters()] == ["junk\\x00", '{"other": "\\\\xff"}']
    assert client.xpending(INBOX_STREAM, "relay")["pending"] == 0
    bus.inbox.acknowledge("one", [retrain_request(1)])
    client.xadd(INBOX_STREAM, {"event": good})
    assert bus.inbox.read("one") == []


def test_an_outage_keeps_events_for_later_and_is_named_without_the_password(bus, redis_server, monkeypatch, caplog):
    redis_server.kill()
    with caplog.at_level(logging.WARNING):
        bus.outbox.publish([regressed(1)])
    assert f"redis://:***@127.0.0.1:{redis_server.port}" in caplog.text
    for attempt in (bus.outbox.relay, lambda: bus.inbox.read("one")):
        with pytest.raises(RedisError, match="Start Redis or mend event_bus_url") as caught:
            attempt()
        assert "secret" not in str(caught.value)
    redis_server.start()
    assert bus.outbox.relay() == 1
    assert events_of(bus.outbox.queue().read("reader", 10)) == [regressed(1)]


def test_found_events_include_those_waiting_in_redis_and_survive_an_outage(bus, redis_server, client, caplog):
    client.xadd(INBOX_STREAM, {"event": retrain_request(1).model_dump_json()})
    assert bus.inbox.find(RetrainRequest.type, "AAA") == [retrain_request(1)]
    redis_server.kill()
    with caplog.at_level(logging.WARNING):
        assert bus.inbox.find(RetrainRequest.type, "AAA") == [retrain_request(1)]
    assert "events may wait in Redis" in caplog.text
    assert "secret" not in caplog.text


def test_entries_survive_a_crash_of_redis(bus, redis_server):
    bus.outbox.publish([regressed(1)])
    taken = bus.outbox.queue().read("reader", 10)
    redis_server.kill()
    redis_server.start()
    bus.outbox.publish([regressed(2)])
    queue = RedisQueue(redis_server.url, OUTBOX_STREAM, reclaim_seconds=0)
    assert [d.id for d in queue.read("reader", 10)][:1] == [d.id for d in taken]
    assert events_of(queue.read("reader", 10)) == [regressed(1), regressed(2)]


def test_a_redis_that_hangs_raises_after_a_bounded_time(bus, redis_server, monkeypatch):
    monkeypatch.setattr(redis_stream, "TIMEOUT_SECONDS", 0.1)
    os.kill(redis_server.process.pid, signal.SIGSTOP)
    start = time.monotonic()
    with pytest.raises(RedisError, match="Start Redis"):
        bus.inbox.read("one")
    assert time.monotonic() - start < 8
    os.kill(redis_server.process.pid, signal.SIGCONT)


def test_the_stream_keeps_about_its_newest_entries(redis_server, client, monkeypatch):
    monkeypatch.setattr(redis_stream, "MAX_LENGTH", 100)
    queue = RedisQueue(redis_server.url, "s")
    queue.publish(retrain_request(n) for n in range(1000))
    assert 100 <= client.xlen("s") < 300
    assert events_of(queue.read("one", 1000))[-1] == retrain_request(999)


def test_trainings_of_agents_are_told_in_the_streams_of_an_older_service_too(bus, client):
    start = {"model_type": "ppo", "trigger": "MANUAL", "reason": "a test", "started_at": NOW}
    end = {"model_version": "v1", "status": "succeeded", "completed_at": NOW, "duration_seconds": 9.5}
    failed = {"model_version": None, "status": "failed", "completed_at": NOW, "duration_seconds": None}
    rewards = {"avg_reward": 0.25, "final_reward": 0.5, "episodes": 12.0}
    payloads = [
        TrainingStarted(job_id="run1/AAA|2020-01-06/ppo", episodes=10, **start),
        TrainingCompleted(job_id="run1/AAA|2020-01-06/ppo", episodes=12, metrics=rewards, **end),
        TrainingStarted(job_id="run2/AAA|2020-01-06/ppo", episodes=10, **start),
        TrainingCompleted(job_id="run2/AAA|2020-01-06/ppo", episodes=10, metrics={}, **failed),
        TrainingStarted(job_id="run3/AAA|2020-01-06/xgboost", **start),
        TrainingCompleted(job_id="run3/AAA|2020-01-06/xgboost", metrics={}, **end),
    ]
    bus.outbox.publish([event("AAA", payload, payload.job_id) for payload in payloads])

    def entries(stream):
        return [{k.decode(): v.decode() for k, v in fields.items()} for _, fields in client.xrange(stream)]

    time = NOW.isoformat()
    assert entries("rl_v3.training.started") == [
        {"run_id": run, "episodes": "10", "timestamp": time} for run in ("run1", "run2")
    ]
    assert entries("rl_v3.training.completed") == [
        {
            "run_id": "run1",
            "success": "true",
            "episodes": "12",
            "duration_seconds": "9.5",
            "avg_reward": "0.25",
            "final_reward": "0.5",
            "timestamp": time,
        },
        {"run_id": "run2", "success": "false", "episodes": "10", "timestamp": time},
    ]
    assert client.xlen(OUTBOX_STREAM) == len(payloads)
