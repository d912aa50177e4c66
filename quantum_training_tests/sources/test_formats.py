"""The presets of `format`: files in each vendor's own layout give back the history that was written."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantum_training.market.schema import as_candles
from quantum_training.market.timeframe import to_timedelta
from quantum_training.sources import SourceError, source_from
from quantum_training.sources.tables.layout import Format
from quantum_training.sources.tables.presets import PRESETS
from quantum_training_tests.support.vendor_files import VENDORS, Vendor

FAR = pd.Timestamp("2100-01-01", tz="UTC")
LONG_AGO = pd.Timestamp("1980-01-01", tz="UTC")


def history(seed: int, count: int, timeframe: str, price: float) -> pd.DataFrame:
    """Bars of a random walk from some day on, with gaps; all years but 1980 to 2000 have clock changes in them."""
    draws = np.random.default_rng(seed)
    start = pd.Timestamp("2003-01-01", tz="UTC") + pd.Timedelta(days=int(draws.integers(0, 8000)))
    times = pd.date_range(start, periods=2 * count, freq=to_timedelta(timeframe))
    times = times[np.sort(draws.choice(2 * count, count, replace=False))]
    closes = price * np.exp(np.cumsum(draws.normal(0, 0.01, count)))
    opens = closes * np.exp(draws.normal(0, 0.01, count))
    high = np.maximum(opens, closes) * np.exp(draws.exponential(0.01, count))
    low = np.minimum(opens, closes) * np.exp(-draws.exponential(0.01, count))
    volume = draws.choice([0.0, 12.0, 123_450.0, 120_500_000.0, 1234.56789], count)
    bars = {"open": opens, "high": high, "low": low, "close": closes, "volume": volume}
    return as_candles(pd.DataFrame(bars, index=times))


def read(vendor: Vendor, path: Path, **options) -> pd.DataFrame:
    source = source_from({"kind": "files", "format": vendor.format, "path": str(path), **vendor.options, **options})
    return source.fetch("S", vendor.timeframe, LONG_AGO, FAR, FAR)


@pytest.mark.parametrize("vendor", VENDORS, ids=str)
def test_a_history_in_any_format_is_read_as_it_was(vendor, tmp_path):
    bars = vendor.carried(history(1, 40, vendor.timeframe, 29.5))
    pd.testing.assert_frame_equal(read(vendor, vendor.file(tmp_path, bars)), bars, check_exact=True, check_freq=False)


@pytest.mark.long
@pytest.mark.parametrize("vendor", VENDORS, ids=str)
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32), st.integers(1, 80), st.sampled_from([1.08, 29.5, 998.0, 64_000.0]))
def test_any_history_in_any_format_is_read_as_it_was(vendor, seed, count, price):
    bars = vendor.carried(history(seed, count, vendor.timeframe, price))
    if bars.empty:
        return
    with tempfile.TemporaryDirectory() as folder:
        got = read(vendor, vendor.file(Path(folder), bars))
    pd.testing.assert_frame_equal(got, bars, check_exact=True, check_freq=False)


def test_every_format_has_a_file_of_ours():
    assert {vendor.format for vendor in VENDORS} == {*PRESETS} == {*get_args(Format)}


def vendor(name: str) -> Vendor:
    return next(v for v in VENDORS if str(v) == name)


def test_months_with_and_without_header_and_in_other_units_are_one_history(tmp_path):
    """Binance's futures have a header in some months, and its spot files are in microseconds from 2025 on."""
    bars = vendor("binance_vision-spot2024.zip").carried(history(1, 90, "1h", 64_000.0))
    for number, name in enumerate(("spot2024", "spot2025", "futures")):
        part = bars.iloc[30 * number : 30 * number + 30]
        one = vendor(f"binance_vision-{name}.zip").file(tmp_path, part)
        one.rename(tmp_path / f"BTCUSDT-1h-{number}.zip")
    got = read(vendor("binance_vision-futures.zip"), tmp_path / "BTCUSDT-1h-*.zip")
    pd.testing.assert_frame_equal(got, bars, check_exact=True, check_freq=False)


def test_what_the_user_sets_stays(tmp_path):
    mt5 = vendor("mt5-EURUSD_H1.csv")
    bars = history(3, 5, "1h", 1.08)
    path = mt5.file(tmp_path, mt5.carried(bars))
    assert (read(mt5, path, columns={"volume": "<VOL>"})["volume"] == 0).all()
    at_utc = read(mt5, path, timezone="UTC").index
    assert ((at_utc - bars.index) / pd.Timedelta("1h")).isin([2, 3]).all()

    crypto = vendor("cryptodatadownload-s.csv")
    path = crypto.file(tmp_path, bars)
    assert (read(crypto, path, columns={"volume": "Volume USD"})["volume"] >= bars["volume"] - 1).all()

    lean = vendor("lean-hour.zip")
    path = lean.file(tmp_path, lean.carried(bars))
    assert read(lean, path, price_divisor=1)["open"].min() > 9000


def test_an_option_that_a_format_cannot_know_is_asked_for(tmp_path):
    for name in ("mt5-EURUSD_H1.csv", "mt4-EURUSD60.csv", "stooq-h.txt"):
        asked = vendor(name)._replace(options={})
        path = asked.file(tmp_path, history(2, 5, "1h", 1.08))
        with pytest.raises(SourceError, match=rf"S: source files .*{path.name}: .*Set source.timezone"):
            read(asked, path)


@pytest.mark.parametrize("name", ["mt5", "kraken", "lean", "polygon", "yahoo", "histdata"])
def test_a_file_of_another_format_is_refused_by_its_start(tmp_path, name):
    path = tmp_path / "x.csv"
    path.write_text("when,o,h,l,c,v\n2024-01-02,1,2,0.5,1.5,10\n")
    with pytest.raises(SourceError, match=f"no file of {name}, as its start shows: 'when,o,h,l,c,v"):
        read(vendor("yahoo-website.csv")._replace(format=name), path)


def test_a_file_of_minutes_since_midnight_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "20131007_trade.csv"
    path.write_text("34200000,4875000,4877000,4870000,4871000,1000\n")
    with pytest.raises(SourceError, match="lean: minute files of LEAN hold milliseconds since midnight"):
        read(vendor("lean-hour.zip"), path)


@pytest.mark.parametrize(
    ("format_", "name", "text", "holds"),
    [
        ("binance_vision", "BTCUSDT-fundingRate-2024-01.csv", "calc_time,funding_interval_hours,last_funding_rate\n"
         "1704067200000,8,0.00037409\n", "funding rates"),
        ("freqtrade", "BTC_USDT_USDT-8h-funding_rate.json", "[[1704067200000, 0.00037409, 0.0, 0.0, 0.0, 0.0]]",
         "funding rates"),
        ("freqtrade", "BTC_USDT_USDT-1h-mark.json", "[[1704067200000, 42314.0, 42603.2, 42289.6, 42503.5, 0.0]]",
         "mark prices"),
    ],
)  # fmt: skip
def test_files_of_other_series_beside_the_candles_are_refused_by_name(tmp_path, format_, name, text, holds):
    (tmp_path / name).write_text(text)
    source = source_from({"kind": "files", "format": format_, "path": str(tmp_path / "BTC*")})
    with pytest.raises(SourceError, match=rf"{name}: {format_}: it holds {holds}, not candles\. Name the files"):
        source.fetch("S", "1h", LONG_AGO, FAR, FAR)


def test_a_panel_without_the_symbol_names_the_tickers_it_has(tmp_path):
    polygon = vendor("polygon-2024-03-04.csv.gz")
    path = polygon.file(tmp_path, history(2, 5, "1m", 29.5))
    source = source_from({"kind": "files", "format": "polygon", "path": str(path)})
    with pytest.raises(SourceError, match="no row with ticker = AAPL; it has S, ZZZ"):
        source.fetch("AAPL", "1m", LONG_AGO, FAR, FAR)


def test_days_are_told_from_months_by_the_whole_file(tmp_path):
    """Investing.com writes 04/09/2024 for two days, depending on the reader's country."""
    header = '"Date","Price","Open","High","Low","Vol.","Change %"\n'
    rows = '"{}","1.5","1.0","2.0","0.5","1.2K","0.5%"\n'
    investing = vendor("investing-us.csv")
    for days, expected in ((("09/13/2024", "09/04/2024"), "2024-09-04"), (("13/09/2024", "04/09/2024"), "2024-09-04")):
        (tmp_path / "x.csv").write_text(header + "".join(map(rows.format, days)))
        assert read(investing, tmp_path / "x.csv").index[0] == pd.Timestamp(expected, tz="UTC")


def test_a_format_is_part_of_the_identity_and_nothing_else_is_that_was_not(tmp_path):
    plain = source_from({"kind": "files", "path": "a.csv"}).identity
    assert "format" not in plain
    named = source_from({"kind": "files", "path": "a.csv", "format": "kraken"}).identity
    assert named == {**plain, "format": "kraken"}


def test_an_error_of_a_venue_in_place_of_its_bars_is_refused(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"code": 404.006, "reason": "Not found"}))
    with pytest.raises(SourceError, match="S: source files"):
        read(vendor("bitstamp-ohlc.json"), path)
