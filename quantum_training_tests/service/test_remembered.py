"""What was made from the store is made again after a write to what it was made from, and only then."""

import math
import os
import time

import pytest

from quantum_training.resources.store.store import Store
from quantum_training.service import remembered
from quantum_training.service.cached_store import CachedStore
from quantum_training.service.remembered import Memory

DAY, LATER = "2020-01-06", "2020-01-13"


@pytest.fixture
def writer(tmp_path):
    """The store that runs write; what it has written is settled."""
    store = Store(root=str(tmp_path))
    for asset in ("champion", "rollout"):
        store.write_record(asset, "AAA", DAY, {"number": 1})
        settle(tmp_path, asset)
    return store


def settle(root, asset):
    """The folder as if it had been written long ago."""
    then = time.time() - 3_600
    os.utime(root / asset / "AAA", (then, then))


@pytest.fixture
def counted(writer):
    """A function that tells the newest champion with its number, and how often it was made."""
    memory, store, made = Memory(10, math.inf), CachedStore(root=writer.root), []

    def make():
        made.append(1)
        period = store.periods("champion", "AAA", "json")[-1]
        return period, store.read_record("champion", "AAA", period)["number"]

    return lambda: (memory.made("newest", make), len(made))


def test_a_result_is_kept_until_its_folder_is_written(counted, writer, tmp_path):
    assert counted() == counted() == ((DAY, 1), 1)
    writer.write_record("rollout", "AAA", LATER, {"number": 2})
    assert counted() == ((DAY, 1), 1)
    writer.write_record("champion", "AAA", DAY, {"number": 2})
    assert counted()[0] == (DAY, 2)
    settle(tmp_path, "champion")
    assert counted()[0] == (DAY, 2)
    writer.write_record("champion", "AAA", LATER, {"number": 3})
    assert counted()[0] == (LATER, 3)
    (tmp_path / "champion/AAA" / f"{LATER}.json").unlink()
    assert counted()[0] == (DAY, 2)


def test_what_is_made_while_its_folder_is_written_is_not_kept(counted, writer):
    writer.write_record("champion", "AAA", DAY, {"number": 2})
    assert counted() == ((DAY, 2), 1)
    assert counted() == ((DAY, 2), 2)


def test_a_folder_that_does_not_exist_yet_is_one_that_it_depends_on(writer):
    memory, store = Memory(10, math.inf), CachedStore(root=writer.root)
    read = lambda: memory.made("signal", lambda: [*store.periods("signals", "AAA", "json")])  # noqa: E731
    assert read() == []
    writer.write_record("signals", "AAA", "latest", {})
    assert read() == ["latest"]


def test_a_result_depends_on_what_its_parts_depend_on(writer, counted):
    outer = Memory(10, math.inf)
    for _ in range(2):  # the part is made first, then recalled
        outer = Memory(10, math.inf)
        assert outer.made("page", lambda: counted()[0]) == (DAY, 1)
    writer.write_record("champion", "AAA", LATER, {"number": 2})
    assert outer.made("page", lambda: counted()[0]) == (LATER, 2)


def test_a_place_that_does_not_tell_when_it_was_written_is_asked_again(writer):
    memory, made = Memory(10, math.inf), []

    def make():
        remembered.note_unknown("s3://bucket/champion")
        made.append(1)
        return len(made)

    assert [memory.made("x", make), memory.made("x", make)] == [1, 2]


def test_memory_is_bounded_and_forgets_what_is_too_old(monkeypatch):
    memory = Memory(100, seconds=60.0)
    memory.keep("large", "x", 101, {})
    assert memory.recall("large") is None
    for number in range(3):
        memory.keep(number, "x", 40, {})
    assert [memory.recall(number) for number in range(3)] == [None, "x", "x"]
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert memory.recall(2) is None
