"""Guessing the settings entry of an unknown file: format, columns, stamps, timeframe, clock and calendar."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from quantum_training.lifecycle.source_inspection.guess import guess_market
from quantum_training.market.calendar_settings import CustomCalendar
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.schema import as_candles
from quantum_training.sources import SourceError
from quantum_training_tests.support.vendor_files import VENDORS

NOW = pd.Timestamp("2026-01-01", tz="UTC")
FAR = pd.Timestamp("2100-01-01", tz="UTC")


def walk(times: pd.DatetimeIndex) -> pd.DataFrame:
    """Bars that open where the one before closed."""
    draws = np.random.default_rng(3)
    closes = 100 * np.exp(np.cumsum(draws.normal(0, 0.003, len(times))))
    opens = np.r_[100.0, closes[:-1]]
    bars = {"open": opens, "high": np.maximum(opens, closes) + 0.01, "low": np.minimum(opens, closes) - 0.01}
    return as_candles(pd.DataFrame({**bars, "close": closes, "volume": draws.integers(1, 99, len(times))}, index=times))


def due(calendar: str, timeframe: str, start: str, end: str) -> pd.DataFrame:
    bars = (pd.Timestamp(day, tz="UTC") for day in (start, end))
    return walk(expected_open_times(calendar, timeframe, *bars))


def read(market, symbol="S") -> pd.DataFrame:
    return market.source.fetch(symbol, market.timeframe, pd.Timestamp("1980-01-01", tz="UTC"), FAR, NOW)


@pytest.mark.parametrize(
    ("name", "calendar"),
    [
        ("alphavantage-intraday.csv", "XNYS"),
        ("binance_vision-spot2025.zip", "24/7"),
        ("coinbase-exchange.json", "24/7"),
        ("databento-raw.csv.zst", "24/7"),
        ("dukascopy-local.csv", "FX"),
        ("freqtrade-BTC_USDT-1h.feather", "24/7"),
        ("kraken-XBTUSD_60.csv", "24/7"),
        ("lean-hour.zip", "24/7"),
        ("mt5-EURUSD_H1.csv", "FX"),
        ("mt4-EURUSD60.csv", "FX"),
        ("nasdaq-stock.csv", "XNYS"),
        ("yahoo-download.csv", "XNYS"),
    ],
)
def test_a_vendors_file_is_recognised(tmp_path, name, calendar):
    vendor = next(v for v in VENDORS if str(v) == name)
    end = {"1m": "2024-03-05", "1h": "2024-03-22", "1d": "2024-08-01"}[vendor.timeframe]
    bars = vendor.carried(due(calendar, vendor.timeframe, "2024-03-03", end))
    _, market, remarks = guess_market(str(vendor.file(tmp_path, bars)), NOW)
    assert (market.source.format, market.timeframe, market.calendar) == (vendor.format, vendor.timeframe, calendar)
    assert market.source.timezone == vendor.options.get("timezone", "UTC")
    assert remarks[0] == f"format: {vendor.format}"
    pd.testing.assert_frame_equal(read(market), bars, check_freq=False)


def test_files_of_one_bar_each_show_their_timeframe_together(tmp_path):
    """Flat files of daily bars: one a day, stamped with New York's midnight."""
    polygon = next(v for v in VENDORS if str(v) == "polygon-2024-03-04.csv.gz")
    bars = due("XNYS", "1d", "2024-03-04", "2024-03-29")
    stamped = bars.set_axis(bars.index.tz_localize(None).tz_localize("America/New_York").tz_convert("UTC"))
    for number in range(len(bars)):
        polygon.file(tmp_path, polygon.carried(stamped.iloc[[number]])).rename(tmp_path / f"day{number:02}.csv.gz")
    _, market, _ = guess_market(str(tmp_path), NOW)
    assert (market.source.format, market.timeframe, market.calendar) == ("polygon", "1d", "XNYS")


@pytest.mark.parametrize(
    "calendar", [CustomCalendar(name="XNYS", align="clock"), CustomCalendar(name="XNYS", hours="04:00-20:00")]
)
def test_clock_hours_and_extended_hours_of_stocks_are_told(tmp_path, calendar):
    lean = next(v for v in VENDORS if str(v) == "lean-hour.zip")
    bars = lean.carried(due(calendar, "1h", "2024-03-04", "2024-04-20"))
    _, market, _ = guess_market(str(lean.file(tmp_path, bars)), NOW)
    assert market.calendar == calendar
    pd.testing.assert_frame_equal(read(market), bars, check_freq=False)


def test_offsets_that_change_with_the_clock_are_read(tmp_path):
    bars = due("XNYS", "1h", "2024-03-04", "2024-03-20").round(4)
    bars.set_axis(bars.index.tz_convert("America/New_York")).rename_axis("date").to_csv(tmp_path / "x.csv")
    _, market, _ = guess_market(str(tmp_path / "x.csv"), NOW)
    pd.testing.assert_frame_equal(read(market), bars, check_freq=False)


def test_columns_are_told_by_their_names_in_other_languages(tmp_path):
    bars = due("24/7", "1d", "2024-01-01", "2024-03-01").round(2)
    rows = [
        f"{t:%d.%m.%Y};{o:.2f};{h:.2f};{lo:.2f};{c:.2f};{v:.0f}".replace(".", ",").replace(",", ".", 2)
        for t, o, h, lo, c, v in bars[::-1].itertuples()
    ]
    path = tmp_path / "dax.csv"
    path.write_text("Kurse der Bank\nDatum;Eröffnung;Hoch;Tief;Schluss;Volumen\n" + "\n".join(rows), encoding="latin-1")
    symbol, market, _ = guess_market(str(path), NOW)
    assert (symbol, market.timeframe, market.source.skip_rows) == ("dax", "1d", 1)
    pd.testing.assert_frame_equal(read(market), bars, check_freq=False)


def test_columns_without_names_are_told_by_their_numbers(tmp_path):
    bars = due("24/7", "15m", "2024-01-01", "2024-01-12").round(4)
    path = tmp_path / "x.csv"
    path.write_text(
        "".join(
            f"{t.value // 10**9},{lo:.4f},{h:.4f},{o:.4f},{c:.4f},{v:.0f}\n" for t, o, h, lo, c, v in bars.itertuples()
        )
    )
    _, market, remarks = guess_market(str(path), NOW)
    assert remarks[0] == "format: none of the known ones"
    pd.testing.assert_frame_equal(read(market), bars, check_freq=False)


def test_the_clock_is_told_by_the_hours_of_trading(tmp_path):
    bars = due("XETR", "1h", "2024-03-01", "2024-04-20").round(4)
    local = bars.set_axis(bars.index.tz_convert("Europe/Berlin").tz_localize(None).rename("Time"))
    local.to_csv(tmp_path / "sap.csv")
    _, market, _ = guess_market(str(tmp_path / "sap.csv"), NOW)
    assert market.source.timezone == "Europe/Berlin"
    pd.testing.assert_frame_equal(read(market), bars, check_freq=False)


def test_a_file_of_many_tickers_gives_the_entry_of_one_and_names_the_others(tmp_path):
    bars = due("XNYS", "1d", "2024-01-01", "2024-02-01").round(4)
    frames = [bars.assign(ticker=ticker) for ticker in ("AAPL", "MSFT", "000660")]
    pd.concat(frames).to_csv(tmp_path / "all.csv")
    symbol, market, remarks = guess_market(str(tmp_path / "all.csv"), NOW)
    assert symbol in ("AAPL", "MSFT", "000660")
    assert {"AAPL", "MSFT", "000660"} <= {*" ".join(remarks).replace(",", " ").replace(";", " ").split()}
    assert len(read(market)) == len(bars)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a,b\n1,2\n", "no columns of bars are recognised"),
        ("date,open,high,low,close\n2024-01-01,1,2,3,4\n2024-01-02,1,2,3,4\n", "only 0% of its rows .* may be swapped"),
        ("date,open,high,low,close,volume\n2024-01-01 09:30,1,2,0.5,1.5,10\n", "one bar only"),
        ("date,open,high,low,close,volume\n2024-01-01,1,2,0.5,1.5,10\n2024-01-15,1,2,0.5,1.5,10\n", "14 days apart"),
    ],
)
def test_what_holds_no_bars_is_refused_with_the_reason(tmp_path, text, problem):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(SourceError, match=problem):
        guess_market(str(tmp_path / "x.csv"), NOW)


@pytest.mark.parametrize("timeframe", ["1w", "1w from Thursday", "3d", "3d from 1970-01-03"])
def test_bars_of_several_days_are_recognised_with_the_day_on_which_they_begin(tmp_path, timeframe):
    bars = due("24/7", timeframe, "2020-01-01", "2024-01-01")
    bars.to_csv(tmp_path / "BTC.csv", index_label="date")
    _, market, _ = guess_market(str(tmp_path / "BTC.csv"), NOW)
    assert (market.timeframe, market.calendar, market.source.timezone) == (timeframe, "24/7", "UTC")
    pd.testing.assert_frame_equal(read(market), bars, check_freq=False)
