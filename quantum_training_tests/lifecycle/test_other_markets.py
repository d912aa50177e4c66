"""Which bar of another symbol a row may know: by closes, over calendars, clock changes, half days, late bars, gaps."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.lifecycle.other_markets import (
    StoredColumns,
    known_columns,
    lateness,
    newest_expected_bar,
    symbols_read,
)
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.notes import Notes
from quantum_training.market.periods import month_of
from quantum_training.market.timeframe import close_times, to_timedelta
from quantum_training.settings import load_settings
from quantum_training.settings.schema import Symbol


def utc(text):
    return pd.Timestamp(text, tz="UTC")


START, END = utc("2020-10-01"), utc("2020-12-01")


def settings_of(calendar, timeframe):
    """Settings of a market OTHER."""
    market = Symbol(source={"kind": "synthetic"}, calendar=calendar, timeframe=timeframe, recipes=["lightgbm"])
    return load_settings().model_copy(update={"start": date(2020, 9, 1), "symbols": {"OTHER": market}})


def stored_bars(settings, until=END):
    """A column that holds the number of each bar of OTHER that is closed at `until`."""
    market = settings.symbols["OTHER"]
    opened = expected_open_times(market.calendar, market.timeframe, START, END)
    opened = opened[close_times(opened, market.timeframe) <= until]
    columns = pd.DataFrame({"number": np.arange(len(opened), dtype=float)}, opened)
    starts = pd.date_range(START, END - pd.Timedelta("1ns"), freq="MS")
    covered = {month_of(start): min(start + pd.offsets.MonthBegin(1), until) for start in starts}
    return StoredColumns(columns, {month: end for month, end in covered.items() if end > pd.Timestamp(month, tz="UTC")})


def known(settings, closed, stored=None):
    closed = pd.DatetimeIndex(closed)
    values = known_columns(settings, "OTHER", stored or stored_bars(settings), closed)[:, 0]
    return pd.Series(values, closed)


MARKETS = [
    ("24/7", "1h"),
    ("24/7", "4h"),
    ("24/7", "1d"),
    ("XNYS", "1h"),
    ("XNYS", "30m"),
    ("XNYS", "1d"),
    ("FX", "1h"),
]


@pytest.mark.parametrize(("calendar", "timeframe"), MARKETS)
def test_a_row_knows_the_newest_closed_bar_and_no_later_one(calendar, timeframe):
    """Clock changes of Europe (2020-10-25) and the USA (2020-11-01), and the half day of 2020-11-27 lie within."""
    settings = settings_of(calendar, timeframe)
    stored = stored_bars(settings)
    opened = pd.DatetimeIndex(stored.columns.index)
    closes = close_times(opened, timeframe)
    for time, number in known(settings, pd.date_range(utc("2020-10-05"), END, freq="17min"), stored).items():
        assert closes[int(number)] <= time
        assert int(number) + 1 == len(opened) or closes[int(number) + 1] > time


@pytest.mark.parametrize(("calendar", "timeframe"), MARKETS)
def test_a_row_changes_with_no_bar_that_closes_after_it(calendar, timeframe):
    settings = settings_of(calendar, timeframe)
    whole, closed = stored_bars(settings), pd.date_range("2020-10-20 00:05", "2020-11-29", freq="7h", tz="UTC")
    at_the_time = [known(settings, [time], stored_bars(settings, until=time)).iloc[0] for time in closed]
    np.testing.assert_array_equal(known(settings, closed, whole), at_the_time)


@given(st.integers(0, 61 * 24 * 60 - 1), st.sampled_from(MARKETS))
def test_the_newest_expected_bar_is_the_one_that_a_row_knows(minutes, market):
    settings, time = settings_of(*market), START + pd.Timedelta(minutes=minutes)
    stored, bar = stored_bars(settings), newest_expected_bar(settings, "OTHER", time)
    number = known(settings, [time], stored).iloc[0]
    if bar >= START:
        assert stored.columns.index[int(number)] == bar
    else:
        assert np.isnan(number)


def test_an_hour_after_the_bar_it_is_not_known_yet_if_bars_of_the_exchange_are_longer():
    """15:30 to 16:30 UTC is the second bar of New York's session in summer time, one hour later in winter."""
    hourly = settings_of("XNYS", "1h")
    stored = stored_bars(hourly)
    for day, first in (("2020-10-30", "13:30"), ("2020-11-02", "14:30")):
        opens = utc(f"{day} {first}")
        before, just_before, at = known(
            hourly, [opens, opens + pd.Timedelta("59min"), opens + pd.Timedelta("1h")], stored
        )
        assert before == just_before == at - 1
        assert stored.columns.index[int(at)] == opens


def test_daily_bars_that_begin_later_than_midnight_are_known_when_they_are_complete(workspace, small):
    """Those of Deribit begin at 08:00 UTC and are stored by their date."""
    settings = settings_of("24/7", "1d")
    stored = stored_bars(settings)
    late = stored._replace(late=pd.Timedelta("8h"))
    day, hours = utc("2020-11-10"), pd.Timedelta("8h")
    at_midnight, at_eight = known(settings, [day, day + hours], late)
    assert stored.columns.index[int(at_midnight)] == utc("2020-11-08")
    assert stored.columns.index[int(at_eight)] == utc("2020-11-09")
    assert newest_expected_bar(settings, "OTHER", day, hours) == utc("2020-11-08")
    store = workspace(small).store
    assert lateness(store, "OTHER") == pd.Timedelta(0)
    for begins, expected in (("+08:00", "8h"), ("-05:00", "0h")):
        notes = Notes({"day_begins": begins}).attributes
        store.write_frame("candles", "OTHER", "2020-11-01", pd.DataFrame({"close": [1.0]}, [day]), notes)
        assert lateness(store, "OTHER") == pd.Timedelta(expected)


def test_a_late_bar_is_missing_and_not_filled_with_the_one_before():
    settings = settings_of("24/7", "1h")
    late = stored_bars(settings, until=utc("2020-11-10 06:00"))
    values = known(settings, pd.date_range("2020-11-10 05:30", periods=5, freq="30min", tz="UTC"), late)
    assert values.isna().tolist() == [False, False, False, True, True]


def test_a_closed_exchange_is_not_late():
    settings = settings_of("XNYS", "1h")
    friday = stored_bars(settings, until=utc("2020-11-06 21:30"))
    values = known(settings, pd.date_range("2020-11-06 21:30", "2020-11-09 15:00", freq="1h", tz="UTC"), friday)
    assert values.notna().all()
    assert (values == values.iloc[0]).all()
    assert known(settings, [utc("2020-11-09 15:30")], friday).isna().all()


def test_a_month_that_may_not_be_used_leaves_its_rows_and_the_first_after_it_empty():
    settings = settings_of("24/7", "4h")
    stored = stored_bars(settings)
    without = StoredColumns(stored.columns.loc["2020-11-01":], {"2020-11-01": END})
    values = known(settings, pd.date_range("2020-10-31 20:00", periods=3, freq="4h", tz="UTC"), without)
    assert values.isna().tolist() == [True, True, False]


def test_a_bar_without_a_trade_that_the_source_leaves_out_has_that_of_the_bar_before():
    settings = settings_of("24/7", "1h")
    stored = stored_bars(settings)
    traded = stored._replace(columns=stored.columns.drop(utc("2020-11-10 05:00")))
    times = pd.date_range("2020-11-10 05:00", periods=3, freq="1h", tz="UTC")
    first, second, third = known(settings, times, traded)
    assert (second, third) == (first, first + 2)


def test_before_the_other_market_exists_nothing_is_known():
    settings = settings_of("24/7", "1h")
    young = settings.model_copy(
        update={"symbols": {"OTHER": settings.symbols["OTHER"].model_copy(update={"start": END.date()})}}
    )
    assert known(young, pd.date_range("2020-11-10", periods=3, freq="1h", tz="UTC")).isna().all()
    assert newest_expected_bar(young, "OTHER", utc("2020-11-10")) is None


def test_each_row_is_at_most_one_bar_and_a_closure_old():
    settings = settings_of("24/7", "1h")
    closed = pd.date_range(utc("2020-10-02"), END, freq="1h")
    opened = stored_bars(settings).columns.index[known(settings, closed).astype(int)]
    assert (closed - opened == to_timedelta("1h")).all()


def test_the_symbols_read_are_those_of_the_sets_that_recipes_use(workspace, small):
    recipe = small["recipes"]["xgboost"]
    sets = {"b": {"module": "m", "of": "BBB"}, "unused": {"module": "m", "of": ["AAA"]}}
    small |= {"features": sets, "recipes": {**small["recipes"], "xgboost": {**recipe, "features": ["b"]}}}
    small["symbols"]["BBB"]["recipes"] = ["lightgbm"]
    settings = workspace(small).settings
    assert symbols_read(settings, ["AAA", "BBB"]) == ["BBB"]
    assert symbols_read(settings, ["BBB"]) == []
