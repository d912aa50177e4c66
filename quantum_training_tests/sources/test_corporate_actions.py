"""`corporate_actions`: a file of unadjusted prices with a file of splits and dividends, or LEAN's factor file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantum_training.market.calendars import expected_open_times
from quantum_training.sources import SourceError, source_from
from quantum_training.sources.tables.actions import read_actions
from quantum_training_tests.market.test_corporate_actions import days, utc
from quantum_training_tests.market.test_resampling import walk

FAR = utc("2100-01-01")


def source(folder, bars, actions, calendar="24/7", **options):
    bars.to_csv(folder / "x.csv")
    (folder / "actions.csv").write_text(actions)
    places = {"path": str(folder / "x.csv"), "corporate_actions": str(folder / "actions.csv")}
    made = source_from({"kind": "files", **places, **options})
    made.traded_by(calendar)
    return made


def fetch(made, timeframe="1d"):
    return made.fetch("S", timeframe, utc("2000-01-01"), FAR, FAR)


@pytest.mark.parametrize(
    "actions",
    [
        "date,split,dividend\n2024-06-05,7,0\n2024-06-06,,0.5\n",
        "Date,Dividends,Stock Splits\n2024-06-05 00:00:00-04:00,0.0,7.0\n2024-06-06 00:00:00-04:00,0.5,0.0\n",
        "timestamp,open,dividend_amount,split_coefficient\n2024-06-06,9,0.5,1.0\n2024-06-05,9,0.0,7.0\n",
        "ex-date,split\n2024-06-05,7:1\n2024-06-06,1\n",
        "20240604,0.95,0.142857142857143\n20240605,0.95,1\n20501231,1,1\n",
    ],
)
def test_splits_and_dividends_leave_no_step(tmp_path, actions):
    bars = days([70.0, 70.0, 10.0, 9.5, 9.5])
    got = fetch(source(tmp_path, bars, actions))
    paid = 1.0 if "ex-date" in actions else 0.95
    assert got["close"].tolist() == pytest.approx([10 * paid, 10 * paid, 10 * paid, 9.5, 9.5])
    assert got["volume"].tolist() == pytest.approx([700, 700, 100, 100, 100])


def test_an_action_that_is_yet_to_come_changes_nothing_until_its_day(tmp_path):
    actions = "date,split\n2024-06-06,2\n"
    raw = days([70.0, 70.0, 70.0, 35.0])
    assert fetch(source(tmp_path, raw[:3], actions))["close"].tolist() == [70, 70, 70]
    assert fetch(source(tmp_path, raw, actions))["close"].tolist() == [35, 35, 35, 35]


def test_intraday_bars_are_cut_at_the_exchanges_midnight(tmp_path):
    bars = walk(expected_open_times("XTKS", "1h", utc("2024-06-03"), utc("2024-06-07")))
    made = source(tmp_path, bars, "date,split\n2024-06-05,2\n", "XTKS")
    factor = fetch(made, "1h")["close"] / bars["close"]
    assert factor[factor.index < "2024-06-05"].tolist() == [0.5] * int((bars.index < "2024-06-05").sum())
    assert (factor[factor.index >= "2024-06-05"] == 1).all()


def test_minutes_are_adjusted_before_they_become_days(tmp_path):
    bars = walk(expected_open_times("XNYS", "1m", utc("2024-06-03"), utc("2024-06-06")))
    made = source(tmp_path, bars, "date,split\n2024-06-05,2\n", "XNYS", resample_from="1m")
    got = made.fetch("S", "1d", utc("2024-06-01"), utc("2024-07-01"), FAR)
    raw = bars.groupby(bars.index.normalize())["close"].last()
    assert got["close"].tolist() == pytest.approx((raw * [0.5, 0.5, 1]).tolist())


def test_the_months_are_compared_as_those_of_any_source_that_adjusts_its_history(tmp_path):
    made = source(tmp_path, days([70.0, 35.0]), "date,split\n2024-06-04,2\n")
    assert made.revises_history
    assert made.identity["corporate_actions"].endswith("actions.csv")
    plain = source_from({"kind": "files", "path": "x.csv"})
    assert not plain.revises_history
    assert "corporate_actions" not in plain.identity


@pytest.mark.parametrize(
    ("actions", "problem"),
    [("when,what\n1,2\n", "no column of dates"), ("date,dividend\n2024-06-04,99\n", "leave no price")],
)
def test_a_file_that_says_nothing_usable_is_refused(tmp_path, actions, problem):
    with pytest.raises(
        SourceError, match=rf"S: source files: corporate_actions .*actions.csv cannot be used: .*{problem}"
    ):
        fetch(source(tmp_path, days([70.0, 35.0]), actions))


def test_a_split_after_a_long_halt_is_seen(tmp_path):
    bars = days([70.0, 70.0, 35.0])
    bars.index = pd.DatetimeIndex(["2024-01-02", "2024-01-03", "2024-06-04"], tz="UTC", name="open_time")
    assert fetch(source(tmp_path, bars, "date,split\n2024-06-04,2\n"))["close"].tolist() == [35, 35, 35]


def test_a_missing_file_is_refused(tmp_path):
    made = source(tmp_path, days([70.0, 35.0]), "")
    (tmp_path / "actions.csv").unlink()
    with pytest.raises(SourceError, match=r"corporate_actions .*actions.csv cannot be used"):
        fetch(made)


@pytest.mark.parametrize(("text", "ratio"), [("4", 4), ("4:1", 4), ("3-for-2", 1.5), ("1/10", 0.1), ("0", 1), ("", 1)])
def test_ratios_are_read_as_people_write_them(text, ratio):
    rows = read_actions(f"date,split,dividend\n2024-06-04,{text},1\n").rows
    assert rows["split"].tolist() == [ratio]
    assert np.allclose(rows["dividend"], 1)


CANDLES = Path(os.environ.get("QT_CANDLES_DIR", "../shared/candles")) / "dirty/lean_aapl_1h_unadjusted.zip"


@pytest.mark.skipif(not CANDLES.exists(), reason="no real candles")
def test_real_unadjusted_hours_of_lean_have_no_step_at_four_splits(tmp_path):
    """AAPL split 2:1 on 2000-06-21 and 2005-02-28, 7:1 on 2014-06-09 and 4:1 on 2020-08-31."""
    factors = "20000620,1,0.00892857\n20050225,1,0.0178571\n20140606,1,0.0357143\n20200828,1,0.25\n20501231,1,1\n"
    (tmp_path / "aapl.csv").write_text(factors)
    places = {"path": str(CANDLES), "corporate_actions": str(tmp_path / "aapl.csv")}
    made = source_from({"kind": "files", "format": "lean", **places})
    made.traded_by("XNYS")
    closes = made.fetch("AAPL", "1h", utc("2000-06-01"), utc("2020-12-01"), FAR)["close"]
    for day in ("2000-06-21", "2005-02-28", "2014-06-09", "2020-08-31"):
        before, after = closes[closes.index < day].iloc[-1], closes[closes.index >= day].iloc[0]
        assert abs(after / before - 1) < 0.05
