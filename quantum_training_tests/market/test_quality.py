"""Each rule on real or synthetic candles that are broken in one way."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_training.market.defects import Defect
from quantum_training.market.periods import MarketPeriod
from quantum_training.market.quality import QualityLimits, assess
from quantum_training.market.schema import PRICES, empty_candles

PRICE = list(PRICES)


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def errors(defects: list[Defect]) -> dict[str, Defect]:
    return {d.rule: d for d in defects if d.severity == "error"}


def put(column, value):
    """Write `value` into the bar; a function is applied to the old value."""

    def change(frame, bar):
        old = frame.loc[bar, column]
        frame.loc[bar, column] = value(old) if callable(value) else value
        return frame

    return change


def put_from(columns, factor):
    def change(frame, bar):
        frame.loc[bar:, columns] *= factor
        return frame

    return change


def moved(offset):
    def change(frame, bar):
        frame.index = frame.index.where(frame.index != bar, bar + pd.Timedelta(offset)).rename("open_time")
        return frame.sort_index()

    return change


def dropped(bars):
    def change(frame, bar):
        i = frame.index.get_loc(bar)
        return frame.drop(frame.index[i : i + bars])

    return change


def repeated(bars, columns):
    def change(frame, bar):
        i = frame.index.get_loc(bar)
        frame.loc[frame.index[i + 1 : i + bars], columns] = frame.loc[bar, columns].to_numpy()
        return frame

    return change


def twice(frame, bar):
    return pd.concat([frame, frame.loc[[bar]]]).sort_index()


def swapped(frame, bar):
    i = frame.index.get_loc(bar)
    order = np.arange(len(frame))
    order[[i - 1, i]] = [i, i - 1]
    return frame.iloc[order]


BREAKS = {
    # name: (change, rule that must find it, whether the rule names the changed bar itself)
    "nan": (put("close", np.nan), "missing_value", True),
    "nan volume": (put("volume", np.nan), "missing_value", True),
    "infinite": (put("high", np.inf), "finite", True),
    "zero price": (put("low", 0.0), "positive_price", True),
    "negative price": (put("open", lambda v: -v), "positive_price", True),
    "negative volume": (put("volume", -1.0), "volume_not_negative", True),
    "close above high": (put("close", lambda v: v * 1.2), "close_in_range", True),
    "close below low": (put("close", lambda v: v * 0.8), "close_in_range", True),
    "open above high": (put("open", lambda v: v * 1.2), "open_in_range", True),
    "high and low exchanged": (put(["high", "low"], lambda v: v.to_numpy()[::-1]), "close_in_range", True),
    "twice": (twice, "strictly_increasing", True),
    "order": (swapped, "strictly_increasing", False),
    "off the grid": (moved("7min"), "off_calendar", False),
    "outside of the window": (moved("400D"), "outside_window", False),
    "outage": (dropped(13), "missing_bars", True),
    "stuck": (repeated(6, PRICE), "stale", True),
    "2:1 split": (put_from(PRICE, 1 / 2), "split_like_jump", True),
    "3:2 split": (put_from(PRICE, 2 / 3), "split_like_jump", True),
    "1:7 split": (put_from(PRICE, 7), "split_like_jump", True),
    "unit of the price": (put_from(PRICE, 100), "split_like_jump", True),
    "unit of the volume": (put_from("volume", 11_000), "volume_unit_switch", True),
    "lots of the volume": (put_from("volume", 0.001), "volume_unit_switch", True),
}


FOLLOWS = {  # a wrong close is a step to the next open, too
    "close above high": {"split_like_jump"},
    "close below low": {"split_like_jump"},
    "open above high": {"split_like_jump"},
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_real_month_is_refused_for_its_defect_only(name, crypto, judge):
    change, rule, names_bar = BREAKS[name]
    clean = crypto("ETH")["2022-02-01":"2022-03-31"]
    previous, month = clean[: utc("2022-03-01") - pd.Timedelta("1h")], clean["2022-03-01":]
    assert errors(judge(month, "2022-03-01", "2022-04-01", previous=previous)) == {}
    bar = utc("2022-03-16 17:00")
    errors_by_rule = errors(judge(change(month.copy(), bar), "2022-03-01", "2022-04-01", previous=previous))
    assert rule in errors_by_rule
    assert errors_by_rule[rule].bars
    assert bar in errors_by_rule[rule].bars or not names_bar
    assert errors_by_rule[rule].message.startswith(f"TEST 1h {rule}: ")
    assert f"{errors_by_rule[rule].bars[0]:%Y-%m-%d %H:%M}" in errors_by_rule[rule].message
    assert set(errors_by_rule) - {rule} <= {"open_in_range", "close_in_range", *FOLLOWS.get(name, ())}


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(BREAKS)), seed=st.integers(0, 10**6), position=st.integers(15, 650))
def test_any_defect_of_any_bar_is_detected_and_named(name, seed, position, judge, walk):
    change, rule, names_bar = BREAKS[name]
    month = walk("24/7", "1h", "2023-02-01", "2023-03-01", seed=seed)
    assert errors(judge(month, "2023-02-01", "2023-03-01")) == {}
    bar = month.index[position]
    errors_by_rule = errors(judge(change(month.copy(), bar), "2023-02-01", "2023-03-01"))
    assert rule in errors_by_rule
    assert bar in errors_by_rule[rule].bars or not names_bar


def test_empty_candles_are_an_error_unless_the_calendar_expects_none(judge):
    (defect,) = judge(empty_candles(), "2023-02-01", "2023-03-01", "1d", "XNYS")
    assert (defect.rule, defect.severity) == ("empty", "error")
    assert "2023-02-01 00:00 to 2023-03-01 00:00, where the calendar has 19" in defect.message
    assert judge(empty_candles(), "2023-04-01", "2023-04-03", "1d", "XNYS") == []


def test_a_calendar_without_these_years_is_a_defect(judge, walk):
    (defect,) = judge(walk("24/7", "1d", "1989-01-01", "1989-02-01"), "1989-01-01", "1989-02-01", "1d", "XSHG")
    assert defect.rule == "calendar"
    assert "1990-12-03" in defect.message


@pytest.mark.parametrize(
    ("missing", "severity"), [(slice(100, 101), "warning"), (slice(100, 112), "warning"), (slice(100, 113), "error")]
)
def test_outages_are_listed_and_only_long_ones_refused(missing, severity, judge, walk):
    month = walk("24/7", "1h", "2023-02-01", "2023-03-01")
    missing_times = month.index[missing]
    (defect,) = judge(month.drop(missing_times), "2023-02-01", "2023-03-01")
    assert (defect.rule, defect.severity, defect.bars) == ("missing_bars", severity, tuple(missing_times))


@pytest.mark.parametrize(("share", "severity"), [(0.02, "error"), (0.03, "warning")])
def test_many_short_outages_spend_the_budget(share, severity, judge, walk):
    month = walk("24/7", "1h", "2023-01-01", "2023-01-31")
    (defect,) = judge(month.drop(month.index[10:700:40]), "2023-01-01", "2023-01-31", max_missing_share=share)
    assert (defect.rule, defect.severity, len(defect.bars)) == ("missing_bars", severity, 18)


def test_the_month_in_progress_has_the_whole_months_budget(judge, walk):
    first_day = walk("24/7", "1h", "2023-02-01", "2023-02-02")
    (defect,) = judge(first_day.drop(first_day.index[3:9]), "2023-02-01", "2023-02-02")
    assert (defect.rule, defect.severity, len(defect.bars)) == ("missing_bars", "warning", 6)


@pytest.mark.parametrize(("timeframe", "calendar"), [("1d", "XNYS"), ("4h", "24/7")])
def test_a_bar_is_due_when_it_has_closed(timeframe, calendar, judge, walk):
    until_noon = walk(calendar, timeframe, "2023-02-01", "2023-02-07 14:30")
    closed = until_noon[:-1]
    assert judge(closed, "2023-02-01", "2023-02-07 14:30", timeframe, calendar) == []
    bars = [d.bars for d in judge(closed[:-1], "2023-02-01", "2023-02-07 14:30", timeframe, calendar)]
    assert bars == [(closed.index[-1],)]
    assert judge(empty_candles(), "2023-02-01", "2023-02-01 02:00", timeframe, calendar) == []


def test_a_missing_session_is_an_error(judge, walk):
    month = walk("XNYS", "1d", "2023-02-01", "2023-03-01")
    assert judge(month, "2023-02-01", "2023-03-01", "1d", "XNYS") == []
    (defect,) = judge(month.drop(month.index[5]), "2023-02-01", "2023-03-01", "1d", "XNYS")
    assert (defect.rule, defect.severity, defect.bars) == ("missing_bars", "error", (month.index[5],))


def test_bars_before_the_first_ever_are_a_warning_and_later_ones_are_not(judge, walk):
    month = walk("24/7", "1h", "2023-02-01", "2023-03-01")
    (defect,) = judge(month[300:], "2023-02-01", "2023-03-01")
    assert (defect.rule, defect.severity, len(defect.bars)) == ("late_start", "warning", 50)
    assert "300 bar(s)" in defect.message
    earlier = walk("24/7", "1h", "2023-01-01", "2023-02-01")
    assert "missing_bars" in errors(judge(month[300:], "2023-02-01", "2023-03-01", previous=earlier))


def test_a_holiday_bar_and_a_wrong_time_zone_are_off_the_calendar(judge, walk):
    month = walk("24/7", "1d", "2023-02-01", "2023-03-01")
    holiday = errors(judge(month, "2023-02-01", "2023-03-01", "1d", "XNYS"))["off_calendar"]
    assert {utc("2023-02-04"), utc("2023-02-20")} <= set(holiday.bars)  # a Saturday, Presidents' Day
    local = walk("XNYS", "1h", "2023-02-01", "2023-03-01")
    local.index = local.index.tz_convert("America/New_York").tz_localize(None).tz_localize("UTC")
    errors_by_rule = errors(judge(local, "2023-02-01", "2023-03-01", "1h", "XNYS"))
    assert "time zone" in errors_by_rule["off_calendar"].message
    assert "nearest: 2023-02-01 14:30" in errors_by_rule["off_calendar"].message


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (put_from(PRICE, 1 / 4), "split_like_jump"),
        (put_from("volume", 5_000), "volume_unit_switch"),
        (repeated(6, PRICE), "stale"),
    ],
)
@pytest.mark.parametrize("bars_before", [0, 2, 3])
def test_defects_across_the_border_of_partitions_are_detected(change, rule, bars_before, judge, walk):
    bars = walk("24/7", "1h", "2023-01-01", "2023-03-01")
    at = bars.index.get_loc(utc("2023-02-01")) - (bars_before if rule != "split_like_jump" else 0)
    broken = change(bars.copy(), bars.index[at])
    previous, month = broken[: utc("2023-01-31 23:00")], broken["2023-02-01":]
    errors_by_rule = errors(judge(month, "2023-02-01", "2023-03-01", previous=previous))
    assert bars.index[at] in errors_by_rule[rule].bars
    assert rule not in errors(judge(previous, "2023-01-01", "2023-02-01"))


@pytest.mark.parametrize("seed", range(5))
def test_a_switch_of_the_volume_unit_is_detected_in_noise(seed, judge, walk):
    """By the medians: with this noise no four bars lie clear of the four before."""
    month = walk("24/7", "1h", "2023-02-01", "2023-03-01", seed=seed)
    month["volume"] **= 2
    bar = month.index[333]
    errors_by_rule = errors(judge(put_from("volume", 0.005)(month, bar), "2023-02-01", "2023-03-01"))
    assert abs(errors_by_rule["volume_unit_switch"].bars[0] - bar) <= pd.Timedelta("5h")


def test_a_switch_of_the_volume_unit_over_four_bars_is_detected(judge, walk):
    month = walk("24/7", "1h", "2023-02-01", "2023-03-01")
    month.loc[month.index[300:304], "volume"] *= 20_000
    errors_by_rule = errors(judge(month, "2023-02-01", "2023-03-01"))
    assert errors_by_rule["volume_unit_switch"].bars[0] in (month.index[300], month.index[304])


def test_defects_of_the_bars_before_are_not_reported_again(judge, walk):
    bars = walk("24/7", "1h", "2023-01-01", "2023-03-01")
    for change in (put_from(PRICE, 1 / 4), put_from("volume", 5_000), repeated(8, PRICE)):
        bars = change(bars, utc("2023-01-30 06:00"))
    previous, month = bars[: utc("2023-01-31 23:00")], bars["2023-02-01":]
    assert set(errors(judge(previous, "2023-01-01", "2023-02-01"))) == {
        "split_like_jump",
        "volume_unit_switch",
        "stale",
    }
    assert judge(month, "2023-02-01", "2023-03-01", previous=previous) == []


@pytest.mark.filterwarnings("error")
def test_duplicate_bars_enter_the_computation_once(judge, walk):
    month = walk("24/7", "1h", "2023-02-01", "2023-03-01")
    defects = judge(pd.concat([month, month * 0.3]), "2023-02-01", "2023-03-01")
    assert {d.rule for d in defects} == {"strictly_increasing"}


def test_a_gap_that_is_usual_at_the_market_is_no_split(judge, walk):
    """A market that opens 8 % off on every day may open a third lower."""
    calm = walk("24/7", "1d", "2023-01-01", "2023-04-01")
    wild = calm.mul(np.exp(np.random.default_rng(1).normal(0, 0.08, len(calm))), axis=0).assign(volume=calm["volume"])
    for frame, expected in ((calm, {"split_like_jump"}), (wild, set())):
        broken = put_from(PRICE, 2 / 3)(frame.copy(), utc("2023-03-15"))
        previous, month = broken[: utc("2023-02-28")], broken["2023-03-01":]
        assert set(errors(judge(month, "2023-03-01", "2023-04-01", "1d", previous=previous))) == expected


def test_a_large_move_that_is_no_split_is_a_warning(judge, walk):
    """The bar opens where the one before closed, and falls."""
    month = walk("24/7", "1h", "2023-02-01", "2023-03-01")
    month.loc[month.index[400], ["low", "close"]] *= 0.8
    (defect,) = judge(put_from(PRICE, 0.8)(month, month.index[401]), "2023-02-01", "2023-03-01")
    assert (defect.rule, defect.severity, defect.bars) == ("large_jump", "warning", (month.index[400],))


def test_rounding_of_adjusted_prices_is_tolerated(judge, equity):
    """Scaling O/H/L by Adj Close / Close puts some closes an ulp outside of low to high."""
    month = equity("AAPL")["2019-05-01":"2019-05-31"]
    top = month["close"].to_numpy()
    scaled = month.assign(high=np.maximum(month["open"], top), close=np.maximum(month["open"], top) * (1 + 2.3e-16))
    assert (scaled["close"] > scaled["high"]).any()
    assert errors(judge(scaled, "2019-05-01", "2019-06-01", "1d", "XNYS")) == {}


def test_one_broken_bar_does_not_hide_another_defect(judge, walk):
    month = walk("24/7", "1h", "2023-02-01", "2023-03-01")
    broken = put("close", np.nan)(put_from("volume", 9_000)(month, month.index[300]), month.index[100])
    errors_by_rule = errors(judge(broken[::-1], "2023-02-01", "2023-03-01"))
    assert set(errors_by_rule) == {"missing_value", "volume_unit_switch", "strictly_increasing"}


def judge_quiet(bars, **source: bool):
    period = MarketPeriod("TEST", "1h", "24/7", utc("2023-02-01"), utc("2023-03-01"), **source)
    before = bars[bars.index < period.start]
    return {d.rule: d.severity for d in assess(bars[bars.index >= period.start], period, before, QualityLimits())}


@pytest.mark.parametrize(("known", "severity"), [(True, "warning"), (False, "error")])
def test_bars_without_a_trade_are_no_gap_if_the_source_is_known_to_leave_them_out(walk, known, severity):
    bars = walk("24/7", "1h", "2023-01-15", "2023-03-01")
    quiet = np.random.default_rng(1).random(len(bars)) < 0.2
    quiet[-200:-170] = True  # 30 hours in a row
    assert judge_quiet(bars[~quiet], leaves_out_untraded=known) == {"missing_bars": severity}


def test_more_than_a_week_without_a_bar_is_a_gap_whatever_the_source_leaves_out(walk):
    bars = walk("24/7", "1h", "2023-01-15", "2023-03-01")
    bars = bars.drop(bars.index[-300:-130])
    assert judge_quiet(bars, leaves_out_untraded=True) == {"missing_bars": "error"}


@pytest.mark.parametrize(("known", "severity"), [(True, "warning"), (False, "error")])
def test_flat_bars_without_volume_are_no_stuck_feed_if_the_source_is_known_to_fill_them(walk, known, severity):
    bars = walk("24/7", "1h", "2023-01-15", "2023-03-01")
    flat = slice(len(bars) - 200, len(bars) - 170)
    bars.iloc[flat, :4], bars.iloc[flat, 4] = bars["close"].iloc[len(bars) - 201], 0.0
    assert judge_quiet(bars, fills_untraded=known)["stale"] == severity


def test_a_stuck_feed_is_one_also_of_a_source_that_fills_bars(walk):
    bars = walk("24/7", "1h", "2023-01-15", "2023-03-01")
    bars.iloc[-200:-170] = bars.iloc[-201].to_numpy()
    assert judge_quiet(bars, fills_untraded=True)["stale"] == "error"
