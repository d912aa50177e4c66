"""The `files` source: bad rows, the running bar, clocks and units. What one row spoils is its month, no other one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_training.market.notes import take_notes
from quantum_training.sources import SourceError, source_from

FAR = pd.Timestamp("2100-01-01", tz="UTC")
LONG_AGO = pd.Timestamp("1970-01-01", tz="UTC")
HEADER = "open_time,open,high,low,close,volume\n"
ROW = ",1,2,0.5,1.5,10\n"


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def write(folder: Path, text: str, written: str = "2026-01-01") -> str:
    path = folder / "c.csv"
    path.write_text(text)
    time = utc(written).timestamp()
    os.utime(path, (time, time))
    return str(path)


def source(path, **options):
    return source_from({"kind": "files", "path": str(path), **options})


def month(path, first, timeframe="1d", **options):
    """Bars and notes of a month."""
    start = utc(first)
    bars = source(path, **options).fetch("S", timeframe, start, start + pd.DateOffset(months=1), FAR)
    return bars, take_notes(bars)


BAD_ROWS = [
    "2024-02-02,null,null,null,null,null\n",
    "2024-02-02,,,,,\n",
    "2024-02-02,halted,halted,halted,halted,halted\n",
    "Data by a vendor\n",
    "Total,,,,,\n",
    "\n",
]


@pytest.mark.parametrize("row", BAD_ROWS[:-1])
def test_an_empty_row_spoils_its_month_alone_and_is_dropped_and_counted_if_wished(tmp_path, row):
    path = write(tmp_path, HEADER + "2024-01-31" + ROW + "2024-02-01" + ROW + row + "2024-03-01" + ROW)
    for first in ("2024-01-01", "2024-03-01"):
        bars, notes = month(path, first)
        assert len(bars.dropna()) == len(bars) == 1
        assert notes.defects == ()
        assert notes.facts == {}
    bars, notes = month(path, "2024-02-01")
    assert bars.isna().any(axis=None) or [d.severity for d in notes.defects] == ["error"]
    bars, notes = month(path, "2024-02-01", drop_empty=True)
    assert len(bars.dropna()) == len(bars) == 1
    assert notes.facts == {"empty_rows_dropped": 1}
    assert notes.defects == ()


def test_a_blank_line_is_no_row(tmp_path):
    path = write(tmp_path, HEADER + "2024-02-01" + ROW + "\n\n2024-02-02" + ROW + "\n")
    bars, notes = month(path, "2024-02-01")
    assert len(bars) == 2
    assert notes.facts == {}


@pytest.mark.parametrize("drop_empty", [False, True])
@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2024-02-02,1,2,0.5,oops,10\n", "first at 2024-02-02 00:00: close 'oops' cannot be read"),
        ("2024-02-02,1,2,0.5,1.5,oops\n", "first at 2024-02-02 00:00: volume 'oops' cannot be read"),
        ("2024-02-02,1,234,2,0.5,1.5,10\n", "first at 2024-02-02 00:00: open '2024-02-02,1,234"),
        ("soon,1,2,0.5,1.5,10\n", "first at 2024-02-01 00:00: stamp 'soon' cannot be read"),
        ("2044-02-02,1,2,0.5,1.5,10\n", "first at 2024-02-01 00:00: stamp '2044-02-02 00:00' cannot be read"),
        ("0024-02-02,1,2,0.5,1.5,10\n", "first at 2024-02-01 00:00: stamp '0024-02-02' cannot be read"),
    ],
)
def test_a_row_with_something_unreadable_is_a_defect_of_its_month_with_place_and_text(
    tmp_path, row, message, drop_empty
):
    path = write(tmp_path, HEADER + "2024-01-31" + ROW + "2024-02-01" + ROW + row + "2024-03-01" + ROW)
    _, notes = month(path, "2024-02-01", drop_empty=drop_empty)
    if row.startswith("2024-02-02,1,234") and drop_empty:
        assert notes.facts == {"empty_rows_dropped": 1}
    else:
        assert message in notes.defects[0].message
    for other in ("2024-01-01", "2024-03-01"):
        assert month(path, other)[1].defects == ()


def test_repeated_rows_are_dropped_and_counted_if_they_are_equal(tmp_path):
    rows = ["2024-02-01" + ROW, *["2024-02-02" + ROW] * 11, "2024-02-03" + ROW, "2024-02-03,1,2,0.5,1.7,10\n"]
    path = write(tmp_path, HEADER + "".join(rows))
    assert len(month(path, "2024-02-01")[0]) == 14
    bars, notes = month(path, "2024-02-01", deduplicate=True)
    assert bars.index.day.tolist() == [1, 2, 3, 3]  # two truths about one bar: the gate refuses them
    assert notes.facts == {"repeated_rows_dropped": 10}


def test_rows_are_sorted_and_counted_if_wished(tmp_path):
    days = [3, 1, 2, 4]
    path = write(tmp_path, HEADER + "".join(f"2024-02-0{day}{ROW}" for day in days))
    assert month(path, "2024-02-01")[0].index.day.tolist() == days
    bars, notes = month(path, "2024-02-01", sort=True)
    assert bars.index.day.tolist() == [1, 2, 3, 4]
    assert notes.facts == {"rows_sorted": 2}


def test_a_bad_row_of_another_symbol_of_the_file_is_no_defect(tmp_path):
    path = write(tmp_path, "t," + HEADER + "S,2024-02-01" + ROW + "X,2024-02-01,a,2,0.5,1.5,10\nX,2024-02-02" + ROW)
    assert month(path, "2024-02-01", rows_where={"t": "S"})[1].defects == ()
    assert len(month(path, "2024-02-01", rows_where={"t": "X"})[1].defects) == 1


def hourly(folder: Path, written: str, **options):
    rows = "".join(f"2024-02-01 {hour:02}:00{ROW}" for hour in range(8, 11))
    path = write(folder, HEADER + rows, written)
    bars = source(path, **options).fetch("S", "1h", LONG_AGO, utc("2024-03-01"), utc("2024-02-01 11:30"))
    return bars.index.hour.tolist(), take_notes(bars).facts


def test_a_bar_that_was_not_closed_when_the_file_was_written_is_no_bar(tmp_path):
    assert hourly(tmp_path, "2024-02-01 10:20") == ([8, 9], {"running_bars_left_out": 1})
    assert hourly(tmp_path, "2024-02-01 11:00") == ([8, 9, 10], {})
    assert hourly(tmp_path, "2024-02-01 10:20", ignore_file_time=True) == ([8, 9, 10], {})


def test_the_recording_ends_with_the_last_bar_that_was_closed(tmp_path):
    hourly(tmp_path, "2024-02-01 10:20")
    assert source(tmp_path / "c.csv").available_until("S", "1h", FAR) == utc("2024-02-01 10:00")


@pytest.mark.parametrize("written", ["1970-01-01", "2024-01-30 12:00"])
def test_a_file_older_than_its_bars_is_refused_by_name(tmp_path, written):
    with pytest.raises(SourceError, match=r"from 2024-02-01 08:00 .* after the file's time.*ignore_file_time"):
        hourly(tmp_path, written)


@pytest.mark.parametrize(
    ("calendar", "written", "days"),
    [
        ("XNYS", "2024-02-02 20:00", [1]),  # the session ends at 21:00 UTC
        ("XNYS", "2024-02-02 22:00", [1, 2]),
        ("24/7", "2024-02-02 22:00", [1]),
        ("24/7", "2024-02-03 00:00", [1, 2]),
    ],
)
def test_a_daily_bar_of_an_exchange_is_final_after_its_session(tmp_path, calendar, written, days):
    path = write(tmp_path, HEADER + "2024-02-01" + ROW + "2024-02-02" + ROW, written)
    files = source(path)
    files.traded_by(calendar)
    assert files.fetch("S", "1d", LONG_AGO, FAR, FAR).index.day.tolist() == days


@given(
    blocks=st.lists(st.tuples(st.sampled_from([1, 10**3, 10**6, 10**9]), st.integers(1, 5)), min_size=1, max_size=6),
    first=st.integers(0, 400_000),
    unit=st.sampled_from([None, "s", "ms", "us", "ns"]),
)
@settings(max_examples=15, deadline=None)
def test_units_are_told_by_size_for_every_block_of_rows(tmp_path_factory, blocks, first, unit):
    """Hours from 1980 to 2025, each block of rows in another unit."""
    start = utc("1980-01-01") + pd.Timedelta(hours=first)
    hours = pd.date_range(start, periods=sum(n for _, n in blocks), freq="h")
    units = np.repeat([per_second for per_second, _ in blocks], [n for _, n in blocks])
    stamps = (hours.as_unit("s").asi8 * units).tolist()
    path = write(tmp_path_factory.mktemp("units"), HEADER + "".join(f"{stamp}{ROW}" for stamp in stamps))
    bars = source(path, **({"datetime_format": unit} if unit else {})).fetch("S", "1h", LONG_AGO, FAR, FAR)
    assert bars.index.equals(hours)


def test_a_stamp_of_a_wrong_size_gives_no_bar(tmp_path):
    text = HEADER + "".join(f"{stamp}{ROW}" for stamp in (1_704_067_200, 170_406_720, 17_040_672_000, 1_704_153_600))
    bars, notes = month(write(tmp_path, text), "2024-01-01")
    assert bars.index.day.tolist() == [1, 2]
    assert "2 row(s), first at 2024-01-01 00:00: stamp '170406720' cannot be read" in notes.defects[0].message


YEAR = pd.date_range("2023-01-01", "2023-12-31 23:00", freq="h", tz="UTC")


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("zone", "options"),
    [
        ("America/New_York", {"timezone": "America/New_York"}),
        ("Europe/Athens", {"timezone": "Europe/Athens"}),
        ("America/New_York+7", {"timezone": "America/New_York+7h"}),
        ("Etc/GMT+5", {"timezone": "Etc/GMT+5"}),
    ],
)
def test_the_hours_of_a_clock_are_instants_through_both_of_its_changes(tmp_path, zone, options, descending):
    name, _, hours = zone.partition("+") if zone[-2:] == "+7" else (zone, "", "0")
    clock = YEAR.tz_convert(name).tz_localize(None) + pd.Timedelta(hours=int(hours))
    rows = [f"{stamp}{ROW}" for stamp in clock]
    path = write(tmp_path, HEADER + "".join(reversed(rows) if descending else rows))
    bars = source(path, descending=descending, **options).fetch("S", "1h", LONG_AGO, FAR, FAR)
    assert bars.index.equals(YEAR)


def test_a_time_that_the_clock_shows_twice_is_told_for_each_symbol_of_the_file(tmp_path):
    times = ["2021-11-07 00:00", "2021-11-07 01:00", "2021-11-07 01:00", "2021-11-07 02:00"]
    path = write(tmp_path, "t," + HEADER + "".join(f"{symbol},{t}{ROW}" for t in times for symbol in "SX"))
    for symbol in "SX":
        options = {"timezone": "America/New_York", "rows_where": {"t": symbol}}
        assert source(path, **options).fetch("S", "1h", LONG_AGO, FAR, FAR).index.hour.tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize("stamp", ["2021-11-07 01:30", "2021-03-14 02:30"])
def test_a_time_that_cannot_be_told_spoils_its_month_alone(tmp_path, stamp):
    path = write(tmp_path, HEADER + f"2021-02-01 10:00{ROW}{stamp}{ROW}2021-12-01 10:00{ROW}")
    files = source(path, timezone="America/New_York")
    assert len(files.fetch("S", "1h", LONG_AGO, FAR, FAR)) == 2
    _, notes = month(path, "2021-02-01", "1h", timezone="America/New_York")
    assert f"stamp '{stamp}' cannot be read" in notes.defects[0].message


@pytest.mark.parametrize("form", [None, "%Y-%m-%d %H:%M:%S%z"])
def test_offsets_may_change_with_the_clock(tmp_path, form):
    path = write(tmp_path, HEADER + f"2024-03-08 10:00:00-05:00{ROW}2024-03-11 10:00:00-04:00{ROW}")
    options = {"datetime_format": form} if form else {}
    times = source(path, timezone="Asia/Tokyo", **options).fetch("S", "1h", LONG_AGO, FAR, FAR).index
    assert times.tolist() == [utc("2024-03-08 15:00"), utc("2024-03-11 14:00")]


def test_stamps_with_and_without_an_offset_may_stand_in_one_file(tmp_path):
    path = write(tmp_path, HEADER + f"2024-03-08 10:00:00{ROW}2024-03-11 10:00:00-04:00{ROW}")
    times = source(path, timezone="America/New_York").fetch("S", "1h", LONG_AGO, FAR, FAR).index
    assert times.tolist() == [utc("2024-03-08 15:00"), utc("2024-03-11 14:00")]


def fx_year(zone: str, shift: int) -> pd.DataFrame:
    """A year of hours of a market that follows New York, stamped by a clock `shift` hours ahead of a zone's."""
    local = YEAR.tz_convert("America/New_York")
    activity = 1 + 3 * np.exp(-(((local.hour - 9.5) / 2) ** 2)) + np.random.default_rng(1).uniform(0, 0.3, len(YEAR))
    rows = pd.DataFrame({"open": 1.0, "high": 1.001, "low": 0.999, "close": 1.0, "volume": activity}, index=YEAR)
    closed = (local.dayofweek == 5) | ((local.dayofweek == 6) & (local.hour < 17))
    rows = rows[~(closed | ((local.dayofweek == 4) & (local.hour >= 17)))]
    stamps = rows.index.tz_convert(zone).tz_localize(None) + pd.Timedelta(hours=shift)
    return rows.set_axis(stamps.rename("open_time"))


@pytest.mark.parametrize(
    ("zone", "warned"),
    [
        ("America/New_York+7h", {}),
        ("Etc/GMT-2", {3: "2023-03-12 07:00", 11: "2023-11-05 06:00"}),
        ("UTC", {3: "2023-03-12 07:00", 11: "2023-11-05 06:00"}),
        ("Europe/Athens", {3: "2023-03-12 07:00", 10: "2023-10-29 01:00", 11: "2023-11-05 06:00"}),
    ],
)
def test_the_hours_of_trading_show_a_wrong_clock_when_clocks_are_set(tmp_path, zone, warned):
    path = write(tmp_path, fx_year("America/New_York", 7).to_csv())
    for number in range(1, 13):
        _, notes = month(path, f"2023-{number:02}-01", "1h", timezone=zone)
        warnings = [d.message for d in notes.defects if d.rule == "clock_change"]
        assert len(warnings) >= (number in warned)
        assert not warnings or number in warned
        assert warned.get(number, "") in "".join(warnings)
        assert all(zone in w and "America/New_York+7h" in w for w in warnings)


@pytest.mark.candles
@pytest.mark.parametrize("market", ["BTC_USDT", "ETH_USDT", "SOL_USDT"])
def test_real_hours_in_utc_raise_no_doubt_about_the_clock(candles_dir, market):
    files = source(candles_dir / f"crypto_1h/{market}-1h.feather", columns={"open_time": "date"})
    months = pd.date_range("2020-10-01", "2025-09-01", freq="MS", tz="UTC")
    for start in months[months.month.isin([3, 10, 11])]:
        bars = files.fetch("S", "1h", start, start + pd.DateOffset(months=1), FAR)
        assert take_notes(bars).defects == ()
