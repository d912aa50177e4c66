"""What a source gives, month by month, and how it is shown."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from quantum_training.lifecycle.source_inspection.files import files_of
from quantum_training.lifecycle.source_inspection.inspection import inspect_source
from quantum_training.lifecycle.source_inspection.picture import HEIGHT, WIDTH, picture
from quantum_training.lifecycle.source_inspection.report import entry_of, lines_of
from quantum_training.lifecycle.source_inspection.sessions import special_sessions
from quantum_training.settings import load_settings
from quantum_training.settings.schema import Symbol
from quantum_training.sources import SourceError
from quantum_training_tests.lifecycle.source_inspection.test_guess import due
from quantum_training_tests.support.vendor_files import VENDORS

NOW = pd.Timestamp("2026-01-01", tz="UTC")


def look(path: Path, bars: pd.DataFrame, timeframe: str, calendar: str, **source):
    """The inspection of a file with these bars, and the market."""
    bars.to_csv(path)
    options = {"kind": "files", "path": str(path), **source}
    first = bars.index[0].date()
    market = Symbol(source=options, timeframe=timeframe, calendar=calendar, recipes=("none",), start=first)
    settings = load_settings().model_copy(update={"symbols": {"S": market}, "end": None})
    return inspect_source(settings, "S", NOW), market


def test_months_with_gaps_and_wrong_bars_are_shown_as_ingestion_would_take_them(tmp_path):
    bars = due("24/7", "1h", "2024-01-10", "2024-04-01")
    bars = bars[(bars.index < "2024-02-05") | (bars.index >= "2024-02-10")]
    bars.loc["2024-03-05 10:00", "low"] = bars.loc["2024-03-05 10:00", "high"] + 1
    inspection, market = look(tmp_path / "x.csv", bars, "1h", "24/7")

    january, february, march = inspection.months
    assert (january.expected, january.missing, january.errors) == (22 * 24, 0, ())
    assert (february.expected, february.missing) == (29 * 24, 5 * 24)
    assert "missing" in february.errors[0]
    assert "open_in_range" in march.errors[0]
    assert len(inspection.bars) == len(bars)

    text = "\n".join(lines_of(inspection, market))
    assert "S: 1848 bars of 1h, calendar 24/7" in text
    assert "first 2024-01-10 00:00 UTC  open 100 " in text
    assert "2024-02     576   17.2%  refused" in text
    assert "quality gate: 1 of 3 months would be accepted" in text
    assert "bar offset: none" in text


def test_rows_that_the_source_drops_are_counted(tmp_path):
    bars = due("24/7", "1d", "2024-01-01", "2024-03-01").astype(object)
    bars.loc[pd.Timestamp("2024-01-20", tz="UTC")] = ["null"] * 5
    inspection, market = look(tmp_path / "x.csv", bars, "1d", "24/7", drop_empty=True)
    assert inspection.months[0].facts == {"empty_rows_dropped": 1}
    assert "  empty rows dropped: 1" in lines_of(inspection, market)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "binance_vision-spot2025.zip",
            ["format: binance_vision", "stamps: '1707696000000000' as Unix time in us, zone UTC"],
        ),
        ("cryptodatadownload-old.csv", ["stamps: '2024-02-19 11-PM' as %Y-%m-%d %I-%p, zone UTC"]),
        ("mt5-EURUSD_H1.csv", ["stamps: '2024.02.12 02:00:00' as %Y.%m.%d %H:%M:%S, zone America/New_York+7h"]),
        ("tradingview-iso.csv", ["stamps: '2024-02-11T19:00:00-05:00' as ISO 8601, zone UTC"]),
        ("freqtrade-BTC_USDT-1h.parquet", ["format: freqtrade", "stamps: times of the table, zone UTC"]),
    ],
)
def test_format_unit_and_zone_of_a_file_are_told(tmp_path, name, lines):
    writer = next(v for v in VENDORS if str(v) == name)
    path = writer.file(tmp_path, due("24/7", "1h", "2024-02-12", "2024-02-20"))
    source = {"kind": "files", "format": writer.format, "path": str(path), **writer.options}
    market = Symbol(source=source, timeframe="1h", calendar="24/7", recipes=("none",))
    told = files_of("S", market)
    assert told[0] == f"  files: 1, the first is {path}" or told[0].startswith(f"  files: 1, the first is {path}/")
    assert {f"  {line}" for line in lines} <= {*told}


def test_nothing_is_stored(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    look(tmp_path / "x.csv", due("24/7", "1d", "2024-01-01", "2024-03-01"), "1d", "24/7")
    assert not (tmp_path / "home").exists()


def test_days_that_the_calendar_does_not_know_and_short_sessions_are_named():
    bars = due("XNYS", "1h", "2024-11-01", "2025-01-01")
    saturday = bars.iloc[:1].set_axis(pd.DatetimeIndex(["2024-11-23 15:00+00:00"]))
    without = bars[bars.index.normalize() != pd.Timestamp("2024-12-10", tz="UTC")]
    market = Symbol(source={"kind": "sample", "dataset": "sp500"}, timeframe="1h", calendar="XNYS", recipes=("none",))
    days = special_sessions(market, pd.concat([without, saturday]).sort_index())
    assert days.unknown == ["2024-11-23"]
    assert days.absent == ["2024-12-10"]
    assert days.short == ["2024-11-29", "2024-12-24"]


def test_a_bar_that_begins_elsewhere_shows_its_offset(tmp_path):
    bars = due("XNYS", "1h", "2024-01-02", "2024-02-01")
    inspection, market = look(tmp_path / "x.csv", bars, "1h", "XNYS")
    assert "  bar offset: 30 min" in lines_of(inspection, market)


@pytest.mark.parametrize("vendor", ["yahoo", "tradingview", "polygon"])
def test_daily_bars_of_vendors_that_begin_elsewhere_are_those_of_their_sessions(tmp_path, vendor):
    """Yahoo's and Polygon's carry New York's midnight, TradingView's the session's open, also when clocks change."""
    bars = due("XNYS", "1d", "2024-02-12", "2024-04-01")
    name = {"yahoo": "history.csv", "tradingview": "unix.csv", "polygon": "2024-03-04.csv.gz"}[vendor]
    writer = next(v for v in VENDORS if (v.format, v.name) == (vendor, name))
    hour = pd.Timedelta("9h30min" if vendor == "tradingview" else "0h")
    local = (bars.index.tz_localize(None) + hour).tz_localize("America/New_York").tz_convert("UTC")
    written = writer.carried(bars).set_axis(local.rename("open_time"))
    writer.file(tmp_path, written)
    source = {"kind": "files", "format": vendor, "path": str(tmp_path / name)}
    market = Symbol(source=source, timeframe="1d", calendar="XNYS", recipes=("none",), start=bars.index[0].date())
    settings = load_settings().model_copy(update={"symbols": {"S": market}, "end": None})
    inspection = inspect_source(settings, "S", NOW)
    assert [month.errors for month in inspection.months] == [(), ()]
    pd.testing.assert_frame_equal(inspection.bars, writer.carried(bars), check_freq=False)


def test_a_source_that_cannot_be_read_at_all_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="no column first"):
        look(tmp_path / "x.csv", due("24/7", "1d", "2024-01-01", "2024-02-01"), "1d", "24/7", columns={"open": "first"})


def test_the_picture_has_every_price_between_its_labels():
    closes = due("24/7", "1h", "2024-01-01", "2024-03-01")["close"]
    *rows, axis = picture(closes)
    assert len(rows) == HEIGHT
    assert all(len(row) <= WIDTH + 14 for row in rows)
    labels = [float(row.split("|")[0].replace(",", "")) for row in rows]
    assert labels == sorted(labels, reverse=True)
    assert labels[0] == pytest.approx(closes.max(), rel=1e-3)
    assert labels[-1] == pytest.approx(closes.min(), rel=1e-3)
    columns = [{row[14 + n : 15 + n] for row in rows} for n in range(WIDTH)]
    assert all("*" in column for column in columns)
    assert axis.split() == ["2024-01-01", "2024-02-29"]
    assert picture(closes[:0]) == []
    assert len(picture(closes[:1] * 0 + 5.0)) == HEIGHT + 1


def test_the_suggested_entry_is_one_that_the_settings_accept(tmp_path):
    import yaml

    inspection, market = look(tmp_path / "x.csv", due("24/7", "1d", "2024-01-01", "2024-03-01"), "1d", "24/7")
    entry = yaml.safe_load("\n".join(entry_of("S", market, inspection.bars.index[0])[1:]))["symbols"]["S"]
    again = Symbol.model_validate({**entry, "recipes": ["none"]})
    assert (again.source, again.timeframe, again.calendar) == (market.source, market.timeframe, market.calendar)
