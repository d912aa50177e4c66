"""Grids and run keys."""

import pandas as pd
import pytest

from quantum_training.market.periods import Key
from quantum_training.partitions import build_partitions, overlap, parse_key, run_keys

GRIDS = build_partitions(["BTC-USDT", "SPY"], "2019-01-01")


@pytest.mark.parametrize("grid", GRIDS, ids=GRIDS._fields)
def test_every_key_reads_symbol_first_and_parses_back(grid):
    keys = grid.get_partition_keys()
    assert {str(k).split("|")[0] for k in keys} == {"BTC-USDT", "SPY"}
    assert [str(parse_key(grid, str(k))) for k in keys[:50]] == [str(k) for k in keys[:50]]


def test_the_symbols_alone_are_a_grid_too():
    assert GRIDS.symbol.get_partition_keys() == ["BTC-USDT", "SPY"]


def test_weeks_start_on_monday_and_the_period_in_progress_exists():
    now = pd.Timestamp.now("UTC")
    monday = (now - pd.Timedelta(days=now.weekday())).normalize()
    assert parse_key(GRIDS.week, f"SPY|{monday.date()}") == Key("SPY", monday)
    assert parse_key(GRIDS.month, f"SPY|{now.strftime('%Y-%m-01')}").start.day == 1
    assert parse_key(GRIDS.day, f"SPY|{now.date()}").start == now.normalize()
    assert parse_key(GRIDS.week, "SPY|2019-01-07").start.day_name() == "Monday"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("SPY|2019-01-08", "a Monday"),
        ("SPY|2018-12-31", "from 2019-01-07"),
        ("SPY|2999-01-07", "is no week"),
        ("SPY|2019-1-7", "is no week"),
        ("SPY", "SYMBOL|YYYY-MM-DD"),
        ("", "unknown symbol ''"),
        ("2019-01-07|SPY", "unknown symbol '2019-01-07'"),
        ("../SPY|2019-01-07", "unknown symbol"),
    ],
)
def test_a_wrong_key_is_refused_with_the_right_form(key, message):
    with pytest.raises(ValueError, match="partition") as error:
        parse_key(GRIDS.week, key)
    assert message in str(error.value)


def test_a_range_gives_every_key_once_oldest_first():
    tags = {
        "dagster/asset_partition_range_start": "BTC-USDT|2019-01-07",
        "dagster/asset_partition_range_end": "SPY|2019-01-21",
    }
    keys = run_keys(GRIDS.week, tags)
    assert [str(k) for k in keys] == [f"{s}|2019-01-{d}" for s in ("BTC-USDT", "SPY") for d in ("07", "14", "21")]


def test_half_a_range_and_no_partition_are_refused():
    with pytest.raises(ValueError, match="unknown symbol ''"):
        run_keys(GRIDS.week, {"dagster/asset_partition_range_start": "SPY|2019-01-07"})
    with pytest.raises(ValueError, match="names no partition"):
        run_keys(GRIDS.week, {})


@pytest.mark.parametrize(
    ("end", "last"),
    [
        ("2018-12-31", ("2018-12-01", "2018-12-31", "2018-12-31")),
        ("2019-01-06", ("2019-01-01", "2018-12-31", "2019-01-06")),
        ("2019-01-07", ("2019-01-01", "2019-01-07", "2019-01-07")),
    ],
)
def test_a_recording_has_no_partition_after_the_periods_that_hold_its_end(end, last):
    grids = build_partitions(["SPY"], "2018-01-01", end)
    assert tuple(str(g.get_last_partition_key()).split("|")[1] for g in grids) == last


def test_a_week_that_straddles_two_months_needs_both():
    mapping = overlap("utc_month", "week", start=-1)
    subset = GRIDS.week.empty_subset().with_partition_keys(["SPY|2019-02-04", "SPY|2019-04-29"])
    result = mapping.get_upstream_mapped_partitions_result_for_partitions(subset, GRIDS.week, GRIDS.month)
    assert set(map(str, result.partitions_subset.get_partition_keys())) == {
        f"SPY|2019-{m}-01" for m in ("01", "02", "04", "05")
    }
