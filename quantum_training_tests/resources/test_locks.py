"""Locks of files and names: one holder at a time, released by a killed process, taken again if Postgres goes away."""

import multiprocessing
import os
import signal
import time

import pytest
import sqlalchemy as sa

from quantum_training.resources.locks import exclusive_lock, file_lock

FORK = multiprocessing.get_context("fork")


def append_slowly(url, name, file, order):
    with exclusive_lock(url, name):
        for part in ("in", "out"):
            with file.open("a") as text:
                text.write(f"{order} {part}\n")
            time.sleep(0.05)


def test_one_process_at_a_time_holds_a_lock(url, tmp_path):
    file = tmp_path / "order"
    processes = [FORK.Process(target=append_slowly, args=(url, "a", file, n)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    lines = file.read_text().split("\n")[:-1]
    assert len(lines) == 8
    assert all(a.split()[0] == b.split()[0] for a, b in zip(lines[::2], lines[1::2], strict=True)), lines
    assert not list(tmp_path.rglob("*.lock")), "a lock that nobody holds leaves nothing"


def test_locks_of_different_names_do_not_wait(url):
    with exclusive_lock(url, "a"), exclusive_lock(url, "b"):
        pass


def hold(url, is_held):
    with exclusive_lock(url, "a"):
        is_held.set()
        time.sleep(600)


def test_a_killed_process_releases_its_lock(url):
    is_held = FORK.Event()
    holder = FORK.Process(target=hold, args=(url, is_held), daemon=True)
    holder.start()
    assert is_held.wait(60)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(10)
    began = time.monotonic()
    with exclusive_lock(url, "a") as assert_lock_held:
        assert_lock_held()
    assert time.monotonic() - began < 5


def test_a_lock_lost_with_its_connection_is_acquired_again(postgres_url):
    """Postgres ends the connection of the first; the second comes in, and the first waits for it before it goes on."""
    engine = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    others = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"
    entered, left = FORK.Event(), FORK.Value("d", 0.0)

    def second():
        with exclusive_lock(postgres_url, "a"):
            entered.set()
            time.sleep(1)
            left.value = time.monotonic()

    with exclusive_lock(postgres_url, "a") as assert_lock_held:
        process = FORK.Process(target=second)
        process.start()
        time.sleep(0.5)
        assert not entered.is_set()
        with engine.connect() as connection:
            assert connection.exec_driver_sql(others).all() == [(True,)]
        assert entered.wait(60)
        assert_lock_held()
        assert 0 < left.value <= time.monotonic()
    process.join(10)
    assert process.exitcode == 0


def test_the_file_of_a_killed_writer_is_taken_over_and_removed(tmp_path):
    path = tmp_path / ".a.tmp"
    path.write_bytes(b"half")
    with file_lock(path) as file:
        file.truncate(0)
        file.write(b"whole")
        file.flush()
        path.replace(tmp_path / "a")
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == {"a": b"whole"}
    with pytest.raises(KeyError), file_lock(path):
        raise KeyError("in the middle")
    assert not path.exists()
