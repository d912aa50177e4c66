"""The newest week of a symbol: the earlier of what its source has and what the settings' end allows."""

import pandas as pd
import pytest

from quantum_training.lifecycle.data_end import data_end, newest_possible_as_of, newest_week
from quantum_training.partitions import build_partitions, parse_key
from quantum_training.settings import load_settings

NOW = pd.Timestamp("2026-07-08 12:00", tz="UTC")


def settings_until(end, of_symbol=None):
    settings = load_settings()
    symbols = {name: market.model_copy(update={"end": of_symbol}) for name, market in settings.symbols.items()}
    return settings.model_copy(update={"end": end and pd.Timestamp(end).date(), "symbols": symbols})


@pytest.mark.parametrize(
    ("end", "until", "week"),
    [
        (None, "2019-01-01", "2018-12-31"),
        ("2018-12-31", "2019-01-01", "2018-12-31"),
        ("2020-12-31", "2019-01-01", "2018-12-31"),
        ("2018-06-30", "2018-07-01", "2018-06-25"),
        ("2018-07-01", "2018-07-02", "2018-06-25"),
        ("2018-07-02", "2018-07-03", "2018-07-02"),
    ],
)
def test_the_newest_week_is_one_that_data_and_end_allow(end, until, week):
    settings = settings_until(end)
    assert data_end(settings, "SP500", NOW) == pd.Timestamp(until, tz="UTC")
    assert newest_week(settings, "SP500", NOW) == pd.Timestamp(week, tz="UTC")
    grid = build_partitions(["SP500"], settings.start.isoformat(), end).week
    assert parse_key(grid, f"SP500|{week}").period == week


@pytest.mark.parametrize("end", [None, "2018-06-30", "2018-07-01", "2018-07-02"])
def test_the_newest_possible_as_of_lies_in_a_week_with_a_partition(end):
    settings = settings_until(end)
    as_of = newest_possible_as_of(settings, "SP500", data_end(settings, "SP500", NOW))
    week = as_of - pd.Timedelta(days=as_of.weekday())
    grid = build_partitions(["SP500"], settings.start.isoformat(), end).week
    assert parse_key(grid, f"SP500|{week:%Y-%m-%d}").start == week.normalize()


@pytest.mark.parametrize(("end", "of_symbol"), [("2018-06-30", "2018-12-31"), (None, "2018-06-30")])
def test_the_earlier_of_both_ends_counts(end, of_symbol):
    settings = settings_until(end, pd.Timestamp(of_symbol).date())
    assert newest_week(settings, "SP500", NOW) == pd.Timestamp("2018-06-25", tz="UTC")
    assert f"{settings.last_day_of_all}" == "2018-06-30"


def test_a_live_market_has_the_week_in_progress():
    settings = settings_until(None)
    assert newest_week(settings, "SP500", pd.Timestamp("2018-06-30 12:00", tz="UTC")).strftime("%m-%d") == "06-25"
