"""The `files` source: every form of file, stamp and zone, and the messages about files that are wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError

from quantum_training.market.schema import as_candles, candle_schema
from quantum_training.market.timeframe import to_timedelta
from quantum_training.sources import SourceError, source_from

FAR = pd.Timestamp("2100-01-01", tz="UTC")
LONG_AGO = pd.Timestamp("1970-01-01", tz="UTC")
CAPITALS = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Volume"}
YAHOO = {"open_time": "Date", **CAPITALS}


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def everything(source, timeframe="1h", symbol="S") -> pd.DataFrame:
    return source.fetch(symbol, timeframe, LONG_AGO, FAR, FAR)


@pytest.fixture
def bars() -> pd.DataFrame:
    """Three hourly bars with prices that no decimal rounding keeps."""
    times = pd.date_range("2021-03-01 08:00", periods=3, freq="h", tz="UTC", name="open_time")
    first = {"open": [1 / 3, 2 / 3, 1.1], "high": [1.0, 1.2, 1.3], "low": [0.1, 0.2, 0.3], "close": [2 / 3, 1.1, 1.2]}
    return as_candles(pd.DataFrame({**first, "volume": [7.0, 0.0, 9.5]}, index=times))


def csv(folder: Path, text: str, name: str = "c.csv") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "zip", "parquet", "feather"])
def test_every_format_gives_the_same_bits(tmp_path, bars, ending):
    path = str(tmp_path / f"BTC.{ending}")
    writer = {"parquet": "to_parquet", "feather": "to_feather"}.get(ending, "to_csv")
    getattr(bars.reset_index(), writer)(path, **({"index": False} if writer == "to_csv" else {}))

    read = everything(source_from({"kind": "files", "path": str(tmp_path / f"{{symbol}}.{ending}")}), symbol="BTC")

    pd.testing.assert_frame_equal(read, bars, check_exact=True, check_freq=False)
    candle_schema().validate(read)


def test_a_parquet_file_may_keep_its_stamps_in_the_index(tmp_path, bars):
    bars.to_parquet(tmp_path / "c.parquet")
    assert len(everything(source_from({"kind": "files", "path": str(tmp_path / "c.parquet")}))) == 3


def test_range_is_half_open_and_an_unclosed_bar_is_left_out(tmp_path, bars):
    bars.to_csv(tmp_path / "c.csv")
    source = source_from({"kind": "files", "path": str(tmp_path / "c.csv")})

    def hours(start, end, now):
        return source.fetch("S", "1h", utc(start), utc(end), utc(now)).index.hour.tolist()

    assert hours("2021-03-01 09:00", "2021-03-01 10:00", "2100-01-01") == [9]
    assert hours("2021-03-01 00:00", "2021-04-01 00:00", "2021-03-01 10:59") == [8, 9]
    assert hours("2021-03-01 00:00", "2021-04-01 00:00", "2021-03-01 11:00") == [8, 9, 10]
    assert source.available_until("S", "1h", FAR) == utc("2021-03-01 11:00")
    assert source.available_until("S", "1h", utc("2021-03-01 09:30")) == utc("2021-03-01 09:30")
    assert not source.revises_history


HEADER = "t,open,high,low,close,volume\n"
ROW = ",1,2,0.5,1.5,10\n"


@pytest.mark.parametrize(
    ("stamp", "options", "expected"),
    [
        ("2021-01-04 09:00", {}, "2021-01-04 09:00"),
        ("2021-01-04T09:00:00+02:00", {}, "2021-01-04 07:00"),
        ("2021-01-04 09:00", {"timezone": "America/New_York"}, "2021-01-04 14:00"),
        ("2021-07-05 09:00", {"timezone": "America/New_York"}, "2021-07-05 13:00"),
        ("2021-01-04T09:00:00Z", {"timezone": "America/New_York"}, "2021-01-04 09:00"),
        ("2021-01-04 10:00", {"stamp": "end"}, "2021-01-04 09:00"),
        ("04.01.2021 09h", {"datetime_format": "%d.%m.%Y %Hh"}, "2021-01-04 09:00"),
        ("2021-01-04 01-PM", {"datetime_format": "%Y-%m-%d %I-%p"}, "2021-01-04 13:00"),
        ("1609750800", {"datetime_format": "s"}, "2021-01-04 09:00"),
        ("1609750800000", {"datetime_format": "ms"}, "2021-01-04 09:00"),
        ("1609750800", {}, "2021-01-04 09:00"),
        ("1609750800.0", {}, "2021-01-04 09:00"),
        ("1609750800000000", {"datetime_format": "ms"}, "2021-01-04 09:00"),
        ("1609750800000000000", {"datetime_format": "s"}, "2021-01-04 09:00"),
        ("20210104", {}, "2021-01-04 00:00"),
        ("2021.01.04 09:00", {}, "2021-01-04 09:00"),
        ("2021-01-04 16:00", {"timezone": "America/New_York+7h"}, "2021-01-04 14:00"),
        ("2021-07-05 16:00", {"timezone": "America/New_York+7h"}, "2021-07-05 13:00"),
    ],
)
def test_stamps(tmp_path, stamp, options, expected):
    path = csv(tmp_path, HEADER + stamp + ROW)
    source = source_from({"kind": "files", "path": path, "columns": {"open_time": "t"}, **options})
    assert everything(source).index.tolist() == [utc(expected)]


def test_rows_keep_the_order_of_the_file_unless_it_is_newest_first(tmp_path):
    path = csv(tmp_path, HEADER + "2021-01-03" + ROW + "2021-01-01" + ROW + "2021-01-02" + ROW)
    options = {"kind": "files", "path": path, "columns": {"open_time": "t"}}
    assert everything(source_from(options), "1d").index.day.tolist() == [3, 1, 2]
    assert everything(source_from({**options, "descending": True}), "1d").index.day.tolist() == [2, 1, 3]
    assert source_from(options).available_until("S", "1d", FAR) == utc("2021-01-04")


def test_an_absent_number_stays_absent(tmp_path):
    path = csv(tmp_path, HEADER + "2021-01-01,1,2,0.5,1.5,\n")
    bars = everything(source_from({"kind": "files", "path": path, "columns": {"open_time": "t"}}))
    assert bars["volume"].isna().all()


def test_a_file_is_read_once_and_again_when_it_changed(tmp_path, bars):
    path = tmp_path / "c.csv"
    bars.to_csv(path)
    source = source_from({"kind": "files", "path": str(path)})
    everything(source)
    content, state = path.read_bytes(), path.stat()
    # The same length and age, so that only a cache can still give the old bars.
    path.write_bytes(b"x" * len(content))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert len(everything(source)) == 3
    bars.iloc[:2].to_csv(path)
    assert len(everything(source)) == 2


def test_changes_of_a_fetched_frame_do_not_reach_the_source(tmp_path, bars):
    bars.to_csv(tmp_path / "c.csv")
    source = source_from({"kind": "files", "path": str(tmp_path / "c.csv")})
    fetched = everything(source)
    fetched.iloc[:] = 0.0
    pd.testing.assert_frame_equal(everything(source), bars, check_freq=False)


@pytest.mark.parametrize(
    ("text", "options", "messages"),
    [
        (HEADER + "2021-01-01" + ROW, {}, ["no column open_time", "the file has t, open", "source.columns"]),
        (HEADER + "soon" + ROW, {"columns": {"open_time": "t"}}, ["column t", "soon", "datetime_format"]),
        (HEADER + "1609" + ROW, {"columns": {"open_time": "t"}}, ["column t", '"1609"', "source.datetime_format"]),
        (HEADER + ROW, {"columns": {"open_time": "t"}}, ["column t", '""', "source.datetime_format"]),
        (
            HEADER + "2021-01-01,a,2,0.5,1.5,10",
            {"columns": {"open_time": "t"}},
            ["column open holds no numbers", '"a"'],
        ),
        (HEADER, {"columns": {"open_time": "t"}}, ["has no rows"]),
        ("", {}, ["cannot be read", "EmptyDataError"]),
        (
            HEADER + "2021-11-07 01:30" + ROW,
            {"columns": {"open_time": "t"}, "timezone": "America/New_York"},
            ["column t", "2021-11-07 01:30", "source.timezone"],
        ),
        (
            "tic," + HEADER + "AAPL,2021-01-01" + ROW,
            {"columns": {"open_time": "t"}, "rows_where": {"tic": "{symbol}"}},
            ["no row with tic = S", "it has AAPL"],
        ),
        (HEADER + "2021-01-01" + ROW, {"columns": {"open_time": "t"}, "rows_where": {"tic": "A"}}, ["no column tic"]),
    ],
)
def test_a_wrong_file_is_refused_with_place_and_remedy(tmp_path, text, options, messages):
    path = csv(tmp_path, text)
    with pytest.raises(SourceError) as error:
        everything(source_from({"kind": "files", "path": path, **options}))
    for part in ("S: source files", path, *messages):
        assert part in str(error.value)


@pytest.mark.parametrize("name", ["c.csv.gz", "c.zip", "c.parquet", "c.feather"])
def test_a_broken_file_is_refused(tmp_path, bars, name):
    bars.to_csv(tmp_path / "whole.csv.gz")
    content = (tmp_path / "whole.csv.gz").read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(SourceError, match="cannot be read"):
        everything(source_from({"kind": "files", "path": str(tmp_path / name)}))


def test_a_missing_file_is_refused_and_the_neighbours_are_named(tmp_path):
    csv(tmp_path, "", "here.csv")
    with pytest.raises(SourceError, match=r"S: source files .*gone.csv: no such file; .* holds here.csv"):
        everything(source_from({"kind": "files", "path": str(tmp_path / "gone.csv")}))


@pytest.mark.parametrize(
    "options",
    [
        {"path": "c.pkl"},
        {"path": "c.csv", "timezone": "Mars/Olympus"},
        {"path": "c.csv", "timezone": "America/New_York+7"},
        {"path": "c.csv", "timezone": "America/New_York+15h"},
        {"path": "c.csv", "date_column": "d"},
        {"path": "c.csv", "decimal": ",", "thousands": ","},
        {"path": "c.csv", "columns": {"price": "p"}},
        {"path": "c.csv", "price_divisor": 0},
        {"path": "c.csv", "stamp": "middle"},
        {"path": "c.csv", "colour": "red"},
        {},
    ],
)
def test_wrong_options_are_refused_at_load(options):
    with pytest.raises(ValidationError):
        source_from({"kind": "files", **options})


DATED = {"columns": {"open_time": "date"}}
LEAN = {
    "columns": {ours: str(at) for at, ours in enumerate(["open_time", "open", "high", "low", "close", "volume"])},
    "header": False,
    "datetime_format": "%Y%m%d %H:%M",
    "timezone": "America/New_York",
    "price_divisor": 10000,
}
# File: its options, rows, first and last bar.
REAL_1D = {
    "equity_1d/AAPL.csv.gz": ({"columns": YAHOO}, 10087, "1980-12-12", "2020-12-11"),
    "equity_1d/MSFT.csv.gz": ({"columns": YAHOO}, 8761, "1986-03-13", "2020-12-11"),
    "equity_1d/QQQ.csv.gz": ({"columns": YAHOO}, 5478, "1999-03-10", "2020-12-11"),
    "equity_1d/TQQQ.csv.gz": ({"columns": YAHOO}, 2729, "2010-02-11", "2020-12-11"),
    "equity_1d/GOOGL_gym_anytrading.csv.gz": ({"columns": YAHOO}, 2335, "2009-05-22", "2018-08-29"),
    "dow30/dow30_yahoo_2009_2020.csv.gz": (
        {"columns": YAHOO, "rows_where": {"tic": "{symbol}"}},
        3008,
        "2009-01-02",
        "2020-12-11",
    ),
    "dow30/trade_data.csv.gz": ({**DATED, "rows_where": {"tic": "AAPL"}}, 335, "2020-07-01", "2021-10-27"),
}
REAL_1H = {
    "crypto_1h/BTC_USDT-1h.feather": (DATED, 43803, "2020-09-20 00:00", "2025-09-19 22:00"),
    "crypto_1h/ETH_USDT-1h.feather": (DATED, 43803, "2020-09-20 00:00", "2025-09-19 22:00"),
    "crypto_1h/SOL_USDT-1h.feather": (DATED, 43803, "2020-09-20 00:00", "2025-09-19 22:00"),
    "dirty/BTC_USD-Hourly.csv.gz": ({**DATED, "descending": True}, 33259, "2018-05-15 06:00", "2022-03-01 00:00"),
    "dirty/Coinbase_BTCUSD_1h.csv.gz": (
        {**DATED, "descending": True, "skip_rows": 1, "datetime_format": "%Y-%m-%d %I-%p"},
        20111,
        "2017-07-01 11:00",
        "2019-10-17 09:00",
    ),
    "dirty/lean_aapl_1h_unadjusted.zip": (LEAN, 40831, "1998-01-02 14:00", "2021-03-31 19:00"),
}


@pytest.mark.long
@pytest.mark.candles
@pytest.mark.parametrize(
    ("path", "timeframe"), [*((path, "1d") for path in REAL_1D), *((path, "1h") for path in REAL_1H)]
)
def test_every_real_file_is_readable_by_its_options(candles_dir, path, timeframe):
    options, rows, first, last = {**REAL_1D, **REAL_1H}[path]
    source = source_from({"kind": "files", "path": str(candles_dir / path), **options})
    bars = everything(source, timeframe, "AAPL")
    assert len(bars) == rows
    assert (bars.index[0], bars.index[-1]) == (utc(first), utc(last))
    assert source.available_until("AAPL", timeframe, FAR) == utc(last) + to_timedelta(timeframe)
    # Yahoo published 1981-08-10 without a number in it; it must reach the quality gate as it is.
    assert bars.index[bars.isna().any(axis=1)].tolist() == ([utc("1981-08-10")] if "1d/AAPL" in path else [])


@pytest.mark.candles
def test_lean_prices_are_in_dollars(candles_dir):
    path = str(candles_dir / "dirty/lean_aapl_1h_unadjusted.zip")
    bars = everything(source_from({"kind": "files", "path": path, **LEAN}))
    assert bars.iloc[0].tolist() == [13.63, 13.75, 13.5, 13.63, 540700]


@pytest.mark.parametrize(("code", "rows"), [("000660", 1), ("660", 1), ("005930", 1)])
def test_a_code_of_digits_selects_its_rows_though_pandas_reads_numbers(tmp_path, code, rows):
    path = tmp_path / "krx.csv"
    path.write_text(
        "open_time,code,open,high,low,close,volume\n2021-01-01,000660,1,1,1,1,1\n2021-01-01,005930,2,2,2,2,2\n"
    )
    source = source_from({"kind": "files", "path": str(path), "rows_where": {"code": code}})
    start, end = (pd.Timestamp(day, tz="UTC") for day in ("2021-01-01", "2021-02-01"))
    assert len(source.fetch("A", "1d", start, end, end)) == rows
