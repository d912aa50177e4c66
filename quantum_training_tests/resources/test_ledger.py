"""The ledger on real SQLite and Postgres, with real processes that write at once and die in the middle."""

import multiprocessing
import os
import random
import signal
import time
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from quantum_training.resources.database import ledger as table
from quantum_training.resources.database import outbox, transaction
from quantum_training.resources.events.payloads import Promoted, event
from quantum_training.resources.ledger import Ledger, LedgerConflict
from quantum_training.selection.hash_chain import GENESIS, Entry, LedgerError

FORK = multiprocessing.get_context("fork")
WHEN = datetime(2024, 1, 8, tzinfo=UTC)


def entry(key, symbol="AAA", **changes):
    fields = {"kind": "promotion", "effective": WHEN, "actor": "rule", "reason": "better", "payload": {"margin": 0.1}}
    return Entry(symbol=symbol, key=str(key), **{**fields, **changes})


def promoted(cause, symbol="AAA"):
    payload = Promoted(
        model_type="xgboost",
        old_version=None,
        new_version="v1",
        promotion_reason="better",
        improvement_pct=None,
        promoted_at=WHEN,
    )
    return event(symbol, payload, str(cause))


def count(url, of):
    return transaction(url, lambda c: c.execute(sa.select(sa.func.count()).select_from(of)).scalar_one())


@pytest.fixture
def ledger(url):
    return Ledger(url=url)


def test_rows_come_back_as_they_were_written(ledger):
    payload = {"text": "ü\u2028\x00", "numbers": [0.1, 1e300, -0.0, 10**30, True, None], "deep": {"b": {}, "a": []}}
    written = ledger.append([entry(1, payload=payload), entry(2, kind="pin"), entry(1, symbol="BBB")])
    assert ledger.rows("AAA") == written[:2]
    assert ledger.rows("AAA")[0].model_dump_json() == written[0].model_dump_json()
    assert [row.number for row in written] == [1, 2, 1]
    assert ledger.rows("AAA", kinds=["pin"]) == written[1:2]
    assert ledger.rows("AAA", kinds=[]) == ledger.rows("ZZZ") == []
    assert (ledger.head("AAA"), ledger.head("ZZZ")) == (written[1].hash, GENESIS)
    ledger.verify("AAA", head=written[1].hash)
    ledger.verify("ZZZ")


def test_the_time_of_recording_is_stored_outside_the_hash(ledger, url):
    before = datetime.now(UTC)
    ledger.append([entry(1)])
    (recorded,) = transaction(url, lambda c: c.execute(sa.select(table.c.recorded_at)).one())
    assert before <= recorded.replace(tzinfo=recorded.tzinfo or UTC) <= datetime.now(UTC)


def test_a_key_is_written_once_and_its_row_never_changes(ledger, url):
    (first,) = ledger.append([entry(1)], [promoted(1)])
    again = ledger.append([entry(1, reason="another story"), entry(2), entry(2, reason="twice")], [promoted(1)])
    assert again[0] == first
    assert again[1] == again[2]
    assert [row.reason for row in ledger.rows("AAA")] == ["better", "better"]
    assert count(url, outbox) == 1


def test_another_head_than_expected_is_a_conflict_and_writes_nothing(ledger, url):
    ledger.append([entry(1)], expected_head=GENESIS)
    first_head = ledger.head("AAA")
    ledger.append([entry(2)], expected_head=first_head)
    with pytest.raises(LedgerConflict, match=f"AAA: the head is {ledger.head('AAA')}, not {first_head}: 3 was"):
        ledger.append([entry(1), entry(3)], [promoted(3)], expected_head=first_head)
    assert len(ledger.rows("AAA")) == 2
    assert count(url, outbox) == 0
    ledger.append([entry(3), entry(4)], expected_head=ledger.head("AAA"))
    with pytest.raises(ValueError, match="several symbols"):
        ledger.append([entry(5), entry(5, symbol="BBB")], expected_head=first_head)


def test_a_replay_is_no_conflict(ledger):
    rows = ledger.append([entry(1)], expected_head=GENESIS)
    assert ledger.append([entry(1)], expected_head=GENESIS) == rows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reason": "worse"}, r"row 2 \(2\), in place 2, does not follow from row 1 \(1\)"),
        ({"payload": '{"margin":0.2}'}, r"row 2 \(2\), in place 2"),
        ({"payload": "nonsense"}, "AAA: row 2 was changed: it is no row"),
        ({"effective": "never"}, "AAA: row 2 was changed: it is no row"),
        (None, r"row 3 \(3\), in place 2, does not follow from row 1 \(1\)"),
    ],
)
def test_a_row_changed_in_the_database_is_named(ledger, url, changes, message):
    ledger.append([entry(n) for n in (1, 2, 3)])
    where = table.c.number == 2
    change = table.delete().where(where) if changes is None else table.update().where(where).values(changes)
    transaction(url, lambda c: c.execute(change))
    with pytest.raises(LedgerError, match=message):
        ledger.verify("AAA")


def test_processes_that_append_at_once_leave_one_chain_without_gap_or_fork(ledger, url):
    writers, own = 4, 8
    gate = FORK.Barrier(writers)

    def write(name):
        gate.wait()
        for n in range(own):
            ledger.append([entry(f"{name}-{n}"), entry(f"shared-{n}", reason=str(name))], [promoted(f"{name}-{n}")])

    processes = [FORK.Process(target=write, args=(n,)) for n in range(writers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [p.exitcode for p in processes] == [0] * writers
    rows = ledger.rows("AAA")
    assert [row.number for row in rows] == list(range(1, writers * own + own + 1))
    assert len({row.key for row in rows}) == len(rows)
    assert count(url, outbox) == writers * own
    ledger.verify("AAA")


def test_of_processes_that_expect_the_same_head_one_wins(ledger):
    ledger.append([entry("start")])
    head, gate, results = ledger.head("AAA"), FORK.Barrier(4), FORK.Queue()

    def write(name):
        gate.wait()
        try:
            ledger.append([entry(name)], expected_head=head)
            results.put("written")
        except LedgerConflict:
            results.put("conflict")

    processes = [FORK.Process(target=write, args=(n,)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert sorted(results.get(timeout=10) for _ in processes) == ["conflict"] * 3 + ["written"]
    assert len(ledger.rows("AAA")) == 2


def test_a_writer_killed_at_any_moment_leaves_complete_and_all_confirmed_transactions(ledger, url):
    chance, confirmed = random.Random(7), 0
    for life in range(8):
        receiver, sender = FORK.Pipe(duplex=False)

        def write(life=life, sender=sender):
            for n in range(10_000):
                ledger.append([entry(f"{life}-{n}-{part}") for part in range(3)], [promoted(f"{life}-{n}")])
                sender.send_bytes(b".")

        process = FORK.Process(target=write)
        process.start()
        receiver.recv_bytes()
        time.sleep(chance.uniform(0, 0.05))
        os.kill(process.pid, signal.SIGKILL)
        process.join(10)
        sender.close()
        confirmed += 1
        while receiver.poll():
            try:
                confirmed += len(receiver.recv_bytes())
            except EOFError:
                break
        rows = ledger.rows("AAA")
        assert len(rows) % 3 == 0
        assert len(rows) == 3 * count(url, outbox)
        assert confirmed <= len(rows) // 3 <= confirmed + life + 1
        ledger.verify("AAA")
    ledger.append([entry("after")])
    assert len(ledger.rows("AAA")) >= 3 * confirmed + 1
