"""Longer bars out of shorter ones: open, high, low, close and volume, within sessions and at changes of the clock."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from quantum_training.market.calendars import expected_open_times
from quantum_training.market.resampling import resampled, unusable
from quantum_training.market.schema import as_candles
from quantum_training.market.timeframe import to_timedelta


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def walk(times: pd.DatetimeIndex) -> pd.DataFrame:
    draws = np.random.default_rng(7)
    closes = 100 * np.exp(np.cumsum(draws.normal(0, 0.001, len(times))))
    opens = closes * np.exp(draws.normal(0, 0.001, len(times)))
    bars = {"open": opens, "high": np.maximum(opens, closes) * 1.001, "low": np.minimum(opens, closes) * 0.999}
    return as_candles(pd.DataFrame({**bars, "close": closes, "volume": draws.integers(0, 99, len(times))}, index=times))


def minutes(calendar: str, start: str, end: str) -> pd.DataFrame:
    return walk(expected_open_times(calendar, "1m", utc(start), utc(end)))


def one(bars: pd.DataFrame) -> list[float]:
    """The bar that some shorter ones make, by the definition."""
    return [bars["open"].iloc[0], bars["high"].max(), bars["low"].min(), bars["close"].iloc[-1], bars["volume"].sum()]


def test_a_market_that_never_closes_has_bars_on_the_grid_of_the_day():
    bars = minutes("24/7", "2024-01-01 00:07", "2024-01-04")
    bars = bars.drop(bars.index[100:400])
    got, ends, outside = resampled(bars, "24/7", "1h")
    rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    expected = bars.resample("1h").agg(rules).dropna()
    pd.testing.assert_frame_equal(got, expected, check_freq=False)
    assert ((ends - got.index) == pd.Timedelta("1h")).all()
    assert outside == 0


@pytest.mark.parametrize("calendar", ["XNYS", "XHKG", "FX", "XTKS"])
@pytest.mark.parametrize("timeframe", ["5m", "1h", "4h", "1d"])
def test_bars_are_those_that_the_calendar_expects_also_when_clocks_change(calendar, timeframe):
    bars = minutes(calendar, "2024-03-04", "2024-03-16")
    got, _, outside = resampled(bars, calendar, timeframe)
    expected = expected_open_times(calendar, timeframe, utc("2024-03-04"), utc("2024-03-15"))
    assert expected.isin(got.index).all()
    assert outside == 0
    assert got["volume"].sum() == bars["volume"].sum()
    step = to_timedelta(timeframe)
    for start in got.index[[0, 1, -2]] if timeframe != "1d" else []:
        later = got.index[got.index > start]
        end = min([start + step, *later[:1]])
        assert got.loc[start].tolist() == one(bars[(bars.index >= start) & (bars.index < end)])


def test_a_daily_bar_is_its_session_with_both_halves_and_no_minute_of_the_night():
    bars = minutes("XHKG", "2024-03-04", "2024-03-06")
    night = walk(pd.date_range("2024-03-04 12:00", "2024-03-04 13:00", freq="min", tz="UTC"))
    got, ends, outside = resampled(pd.concat([bars, night]).sort_index(), "XHKG", "1d")
    day = bars[bars.index < "2024-03-05"]
    assert got.index.tolist() == [utc("2024-03-04"), utc("2024-03-05")]
    assert got.iloc[0].tolist() == one(day)
    assert ends[0] == utc("2024-03-04 08:00")
    assert outside == 61


def test_a_day_of_currencies_begins_on_the_evening_before():
    bars = minutes("FX", "2024-03-10", "2024-03-13")
    got, ends, _ = resampled(bars, "FX", "1d")
    monday = bars[(bars.index >= "2024-03-10 21:00") & (bars.index < "2024-03-11 21:00")]
    assert got.loc["2024-03-11"].tolist() == one(monday)
    assert ends[got.index.get_loc("2024-03-11")] == utc("2024-03-11 21:00")


def test_the_last_bar_of_a_session_ends_with_it():
    bars = minutes("XNYS", "2024-07-03", "2024-07-04")
    got, ends, _ = resampled(bars, "XNYS", "1h")
    assert got.index[-1] == utc("2024-07-03 16:30")
    assert ends[-1] == utc("2024-07-03 17:00")


def test_shorter_bars_that_are_wrong_are_named():
    bars = minutes("24/7", "2024-01-01", "2024-01-02")
    assert unusable(bars).empty
    bars.iloc[10, 1] = bars.iloc[10, 2] / 2
    bars.iloc[20, 4] = np.nan
    assert unusable(bars).tolist() == [bars.index[10], bars.index[20]]
    assert unusable(pd.concat([bars[:5], bars[2:4]])).tolist() == list(bars.index[2:4])
