"""The `files` source on large files: what a mirror or a Parquet period gives is what the whole file gives."""

from __future__ import annotations

import os
import shutil
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quantum_training.market.notes import take_notes
from quantum_training.sources import files, source_from
from quantum_training.sources.tables import contents, mirror, parquet

FAR = pd.Timestamp("2100-01-01", tz="UTC")
LONG_AGO = pd.Timestamp("1970-01-01", tz="UTC")
HEADER = "open_time,open,high,low,close,volume\n"
SIZES = {"MIN_BYTES": 2000, "_BLOCK_BYTES": 3000, "_OPEN_BYTES": 300}


@pytest.fixture(scope="module")
def small_blocks():
    """A mirror of files of some lines, in an empty DAGSTER_HOME of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name, size in SIZES.items():
            patch.setattr(mirror, name, size)
        patch.setattr(parquet, "MIN_BYTES", 0)
        patch.setattr(parquet, "_ROWS", 100)
        yield patch


@pytest.fixture
def home(small_blocks, tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    return tmp_path


def lines(first: int, last: int, symbols: str = "") -> list[str]:
    times = pd.date_range("2024-01-01", periods=last, freq="h")[first:]
    prices = [f"{1 + n % 7 / 8},2,0.5,{1 + n % 5 / 8},{n}" for n in range(first, last)]
    rows = zip(times, prices, strict=True)
    return [f"{s}{',' if s else ''}{time},{price}\n" for time, price in rows for s in (symbols or [""])]


def write(path, text: str) -> None:
    path.write_text(text)
    os.utime(path, (1.75e9, 1.75e9))  # another content of the same size is told by its hash alone


def forget() -> None:
    """As a new process begins."""
    for cached in (contents.contents_of, files._history, contents._cached_recording):
        cached.cache_clear()


def both(path, patch, symbol="S", **options):
    """Every month with its notes, and the newest stamp: with a mirror, and with the file as a whole."""
    answers = []
    for mirrored in (True, False):
        forget()
        source = source_from({"kind": "files", "path": str(path), **options})
        with patch.context() as now:
            if not mirrored:
                now.delenv("DAGSTER_HOME")
                now.setattr(parquet, "MIN_BYTES", 1 << 60)
            months = []
            for start in pd.date_range("2024-01-01", "2024-04-01", freq="MS", tz="UTC"):
                bars = source.fetch(symbol, "1h", start, start + pd.DateOffset(months=1), FAR)
                months.append((take_notes(bars), bars))
            answers.append((source.available_until(symbol, "1h", FAR), months))
    return answers


def assert_same(answers) -> None:
    (until, months), (true_until, true_months) = answers
    assert until == true_until
    for (notes, bars), (true_notes, true_bars) in zip(months, true_months, strict=True):
        pd.testing.assert_frame_equal(bars, true_bars, check_exact=True, check_freq=False)
        assert notes == true_notes


def pieces(home) -> list[str]:
    return sorted(path.name for path in home.glob("home/source_tables/*/*.arrow"))


EDITS = st.lists(
    st.sampled_from(["append", "rewrite last", "change", "cut", "bad row", "footer", "repeat", "nothing"]),
    min_size=1,
    max_size=4,
)


@given(rows=st.integers(80, 200), edits=EDITS, step=st.integers(1, 200))
@example(rows=186, edits=["footer", "append", "bad row", "append"], step=178)
@settings(max_examples=8, deadline=None)
def test_a_file_that_changes_is_read_as_it_is(small_blocks, tmp_path_factory, rows, edits, step):
    home = tmp_path_factory.mktemp("home")
    path, content = home / "c.csv", lines(0, rows)
    with small_blocks.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home / "home"))
        for edit in ["nothing", *edits]:
            place = step % len(content)
            if edit == "append":
                content += lines(len(content), len(content) + step)
            elif edit == "rewrite last":
                content[-1] = content[-1].replace(",2,", ",3,")
            elif edit == "change":
                content[place] = content[place].replace(",2,", ",3,")
            elif edit == "cut":
                content = content[: max(20, len(content) - step)]
            elif edit in ("bad row", "footer"):
                content.insert(place if edit == "bad row" else len(content), "no row\n")
            elif edit == "repeat":
                content.insert(place, content[place])
            write(path, HEADER + "".join(content))
            assert_same(both(path, patch, drop_empty=bool(step % 2), deduplicate=bool(step % 3)))
        forget()


def test_a_file_that_grew_and_is_cut_again_is_read_as_it_is(home, monkeypatch):
    """Its first pieces begin where they did not before, and end where others ended."""
    path = home / "c.csv"
    for rows in (80, 146, 212, 146):
        write(path, HEADER + "".join(lines(0, rows)))
        assert_same(both(path, monkeypatch))


def test_a_day_more_is_read_from_the_end_of_the_file(home, monkeypatch):
    path = home / "c.csv"
    write(path, HEADER + "".join(lines(0, 2000)))
    assert_same(both(path, monkeypatch))
    before = pieces(home)
    assert len(before) > 20
    write(path, HEADER + "".join(lines(0, 2024)))
    sizes = []
    read = mirror.read_table
    monkeypatch.setattr(mirror, "read_table", lambda o, part: sizes.append(len(part.content)) or read(o, part))
    assert_same(both(path, monkeypatch))
    assert sum(sizes) < path.stat().st_size / 20
    assert pieces(home) == before


def test_a_file_that_grows_much_gets_more_pieces_and_keeps_the_others(home, monkeypatch):
    path = home / "c.csv"
    write(path, HEADER + "".join(lines(0, 1000)))
    assert_same(both(path, monkeypatch))
    before = pieces(home)
    write(path, HEADER + "".join(lines(0, 2000)))
    assert_same(both(path, monkeypatch))
    assert {*before} < {*pieces(home)}


@pytest.mark.long
@pytest.mark.parametrize("ending", ["csv.gz", "zip", "csv.zst"])
@pytest.mark.parametrize("rows", [1000, 1010])
def test_packed_tables_are_mirrored_as_a_whole(home, monkeypatch, ending, rows):
    text = HEADER + "".join(lines(0, rows))
    frame = pd.read_csv(__import__("io").StringIO(text))
    if ending == "csv.zst":
        import pyarrow as pa

        (home / "c.csv.zst").write_bytes(pa.compress(text.encode(), codec="zstd", asbytes=True))
    else:
        frame.to_csv(home / f"c.{ending}", index=False)
    assert_same(both(home / f"c.{ending}", monkeypatch))
    assert pieces(home)


@pytest.mark.long
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"timezone": "America/New_York"},
        {"stamp": "end"},
        {"price_divisor": 100},
        {"sort": True, "deduplicate": True},
        {"header": False, "skip_rows": 1, "columns": dict(zip(HEADER.strip().split(","), "012345", strict=True))},
    ],
)
def test_options_mean_the_same(home, monkeypatch, options):
    write(home / "c.csv", HEADER + "".join(lines(0, 3000)))
    assert_same(both(home / "c.csv", monkeypatch, **options))


def test_a_newest_first_file_is_mirrored(home, monkeypatch):
    write(home / "c.csv", HEADER + "".join(lines(0, 1000)[::-1]))
    assert_same(both(home / "c.csv", monkeypatch, descending=True))
    assert pieces(home)


@pytest.mark.long
@pytest.mark.parametrize("symbol", ["A", "B", "C"])
def test_a_file_of_many_symbols_is_mirrored_once_for_all(home, monkeypatch, symbol):
    write(home / "c.csv", "t," + HEADER + "".join(lines(0, 500, "ABC")))
    assert_same(both(home / "c.csv", monkeypatch, symbol, rows_where={"t": "{symbol}"}))
    before = pieces(home)
    assert_same(both(home / "c.csv", monkeypatch, "B", rows_where={"t": "{symbol}"}))
    assert pieces(home) == before


def test_a_lost_mirror_is_made_anew(home, monkeypatch):
    write(home / "c.csv", HEADER + "".join(lines(0, 1000)))
    assert_same(both(home / "c.csv", monkeypatch))
    next(home.glob("home/source_tables/*/*.arrow")).unlink()
    assert_same(both(home / "c.csv", monkeypatch))
    shutil.rmtree(home / "home")
    assert_same(both(home / "c.csv", monkeypatch))


@pytest.mark.long
@pytest.mark.parametrize("named_index", [True, False])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", None])
@pytest.mark.parametrize("symbols", ["", "AB"])
def test_a_period_of_a_parquet_file(home, monkeypatch, symbols, zone, named_index):
    rows = [line.strip().split(",")[-6:] for line in lines(0, 3000)]
    frame = pd.DataFrame(rows, columns=HEADER.strip().split(","))
    frame = frame.astype(dict.fromkeys(frame.columns[1:], float)).assign(open_time=pd.to_datetime(frame["open_time"]))
    frame["open_time"] = frame["open_time"].dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    frame = frame.dropna()
    if symbols:
        frame = pd.concat([frame.assign(t=symbol) for symbol in symbols]).sort_values("open_time", kind="stable")
    frame = frame.set_index("open_time") if named_index else frame
    frame.to_parquet(home / "c.parquet", row_group_size=500)
    options = {"rows_where": {"t": "{symbol}"}} if symbols else {}
    assert_same(both(home / "c.parquet", monkeypatch, symbols[:1] or "S", **options))


def test_only_the_row_groups_of_a_period_are_read(home, monkeypatch):
    frame = pd.DataFrame([line.strip().split(",") for line in lines(0, 3000)], columns=HEADER.strip().split(","))
    frame = frame.astype(dict.fromkeys(frame.columns[1:], float)).assign(open_time=pd.to_datetime(frame["open_time"]))
    frame.to_parquet(home / "c.parquet", row_group_size=100)
    forget()
    source = source_from({"kind": "files", "path": str(home / "c.parquet")})
    counted = SimpleNamespace(rows=0)
    read = parquet.ParquetPeriods._batches

    def batches(self, groups, columns):
        counted.rows += 100 * len(groups) if len(columns) > 1 else 0
        return read(self, groups, columns)

    monkeypatch.setattr(parquet.ParquetPeriods, "_batches", batches)
    start = pd.Timestamp("2024-04-01", tz="UTC")
    assert len(source.fetch("S", "1h", start, pd.Timestamp("2024-05-01", tz="UTC"), FAR)) == 720
    assert counted.rows <= 2600
    forget()
