"""The event bus over SQLite and Postgres: each event is stored once, each consumer gets it; junk is a dead letter."""

import json
import multiprocessing
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select

from quantum_training.resources.database import acknowledged, dead_letters, inbox, outbox, transaction
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.payloads import Event, MetricsUpdated, Regressed, RetrainRequest, event
from quantum_training.resources.events.table_queue import RAW_LIMIT
from quantum_training.resources.ledger import Ledger
from quantum_training.selection.hash_chain import Entry

FORK = multiprocessing.get_context("fork")
NOW = datetime(2024, 1, 8, tzinfo=UTC)


def retrain_request(cause, reason="asked"):
    return event("AAA", RetrainRequest(requested_by="ann", reason=reason, requested_at=NOW), str(cause))


def regressed(cause):
    payload = Regressed(
        model_type="xgboost", failed_version="v2", rolled_back_to="v1", regression_reason="harm", regressed_at=NOW
    )
    return event("AAA", payload, str(cause))


def receive(bus, *events):
    bus.inbox.receive(e.model_dump_json() for e in events)


@pytest.fixture
def bus(url):
    return EventBus(database_url=url)


def test_publishing_twice_stores_one_event(bus):
    bus.outbox.publish([regressed(1), regressed(1), regressed(2)])
    bus.outbox.publish([regressed(2), regressed(3)])
    stored = bus.outbox.queue().read("reader", 10)
    assert [Event.model_validate_json(d.text) for d in stored] == [regressed(n) for n in (1, 2, 3)]


def test_the_newest_events_are_shown_and_those_that_wait_are_counted(bus):
    bus.outbox.publish(regressed(n) for n in range(4))
    assert [d.id for d in bus.outbox.newest(2)] == [str(regressed(n).event_id) for n in (3, 2)]
    assert bus.outbox.newest(9, ["model.promoted"]) == bus.outbox.newest(9, symbols=["BBB"]) == []
    assert len(bus.outbox.newest(9, ["model.regressed"], ["AAA"])) == bus.outbox.pending() == 4
    assert bus.inbox.dead_letter_count() == 0
    bus.inbox.receive(["no event"])
    bus.inbox.read("reader")
    assert bus.inbox.dead_letter_count() == 1


def test_an_event_type_of_the_inbox_is_not_published(bus):
    with pytest.raises(ValueError, match=r"manual\.retrain_request: not sent by this project"):
        bus.outbox.publish([regressed(1), retrain_request(1)])
    assert bus.outbox.queue().read("reader", 10) == []


def test_an_event_stored_with_a_ledger_row_is_in_the_outbox(bus, url):
    entry = Entry(symbol="AAA", key="1", kind="rollback", effective=NOW, actor="rule", reason="harm")
    Ledger(url=url).append([entry], [regressed(1)])
    bus.outbox.publish([regressed(1)])
    assert len(bus.outbox.queue().read("reader", 10)) == 1


def test_each_consumer_gets_every_event_until_it_acknowledges_it(bus):
    receive(bus, *(retrain_request(n) for n in range(5)))
    assert bus.inbox.read("one", 2) == bus.inbox.read("one", 2) == [retrain_request(0), retrain_request(1)]
    bus.inbox.acknowledge("one", [retrain_request(1), retrain_request(3)])
    assert bus.inbox.read("one") == [retrain_request(0), retrain_request(2), retrain_request(4)]
    assert len(bus.inbox.read("two")) == 5
    bus.inbox.acknowledge("one", bus.inbox.read("one"))
    bus.inbox.acknowledge("one", [retrain_request(0)])
    assert bus.inbox.read("one") == []
    rows_before_the_cursor = transaction(bus.database_url, lambda c: c.execute(acknowledged.select()).all())
    assert rows_before_the_cursor == [], "acknowledgements before the cursor are deleted"


def test_a_repeated_event_id_is_dropped_even_with_another_payload(bus):
    receive(bus, retrain_request(1))
    bus.inbox.acknowledge("one", bus.inbox.read("one"))
    receive(bus, retrain_request(1), retrain_request(1, reason="another reason"), retrain_request(2))
    assert bus.inbox.read("one") == [retrain_request(2)]
    assert bus.inbox.read("two") == [retrain_request(1), retrain_request(2)]


def test_events_of_a_symbol_are_found_without_being_consumed(bus):
    payload = MetricsUpdated(model_type="a", metrics={"sharpe": None}, measured_at=NOW)
    events = [event(symbol, payload, str(n)) for n, symbol in enumerate(("AAA", "BBB", "AAA"))]
    receive(bus, events[2], retrain_request(1), events[1], events[0])
    bus.inbox.acknowledge("one", bus.inbox.read("one", 1))
    for _ in range(2):
        assert bus.inbox.find(MetricsUpdated.type, "AAA") == [events[2], events[0]]
    assert bus.inbox.find(MetricsUpdated.type, "CCC") == []
    assert bus.inbox.read("one") == [retrain_request(1), events[1], events[0]]
    assert len(bus.inbox.read("two")) == 4


JUNK = [
    "no json \x00 at all",
    "{}",
    '{"a": "\ud800"}',
    "[" * 100_000,
    regressed(1).model_dump_json(),
    retrain_request(1).model_dump_json().replace('"schema_version":1', '"schema_version":2'),
    retrain_request(1).model_dump_json().replace("2024-01-08T00:00:00Z", "0001-01-01T00:00:00+14:00"),
]


def test_an_unreadable_event_is_a_dead_letter_with_a_reason_and_stops_no_other(bus):
    bus.inbox.receive([*JUNK, retrain_request(1).model_dump_json(), *JUNK])
    letters = bus.inbox.dead_letters()
    assert bus.inbox.read("one") == [retrain_request(1)]
    assert len(letters) == len(JUNK)
    reasons = [letter.reason for letter in letters]
    expected = [
        "Invalid JSON",
        "Field required",
        "",
        "",
        "not taken from outside",
        "schema_version",
        "9999 in UTC",
    ]
    for reason, message in zip(reasons, expected, strict=True):
        assert message in reason
    assert letters[0].raw == "no json \\x00 at all"
    assert letters[1].raw == "{}"
    assert all(reasons)


def bodies(bus, table):
    return transaction(bus.database_url, lambda c: dict(c.execute(select(table.c.event_id, table.c.body)).all()))


def test_pruning_empties_events_that_all_consumers_acknowledged_and_still_drops_repeats(bus):
    receive(bus, *(retrain_request(n) for n in range(4)))
    bus.inbox.acknowledge("one", bus.inbox.read("one"))
    bus.inbox.acknowledge("two", bus.inbox.read("two", 2))
    assert bus.prune(datetime.now(UTC)) == 2
    assert bus.prune(datetime.now(UTC)) == 0
    stored_bodies = bodies(bus, inbox)
    assert [stored_bodies[str(retrain_request(n).event_id)] == "" for n in range(4)] == [True, True, False, False]
    receive(bus, *(retrain_request(n) for n in range(4)))
    assert bodies(bus, inbox) == stored_bodies
    assert bus.inbox.read("one") == []
    assert bus.inbox.read("two") == bus.inbox.read("a new one") == [retrain_request(2), retrain_request(3)]
    receive(bus, retrain_request(4))
    bus.inbox.acknowledge("a new one", bus.inbox.read("a new one"))
    assert bus.inbox.read("one") == [retrain_request(4)]
    assert bus.prune(datetime.now(UTC)) == 0, "two has not read them"
    bus.inbox.acknowledge("two", bus.inbox.read("two"))
    bus.inbox.acknowledge("one", bus.inbox.read("one"))
    assert bus.prune(datetime.now(UTC)) == 3


def test_a_pruned_event_of_a_week_that_runs_again_is_not_published_again(bus, url):
    bus.outbox.publish([regressed(1)])
    reader = bus.outbox.queue()
    reader.acknowledge("reader", [d.id for d in reader.read("reader", 9)])
    assert bus.prune(datetime.now(UTC)) == 1
    entry = Entry(symbol="AAA", key="1", kind="rollback", effective=NOW, actor="rule", reason="harm")
    Ledger(url=url).append([entry], [regressed(1)])
    bus.outbox.publish([regressed(1), regressed(2)])
    assert [d.id for d in reader.read("reader", 9)] == [str(regressed(2).event_id)]
    assert [d.id for d in reader.read("another", 9)] == [str(regressed(2).event_id)]


def test_a_pruned_event_is_no_longer_found(bus):
    receive(bus, retrain_request(1))
    bus.inbox.acknowledge("one", bus.inbox.read("one"))
    assert bus.inbox.find(retrain_request(1).type, retrain_request(1).symbol) == [retrain_request(1)]
    assert bus.prune(datetime.now(UTC)) == 1
    assert bus.inbox.find(retrain_request(1).type, retrain_request(1).symbol) == []


def test_pruning_keeps_the_last_metrics_of_each_recipe_and_week(bus):
    def measured(recipe, day, cause):
        payload = MetricsUpdated(model_type=recipe, metrics={"sharpe": 1.0}, measured_at=NOW + timedelta(days=day))
        return event("AAA", payload, str(cause))

    first, tied, second, other = (
        measured("xgboost", 2, 1),
        measured("xgboost", 2, 2),
        measured("xgboost", 9, 3),
        measured("lightgbm", 0, 4),
    )
    receive(bus, measured("xgboost", 6, 5), first, tied, second, other, measured("xgboost", 7, 6))
    bus.inbox.acknowledge("one", bus.inbox.read("one"))
    assert bus.prune(datetime.now(UTC)) == 3
    newest_of_each_week = [measured("xgboost", 6, 5), second, other]
    assert bus.inbox.find(MetricsUpdated.type, "AAA") == newest_of_each_week
    assert bus.prune(datetime.now(UTC)) == 0
    later = measured("xgboost", 6, 7)
    receive(bus, later)
    bus.inbox.acknowledge("one", bus.inbox.read("one"))
    assert bus.prune(datetime.now(UTC)) == 1
    assert bus.inbox.find(MetricsUpdated.type, "AAA") == [second, other, later]


def test_pruning_keeps_unacknowledged_and_recent_events(bus):
    bus.outbox.publish([regressed(1)])
    receive(bus, retrain_request(1))
    assert bus.prune(datetime.now(UTC)) == 0
    bus.inbox.acknowledge("one", bus.inbox.read("one"))
    hour, east = timedelta(hours=1), timezone(timedelta(hours=9))
    assert bus.prune(datetime.now(east) - hour) == 0
    assert "" not in bodies(bus, inbox).values()
    assert bus.prune(datetime.now(east)) == 1
    assert "" not in bodies(bus, outbox).values()
    with pytest.raises(ValueError, match="no time zone"):
        bus.prune(datetime(2024, 1, 8))


@pytest.mark.long
@hypothesis_settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps)))
def test_no_text_stops_the_inbox(postgres_bus, texts):
    postgres_bus.inbox.receive([*texts, retrain_request("good").model_dump_json()])
    assert postgres_bus.inbox.read("one") == [retrain_request("good")]


@hypothesis_settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_unacknowledged_events_are_read_in_order_whatever_was_acknowledged(tmp_path_factory, data):
    bus = EventBus(database_url=f"sqlite:///{tmp_path_factory.mktemp('bus')}/a.db")
    waiting, sent = [], 0
    for _ in range(data.draw(st.integers(1, 6))):
        new = [retrain_request(sent + n) for n in range(data.draw(st.integers(0, 4)))]
        sent += len(new)
        receive(bus, *new)
        waiting += new
        assert bus.inbox.read("one") == waiting
        done = data.draw(st.lists(st.sampled_from(waiting), unique_by=lambda e: e.event_id)) if waiting else []
        bus.inbox.acknowledge("one", done)
        waiting = [e for e in waiting if e not in done]
    assert bus.inbox.read("one") == waiting


@pytest.fixture
def postgres_bus(postgres_url):
    return EventBus(database_url=postgres_url)


def test_old_dead_letters_are_deleted_and_a_dry_run_counts_them(bus):
    bus.inbox.receive(JUNK)
    now = datetime.now(UTC)
    assert bus.prune(now - timedelta(hours=1)) == 0
    assert bus.prune(now + timedelta(hours=1), dry_run=True) == len(bus.inbox.dead_letters()) == len(JUNK)
    assert bus.prune(now + timedelta(hours=1)) == len(JUNK)
    assert bus.inbox.dead_letters() == []


def test_a_dead_letter_is_of_bounded_length(bus):
    bus.inbox.receive(["x" * (2 * RAW_LIMIT)])
    assert len(bus.inbox.dead_letters()[0].raw) == RAW_LIMIT


def test_invalid_rows_of_other_writers_in_the_inbox_table_become_dead_letters(bus, url):
    def foreign(event_id, body):
        return {"event_id": event_id, "type": "t", "symbol": "s", "body": body}

    rows = [foreign(str(n), "junk" + str(n)) for n in range(5)] + [
        foreign("other-id", retrain_request(1).model_dump_json())
    ]
    transaction(url, lambda c: c.execute(inbox.insert(), rows))
    receive(bus, retrain_request(2))
    assert bus.inbox.read("one", 2) == [retrain_request(2)]
    assert bus.inbox.read("two", 100) == [retrain_request(2)]
    letters = bus.inbox.dead_letters()
    assert len(letters) == 6
    assert "is not the one it is stored under, other-id" in letters[-1].reason
    assert transaction(url, lambda c: len(c.execute(dead_letters.select()).all())) == 6


def test_processes_that_publish_the_same_events_at_once_store_each_once(bus):
    gate = FORK.Barrier(4)

    def publish(name):
        gate.wait()
        for n in range(10):
            bus.outbox.publish([regressed(f"shared-{n}"), regressed(f"{name}-{n}")])

    processes = [FORK.Process(target=publish, args=(n,)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [p.exitcode for p in processes] == [0] * 4
    ids = [d.id for d in bus.outbox.queue().read("reader", 1000)]
    assert len(ids) == len(set(ids)) == 50


def test_a_row_committed_late_is_not_skipped(postgres_bus, postgres_url):
    """On Postgres a lower number can be committed after a higher one; a cursor would lose it."""
    import sqlalchemy as sa

    postgres_bus.inbox.read("one")
    slow = sa.create_engine(postgres_url, poolclass=sa.NullPool)
    with slow.begin() as connection:
        body = retrain_request("slow")
        connection.execute(
            inbox.insert().values(
                event_id=str(body.event_id), type=body.type, symbol=body.symbol, body=body.model_dump_json()
            )
        )
        receive(postgres_bus, retrain_request("fast"))
        postgres_bus.inbox.acknowledge("one", postgres_bus.inbox.read("one"))
    assert postgres_bus.inbox.read("one") == [retrain_request("slow")]
