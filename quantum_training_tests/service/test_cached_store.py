"""The store of the service answers from memory what has not changed, and every change at once."""

import os
import time

import pytest

from quantum_training.resources.store.store import Store
from quantum_training.service.cached_store import CachedStore

WEEKS = ["2020-01-06", "2020-01-13"]


@pytest.fixture
def stores(tmp_path):
    """The store that runs write, and that of the service, which has read both weeks."""
    writer, reader = Store(root=str(tmp_path)), CachedStore(root=str(tmp_path))
    for number, week in enumerate(WEEKS):
        writer.write_record("champion", "AAA", week, {"number": number})
    settle(tmp_path)
    assert reader.read_records("champion", "AAA") == {WEEKS[0]: {"number": 0}, WEEKS[1]: {"number": 1}}
    return writer, reader


def settle(root):
    """The folder as if it had been written long ago."""
    then = time.time() - 3_600
    os.utime(root / "champion/AAA", (then, then))


def test_what_did_not_change_is_neither_listed_nor_read_again(stores, monkeypatch):
    _, reader = stores

    def fail(*args, **kwargs):
        raise AssertionError("asked again")

    monkeypatch.setattr(os, "scandir", fail)
    monkeypatch.setattr(Store, "read_record", fail)
    assert reader.read_record("champion", "AAA", WEEKS[1]) == {"number": 1}
    assert [*reader.read_records("champion", "AAA", WEEKS[0])] == [WEEKS[0]]


@pytest.mark.parametrize("settled", [True, False])
def test_a_week_that_is_written_again_added_or_removed_is_seen_at_once(stores, tmp_path, settled):
    writer, reader = stores

    def pause():
        if settled:
            settle(tmp_path)
            reader.read_records("champion", "AAA")

    for number in range(5):
        pause()
        writer.write_record("champion", "AAA", WEEKS[1], {"number": 10 + number})
        assert reader.read_record("champion", "AAA", WEEKS[1]) == {"number": 10 + number}
    pause()
    writer.write_record("champion", "AAA", "2020-01-20", {"number": 2})
    assert [*reader.read_records("champion", "AAA")] == [*WEEKS, "2020-01-20"]
    pause()
    (tmp_path / f"champion/AAA/{WEEKS[0]}.json").unlink()
    assert [*reader.read_records("champion", "AAA")] == [WEEKS[1], "2020-01-20"]


def test_a_symbol_without_records_has_none(stores):
    _, reader = stores
    assert reader.read_records("champion", "BBB") == {}
    assert reader.stamps("champion", "BBB") == {}
