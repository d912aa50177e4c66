"""The Parquet store: what is written comes back, a write is whole or was never there, and a re-run changes nothing."""

import hashlib
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quantum_training.resources.store import store as store_module
from quantum_training.resources.store.files import CACHE_BYTES
from quantum_training.resources.store.store import Store, StoreError, content_hash

PLACE = ("scores", "AAA", "2024-01-01")
KILLED_WHILE_WRITING = """
import os, random, signal, sys, time
from pathlib import Path
from quantum_training.resources.store.store import Store

store = Store(root=sys.argv[1])
random.seed(1)
versions = ["a" * 3_000_000, "b" * 3_000_000]
file = Path(store.write_record("big", "AAA", "2024-01-01", {"v": versions[0]}).path)
whole = {file.read_bytes(), store.write_record("big", "AAA", "2024-01-01", {"v": versions[1]}) and file.read_bytes()}
assert len(whole) == 2
seen = set()
for number in range(500):
    if number >= 25 and seen == whole:
        break
    child = os.fork()
    if child == 0:
        while True:
            for version in versions:
                store.write_record("big", "AAA", "2024-01-01", {"v": version})
    time.sleep(0.01 + 0.06 * random.random())
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert file.read_bytes() in whole, "torn file"
    seen.add(file.read_bytes())
assert seen == whole, "no child wrote"
left = [f.name for f in file.parent.iterdir() if f != file]
assert len(left) <= 1, f"each kill leaves a file of its own: {left}"
"""


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    return Store(root=str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def local(tmp_path):
    return Store(root=str(tmp_path / "store"))


def frame(first="2024-01-01", rows=5, scale=1.0, tz="UTC", unit="ns"):
    index = pd.date_range(first, periods=rows, freq="4h", tz=tz, name="open_time").as_unit(unit)
    columns = {
        "close": np.arange(rows) * scale,
        "strategy": [f"s{i}" for i in range(rows)],
        "trades": np.arange(rows),
        "held": np.arange(rows) % 2 == 0,
        "seen": index + pd.Timedelta(hours=4),
    }
    return pd.DataFrame(columns, index)


@pytest.mark.parametrize("tz", ["UTC", "America/New_York", None])
@pytest.mark.parametrize("unit", ["ns", "us"])
def test_a_frame_comes_back_as_it_was(store, tz, unit):
    one = frame(tz=tz, unit=unit)
    one.iloc[2, 0] = np.nan
    written = store.write_frame(*PLACE, one)
    pd.testing.assert_frame_equal(store.read_frame(*PLACE), one, check_freq=False)
    assert written.changed
    assert written.content_hash == content_hash(one) == content_hash(store.read_frame(*PLACE))


def test_a_record_comes_back_as_it_was(store):
    record = {"week": "2024-01-01", "numbers": [1, 2.5, None], "nested": {"a": {"b": "c"}}, "text": "Zürich"}
    store.write_record(*PLACE, record)
    assert store.read_record(*PLACE) == record
    assert store.read_record("scores", "AAA", "2024-01-08") is None


def test_a_text_lies_beside_the_frame_of_its_period_and_is_no_period_of_frames(local):
    written = local.write_text("backtest", "AAA", "2024-01-01", "html", "<p>résumé</p>")
    assert written.path.endswith("backtest/AAA/2024-01-01.html")
    assert Path(written.path).read_bytes() == "<p>résumé</p>".encode()
    assert not local.write_text("backtest", "AAA", "2024-01-01", "html", "<p>résumé</p>").changed
    assert local.periods("backtest", "AAA") == []


def test_a_text_is_read_back_and_the_stamp_of_a_file_changes_with_every_write(store):
    assert store.read_text("backtest", "AAA", "2024-01-01", "html") is None
    assert store.stamps("backtest", "AAA", "html") == {}
    store.write_text("backtest", "AAA", "2024-01-08", "html", "<p>résumé</p>")
    store.write_text("backtest", "AAA", "2024-01-01", "html", "<p>résumé</p>")
    assert store.read_text("backtest", "AAA", "2024-01-01", "html") == "<p>résumé</p>"
    before = store.stamps("backtest", "AAA", "html")
    assert [*before] == ["2024-01-01", "2024-01-08"]
    store.write_text("backtest", "AAA", "2024-01-08", "html", "<p>RÉSUMÉ</p>")
    after = store.stamps("backtest", "AAA", "html")
    assert (after["2024-01-01"] == before["2024-01-01"], after["2024-01-08"] == before["2024-01-08"]) == (True, False)


def test_an_empty_frame_keeps_its_columns(store):
    store.write_frame(*PLACE, frame().iloc[:0])
    pd.testing.assert_frame_equal(store.read_frame(*PLACE), frame().iloc[:0], check_freq=False)


def test_the_same_bytes_are_not_written_again(local):
    written = [local.write_frame(*PLACE, frame(), {"covered_until": "x"}), local.write_record(*PLACE, {"a": 1})]
    before = [os.stat(w.path) for w in written]
    again = [local.write_frame(*PLACE, frame(), {"covered_until": "x"}), local.write_record(*PLACE, {"a": 1})]
    assert [w.changed for w in written + again] == [True, True, False, False]
    assert [w._replace(changed=True) for w in again] == written
    assert [(s.st_mtime_ns, s.st_ino) for s in before] == [
        (s.st_mtime_ns, s.st_ino) for s in map(os.stat, (w.path for w in written))
    ]
    assert local.write_record(*PLACE, {"a": 2}).changed
    assert local.write_frame(*PLACE, frame(), {"covered_until": "y"}).changed


def test_the_same_frame_gives_the_same_file_in_two_stores(tmp_path):
    files = [Store(root=str(tmp_path / name)).write_frame(*PLACE, frame()).path for name in ("one", "two")]
    assert Path(files[0]).read_bytes() == Path(files[1]).read_bytes()


@pytest.mark.parametrize("broken", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize(
    ("error", "raised"), [(OSError("disk is full"), StoreError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_a_failing_write_leaves_the_old_file_and_no_temporary_file(local, monkeypatch, broken, error, raised):
    old = local.write_frame(*PLACE, frame())
    data = Path(old.path).read_bytes()

    def fail(*args):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(broken, fail)
        with pytest.raises(raised):
            local.write_frame(*PLACE, frame(scale=2.0))
        with pytest.raises(raised):
            local.write_record("scores", "AAA", "2024-01-08", {"a": 1})
    assert Path(old.path).read_bytes() == data
    pd.testing.assert_frame_equal(local.read_frame(*PLACE), frame(), check_freq=False)
    assert [f.name for f in Path(old.path).parent.iterdir()] == ["2024-01-01.parquet"]
    assert local.write_frame(*PLACE, frame(scale=2.0)).changed


def test_a_process_killed_while_writing_leaves_a_complete_file(tmp_path):
    """A real process, 25 real kills or more; every time one of the two versions is there, every byte of it."""
    command = [sys.executable, "-c", KILLED_WHILE_WRITING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    store = Store(root=str(tmp_path))
    assert set(store.read_record("big", "AAA", "2024-01-01")["v"]) in ({"a"}, {"b"})
    assert store.periods("big", "AAA", "json") == ["2024-01-01"], "what a kill leaves behind is no period"
    assert store.write_record("big", "AAA", "2024-01-01", {"v": "c"}).changed
    assert [f.name for f in (tmp_path / "big" / "AAA").iterdir()] == ["2024-01-01.json"], "the next write clears up"


def test_a_temporary_file_of_a_killed_write_is_no_period(local):
    folder = Path(local.write_frame(*PLACE, frame()).path).parent
    (folder / ".2024-02-01.parquet.abc.tmp").write_bytes(b"half")
    (folder / ".2024-03-01.parquet").write_bytes(b"hidden")
    assert local.periods("scores", "AAA") == ["2024-01-01"]
    assert len(local.read_frames("scores", "AAA", "2024-01-01", "2024-12-01")) == 5


def test_periods_are_read_in_order_and_within_both_ends(store):
    for month in (3, 1, 4, 2):
        store.write_frame("candles", "AAA", f"2024-0{month}-01", frame(f"2024-0{month}-01"))
        store.write_record("model", "AAA", f"2024-0{month}-01", {"month": month})
    store.write_frame("candles", "AAAB", "2024-02-01", frame("2030-01-01"))
    got = store.read_frames("candles", "AAA", "2024-02-01", "2024-03-01")
    assert sorted(set(got.index.month)) == [2, 3]
    assert got.index.is_monotonic_increasing
    assert got.index.dtype == "datetime64[ns, UTC]"
    pd.testing.assert_frame_equal(got, pd.concat([frame("2024-02-01"), frame("2024-03-01")]), check_freq=False)
    assert store.periods("candles", "AAA") == ["2024-01-01", "2024-02-01", "2024-03-01", "2024-04-01"]
    assert [r["month"] for r in store.read_records("model", "AAA", "2024-03-01").values()] == [1, 2, 3]
    assert list(store.read_records("model", "AAA")) == store.periods("model", "AAA", "json")


def test_missing_data_is_named_with_a_remedy(store):
    with pytest.raises(StoreError, match=r"AAA: no candles stored from 2024-01-01 to 2024-02-01; materialise candles"):
        store.read_frames("candles", "AAA", "2024-01-01", "2024-02-01")
    assert store.periods("candles", "AAA") == []
    assert store.attributes("candles", "AAA", "2024-01-01") == {}
    assert store.read_records("candles", "AAA") == {}


def test_attributes_are_kept_beside_the_frame(store):
    store.write_frame(*PLACE, frame(), {"covered_until": "2024-02-01"})
    stored_attributes = store.attributes(*PLACE)
    assert stored_attributes == {
        "content_hash": content_hash(frame()),
        "layout_version": "1",
        "covered_until": "2024-02-01",
    }


@pytest.mark.parametrize(
    ("metadata", "message"), [({"layout_version": "0"}, "layout version 0"), ({}, "layout version none")]
)
def test_a_file_of_another_layout_version_is_refused_with_a_remedy(local, metadata, message):
    path = local.write_frame(*PLACE, frame()).path
    pq.write_table(pa.Table.from_pandas(frame()).replace_schema_metadata(metadata), path)
    with pytest.raises(StoreError, match=rf"{message}, this code reads 1; re-materialise scores AAA\|2024-01-01"):
        local.read_frame(*PLACE)
    with pytest.raises(StoreError, match=message):
        local.attributes(*PLACE)


def test_periods_with_other_columns_cannot_be_joined(store):
    store.write_frame("features", "AAA", "2024-01-01", frame())
    store.write_frame("features", "AAA", "2024-02-01", frame("2024-02-01").drop(columns="trades"))
    with pytest.raises(StoreError, match=r"AAA: features of 2024-02-01 has other columns.*2024-01-01; re-materialise"):
        store.read_frames("features", "AAA", "2024-01-01", "2024-02-01")
    assert "trades" not in store.read_frame("features", "AAA", "2024-02-01")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_record_with_nan_or_infinity_is_refused_and_nothing_is_written(store, value):
    store.write_record(*PLACE, {"sharpe": 1.0})
    with pytest.raises(ValueError, match=r"scores AAA\|2024-01-01: the record holds NaN or infinity; give None"):
        store.write_record(*PLACE, {"metrics": {"sharpe": value}})
    assert store.read_record(*PLACE) == {"sharpe": 1.0}


def test_a_read_returns_the_last_write(store):
    """Same shape and size of file every time, faster than a clock of seconds: the cache must notice."""
    for scale in range(1, 30):
        store.write_frame(*PLACE, frame(scale=scale))
        assert store.read_frame(*PLACE)["close"].iloc[1] == scale
        assert store.attributes(*PLACE)["content_hash"] == content_hash(frame(scale=scale))


def test_another_process_rewriting_the_file_is_noticed(local):
    path = Path(local.write_frame(*PLACE, frame()).path)
    assert local.read_frame(*PLACE)["close"].iloc[1] == 1
    other = Store(root=str(path.parents[2] / "other")).write_frame(*PLACE, frame(scale=3.0))
    os.replace(other.path, path)
    assert local.read_frame(*PLACE)["close"].iloc[1] == 3


@pytest.mark.parametrize("columns", [["close"], ["close", "trades"], ["close", "strategy", "trades", "held", "seen"]])
@pytest.mark.parametrize("periods", [1, 2])
def test_the_caller_may_change_what_it_read(store, columns, periods):
    names = ["2024-01-01", "2024-02-01"][:periods]
    for name in names:
        store.write_frame("scores", "AAA", name, frame(name)[columns])
    expected = pd.concat([frame(name)[columns] for name in names])
    got = store.read_frames("scores", "AAA", names[0], names[-1])
    got.iloc[1, 0] = -99.0
    got.loc[got.index[2], "close"] = -99.0
    got["close"] += 1.0
    for column in columns:
        values = got[column].array
        if getattr(values, "_ndarray", None) is not None and values._ndarray.flags.writeable:
            values[:] = values[0]
    stamps = got.index.asi8
    if stamps.flags.writeable:
        stamps[:] = 0
    pd.testing.assert_frame_equal(
        store.read_frames("scores", "AAA", names[0], names[-1]), expected, check_freq=False, check_exact=True
    )


@pytest.mark.parametrize("name", ["../BBB", "AAA/../../x", "..", "a/b", ".hidden", "a\\b", "/etc"])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_no_name_reaches_outside_the_root(tmp_path, name, position):
    store = Store(root=str(tmp_path / "root"))
    place = [*PLACE]
    place[position] = name
    with pytest.raises(ValueError, match="no name in the store"):
        store.write_frame(*place, frame())
    with pytest.raises(ValueError, match="no name in the store"):
        store.read_record(*place)
    assert list(tmp_path.rglob("*")) == []


def test_the_default_root_is_under_dagster_home(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert Store().write_record(*PLACE, {}).path == str(tmp_path / "store/scores/AAA/2024-01-01.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.assign(close=f["close"] + 1e-12),
        lambda f: f.rename(columns={"close": "shut"}),
        lambda f: f.set_axis(f.index + pd.Timedelta("1ns")),
        lambda f: f.astype({"trades": "int32"}),
        lambda f: f[f.columns[::-1]],
        lambda f: f.iloc[::-1],
        lambda f: f.iloc[:-1],
        lambda f: f.assign(strategy=f["strategy"].where(f["strategy"] != "s1")),
        lambda f: f.assign(close=f["close"].mask(f["close"] == 1)),
    ],
)
def test_the_content_hash_sees_every_change(change):
    assert content_hash(change(frame())) != content_hash(frame())


def test_the_content_hash_separates_adjacent_values():
    index = pd.RangeIndex(2)
    one = pd.DataFrame({"a": ["x", "y"], "b": ["z", "w"]}, index)
    other = pd.DataFrame({"a": ["x", "yz"], "b": ["", "w"]}, index)
    glued = [
        pd.DataFrame({"a": ["x", "yz"], "b": ["v", "w"]}, index),
        pd.DataFrame({"a": ["x", "y"], "b": ["zv", "w"]}, index),
    ]
    assert content_hash(one) != content_hash(other)
    assert content_hash(glued[0]) != content_hash(glued[1])


def test_the_content_hash_depends_on_values_not_on_memory_layout():
    nullable = pd.DataFrame({"a": pd.array([10**15, None, 10**16], dtype="Int64")})
    assert len({content_hash(nullable.copy(deep=True)) for _ in range(5)}) == 1
    assert content_hash(nullable) != content_hash(nullable.fillna(7))
    strided = pd.DataFrame(np.arange(12.0).reshape(4, 3), columns=list("abc"))
    assert content_hash(strided) == content_hash(strided.copy())
    assert content_hash(frame(unit="us")[["close"]]) == content_hash(frame(unit="ns")[["close"]])


def test_the_content_hash_of_numbers_is_that_of_their_columns_one_after_the_other():
    wide = pd.DataFrame(np.arange(12.0).reshape(4, 3), pd.RangeIndex(4), list("abc"))
    described = json.dumps([(name, "float64") for name in wide]).encode()
    columns = b"".join(wide[name].to_numpy().tobytes() for name in wide)
    expected = hashlib.sha256(described + np.arange(4).tobytes() + columns).hexdigest()
    assert content_hash(wide) == expected


def test_records_are_stored_as_readable_json(local):
    text = Path(local.write_record(*PLACE, {"b": 1, "a": [1]}).path).read_text()
    assert text == '{\n "a": [\n  1\n ],\n "b": 1\n}\n'
    assert json.loads(text) == {"a": [1], "b": 1}


def test_the_read_cache_of_a_process_is_bounded(local):
    """Memory must not grow with the number of symbols that a process goes over, nor with the bars of a month."""
    wide = pd.DataFrame(np.random.default_rng(1).random((100_000, 10)), columns=list("abcdefghij"))  # 8 MB
    for number in range(12):
        local.write_frame("features", f"S{number}", "2024-01-01", wide)
    before = pa.total_allocated_bytes()
    for number in range(12):
        assert local.read_frame("features", f"S{number}", "2024-01-01").equals(wide)
    assert pa.total_allocated_bytes() - before <= CACHE_BYTES < 12 * wide.to_numpy().nbytes


def test_attributes_are_read_without_the_frame(local, monkeypatch):
    local.write_frame("features", "AAA", "2024-01-01", frame(), {"covered_until": "now"})

    def refuse(*_):
        raise AssertionError("the frame was read")

    monkeypatch.setattr(store_module, "read_table", refuse)
    assert local.attributes("features", "AAA", "2024-01-01")["covered_until"] == "now"
    local.write_frame("features", "AAA", "2024-01-01", frame(), {"covered_until": "then"})
    assert local.attributes("features", "AAA", "2024-01-01")["covered_until"] == "then"
