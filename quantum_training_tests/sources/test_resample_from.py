"""`resample_from`: a file of minutes as a source of longer bars."""

from __future__ import annotations

import pandas as pd
import pytest

from quantum_training.market.notes import take_notes
from quantum_training.sources import SourceError, source_from
from quantum_training_tests.market.test_resampling import minutes, one, utc

FAR = utc("2100-01-01")


def source(path, calendar="24/7", **options):
    made = source_from({"kind": "files", "path": str(path), "resample_from": "1m", **options})
    made.traded_by(calendar)
    return made


def test_hours_of_a_month_are_made_of_its_minutes_and_only_complete_ones_are_given(tmp_path):
    bars = minutes("24/7", "2024-01-31 20:00", "2024-02-01 03:30")
    bars.to_csv(tmp_path / "x.csv")
    hours = source(tmp_path / "x.csv")
    got = hours.fetch("S", "1h", utc("2024-02-01"), utc("2024-03-01"), FAR)
    assert got.index.tolist() == [utc(f"2024-02-01 0{hour}:00") for hour in range(3)]
    assert got.loc["2024-02-01 01:00"].tolist() == one(bars.loc["2024-02-01 01:00":"2024-02-01 01:59"])
    assert hours.available_until("S", "1h", FAR) == utc("2024-02-01 03:00")
    assert hours.available_until("S", "1h", utc("2024-02-01 02:10")) == utc("2024-02-01 02:00")
    assert len(hours.fetch("S", "1h", utc("2024-02-01"), utc("2024-03-01"), utc("2024-02-01 02:10"))) == 2


def test_days_are_sessions_and_minutes_before_the_open_are_counted(tmp_path):
    bars = minutes("XNYS", "2024-03-07", "2024-03-13")
    early = bars.iloc[:30].set_axis(bars.index[:30] - pd.Timedelta("30min"))
    pd.concat([early, bars]).to_csv(tmp_path / "x.csv")
    days = source(tmp_path / "x.csv", "XNYS")
    got = days.fetch("S", "1d", utc("2024-03-01"), utc("2024-04-01"), FAR)
    assert got.index.strftime("%d").tolist() == ["07", "08", "11", "12"]
    assert got.loc["2024-03-11"].tolist() == one(bars.loc["2024-03-11"])
    assert take_notes(got).facts == {"shorter_bars_outside_sessions": 30}


def test_a_session_of_which_minutes_are_to_come_is_no_day_yet(tmp_path):
    bars = minutes("XNYS", "2024-03-07", "2024-03-09")[:-5]
    bars.to_csv(tmp_path / "x.csv")
    days = source(tmp_path / "x.csv", "XNYS")
    assert days.fetch("S", "1d", utc("2024-03-01"), utc("2024-04-01"), FAR).index.tolist() == [utc("2024-03-07")]
    assert days.available_until("S", "1d", FAR) == utc("2024-03-08")


def test_a_minute_that_stands_twice_is_an_error_and_is_not_counted_twice(tmp_path):
    bars = minutes("24/7", "2024-01-01", "2024-01-01 02:00")
    pd.concat([bars[:10], bars[5:]]).to_csv(tmp_path / "x.csv")
    got = source(tmp_path / "x.csv").fetch("S", "1h", utc("2024-01-01"), utc("2024-02-01"), FAR)
    (defect,) = take_notes(got).defects
    assert (defect.rule, defect.severity) == ("resampling", "error")
    assert "S 1h resampling: 5 bar(s) of 1m, first at 2024-01-01 00:05" in defect.message


def test_it_is_part_of_the_identity_only_if_set_and_a_file_of_the_same_timeframe_is_read_as_it_is(tmp_path):
    bars = minutes("24/7", "2024-01-01", "2024-01-01 02:00")
    bars.to_csv(tmp_path / "x.csv")
    made = source(tmp_path / "x.csv")
    assert made.identity["resample_from"] == "1m"
    assert "resample_from" not in source(tmp_path / "x.csv", resample_from=None).identity
    pd.testing.assert_frame_equal(made.fetch("S", "1m", utc("2024-01-01"), FAR, FAR), bars, check_freq=False)


def test_bars_that_cannot_be_made_are_refused(tmp_path):
    minutes("24/7", "2024-01-01", "2024-01-02").to_csv(tmp_path / "x.csv")
    with pytest.raises(SourceError, match="bars of 15m cannot be made of bars of 1h"):
        source(tmp_path / "x.csv", resample_from="1h").fetch("S", "15m", utc("2024-01-01"), FAR, FAR)


@pytest.mark.parametrize(("timeframe", "first"), [("1w", "2024-01-01"), ("1w from Thursday", "2024-01-04")])
def test_weeks_are_made_of_days_once_all_seven_are_there(tmp_path, timeframe, first):
    days = pd.date_range("2023-12-28", "2024-02-20", tz="UTC")
    bars = pd.DataFrame({"open": 2.0, "high": 3.0, "low": 1.0, "close": 2.5, "volume": range(len(days))}, days)
    bars.to_csv(tmp_path / "x.csv", index_label="open_time")
    weeks = source(tmp_path / "x.csv", resample_from="1d")
    got = weeks.fetch("S", timeframe, utc("2024-01-01"), utc("2024-02-01"), FAR)
    assert [*got.index] == [*pd.date_range(first, "2024-01-31", freq="7D", tz="UTC")]
    week = utc(first)
    assert got.loc[week, "volume"] == bars.loc[week : week + pd.Timedelta("6D"), "volume"].sum()
    closed = week + pd.Timedelta("7D")
    assert weeks.fetch("S", timeframe, week, utc("2024-02-01"), closed - pd.Timedelta("1s")).empty
    assert [*weeks.fetch("S", timeframe, week, utc("2024-02-01"), closed).index] == [week]
    assert weeks.available_until("S", timeframe, FAR) == utc("2024-02-19" if timeframe == "1w" else "2024-02-15")


def test_three_days_are_counted_from_1970_and_weeks_are_not_made_of_them(tmp_path):
    days = pd.date_range("2024-01-01", "2024-03-01", tz="UTC")
    bars = pd.DataFrame({"open": 2.0, "high": 3.0, "low": 1.0, "close": 2.5, "volume": 1.0}, days)
    bars.to_csv(tmp_path / "x.csv", index_label="open_time")
    got = source(tmp_path / "x.csv", resample_from="1d").fetch("S", "3d", utc("2024-02-01"), utc("2024-03-01"), FAR)
    assert ((got.index - utc("1970-01-01")) % pd.Timedelta("3D") == pd.Timedelta(0)).all()
    assert (got["volume"] == 3).all()
    with pytest.raises(SourceError, match="bars of 1w cannot be made of bars of 3d"):
        source(tmp_path / "x.csv", resample_from="3d").fetch("S", "1w", utc("2024-02-01"), utc("2024-03-01"), FAR)
