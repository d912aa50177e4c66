"""Locks of files and names: one at a time, given up by a killed process, and taken again where Postgres went away."""

import multiprocessing
import os
import signal
import time

import pytest
import sqlalchemy as sa

from quantum_training.resources.locks import alone, own

FORK = multiprocessing.get_context("fork")


def append_slowly(url, name, file, order):
    with alone(url, name):
        for part in ("in", "out"):
            with file.open("a") as text:
                text.write(f"{order} {part}\n")
            time.sleep(0.05)


def test_one_process_at_a_time_by_name(url, tmp_path):
    file = tmp_path / "order"
    processes = [FORK.Process(target=append_slowly, args=(url, "a", file, n)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    said = file.read_text().split("\n")[:-1]
    assert len(said) == 8
    assert all(a.split()[0] == b.split()[0] for a, b in zip(said[::2], said[1::2], strict=True)), said
    assert not list(tmp_path.rglob("*.lock")), "a lock that nobody holds leaves nothing"


def test_another_name_does_not_wait(url):
    with alone(url, "a"), alone(url, "b"):
        pass


def hold(url, held):
    with alone(url, "a"):
        held.set()
        time.sleep(600)


def test_a_killed_process_lets_the_next_one_in(url):
    held = FORK.Event()
    holder = FORK.Process(target=hold, args=(url, held), daemon=True)
    holder.start()
    assert held.wait(60)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(10)
    began = time.monotonic()
    with alone(url, "a") as still:
        still()
    assert time.monotonic() - began < 5


def test_a_lock_that_went_with_its_connection_is_waited_for_again(postgres_url):
    """Postgres ends the connection of the first; the second comes in, and the first waits for it before it goes on."""
    engine = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    others = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"
    entered, left = FORK.Event(), FORK.Value("d", 0.0)

    def second():
        with alone(postgres_url, "a"):
            entered.set()
            time.sleep(1)
            left.value = time.monotonic()

    with alone(postgres_url, "a") as still:
        process = FORK.Process(target=second)
        process.start()
        time.sleep(0.5)
        assert not entered.is_set()
        with engine.connect() as connection:
            assert connection.exec_driver_sql(others).all() == [(True,)]
        assert entered.wait(60)
        still()
        assert 0 < left.value <= time.monotonic()
    process.join(10)
    assert process.exitcode == 0


def test_what_a_killed_writer_left_is_taken_over_and_goes(tmp_path):
    path = tmp_path / ".a.tmp"
    path.write_bytes(b"half")
    with own(path) as file:
        file.truncate(0)
        file.write(b"whole")
        file.flush()
        path.replace(tmp_path / "a")
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == {"a": b"whole"}
    with pytest.raises(KeyError), own(path):
        raise KeyError("in the middle")
    assert not path.exists()
