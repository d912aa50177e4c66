"""Each rule on real or synthetic candles that are broken in one way."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from quantum_training.market.defects import Defect, QualityLimits, describe
from quantum_training.market.schema import COLUMNS, PRICES, candle_schema, empty_candles

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


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_real_month_is_refused_for_its_defect_only(name, crypto, judge):
    change, rule, names_bar = BREAKS[name]
    clean = crypto("ETH")["2022-02-01":"2022-03-31"]
    previous, month = clean[: utc("2022-03-01") - pd.Timedelta("1h")], clean["2022-03-01":]
    assert errors(judge(month, "2022-03-01", "2022-04-01", previous=previous)) == {}
    bar = utc("2022-03-16 17:00")
    found = errors(judge(change(month.copy(), bar), "2022-03-01", "2022-04-01", previous=previous))
    assert rule in found
    assert found[rule].bars
    assert bar in found[rule].bars or not names_bar
    assert found[rule].message.startswith(f"TEST 1h {rule}: ")
    assert f"{found[rule].bars[0]:%Y-%m-%d %H:%M}" in found[rule].message
    assert set(found) - {rule} <= {"open_in_range", "close_in_range"}


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(BREAKS)), seed=st.integers(0, 10**6), position=st.integers(15, 650))
def test_any_break_of_any_bar_is_found_and_named(name, seed, position, judge, walk):
    change, rule, names_bar = BREAKS[name]
    month = walk("24/7", "1h", "2023-02-01", "2023-03-01", seed=seed)
    assert errors(judge(month, "2023-02-01", "2023-03-01")) == {}
    bar = month.index[position]
    found = errors(judge(change(month.copy(), bar), "2023-02-01", "2023-03-01"))
    assert rule in found
    assert bar in found[rule].bars or not names_bar


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_garbage_is_refused_and_never_raises(data, judge, walk):
    month = walk("24/7", "1h", "2023-02-01", "2023-02-10")
    cell = st.one_of(st.none(), st.floats(), st.integers(-(2**40), 2**40), st.text(max_size=3), st.booleans())
    column = data.draw(st.sampled_from(COLUMNS))
    values = data.draw(st.lists(cell, min_size=len(month), max_size=len(month)) | st.just([[1]] * len(month)))
    garbage = month.assign(**{column: pd.Series(values, index=month.index, dtype=object)})
    kind = data.draw(st.sampled_from([None, "float32", "int64", "str", "category", "complex128", "Float64", "bool"]))
    if kind:
        garbage = month.astype({column: kind})
    assert errors(judge(garbage, "2023-02-01", "2023-02-10"))


SHAPES = {
    "no time zone": lambda f: f.tz_localize(None),
    "another time zone": lambda f: f.tz_convert("America/New_York"),
    "microseconds": lambda f: f.set_axis(f.index.as_unit("us")),
    "a column missing": lambda f: f.drop(columns="close"),
    "a column too many": lambda f: f.assign(adj_close=f["close"]),
    "a column twice": lambda f: pd.concat([f, f[["open"]]], axis=1),
    "one name for all columns": lambda f: f.set_axis(["open"] * 5, axis=1),
    "columns without names": lambda f: f.set_axis([None] * 5, axis=1),
    "other column order": lambda f: f[list(reversed(COLUMNS))],
    "column levels": lambda f: f.set_axis(pd.MultiIndex.from_product([["TEST"], COLUMNS]), axis=1),
    "index levels": lambda f: f.set_axis(pd.MultiIndex.from_product([["TEST"], f.index])),
    "row numbers": lambda f: f.reset_index(drop=True),
    "dates as text": lambda f: f.set_axis(f.index.astype(str).rename("open_time")),
    "periods": lambda f: f.set_axis(f.index.tz_localize(None).to_period("h")),
    "all text": lambda f: f.astype(str),
    "nullable": lambda f: f.astype("Float64"),
    "no columns": lambda f: f[[]],
    "a missing stamp": lambda f: f.set_axis(f.index.where(np.arange(len(f)) != 3).rename("open_time")),
    "no rows": lambda f: f[:0],
    "nothing": lambda f: pd.DataFrame(),
}


@pytest.mark.parametrize("name", SHAPES)
def test_frames_of_the_wrong_shape_are_refused(name, judge, walk):
    found = errors(judge(SHAPES[name](walk("24/7", "1h", "2023-02-01", "2023-02-10")), "2023-02-01", "2023-02-10"))
    assert set(found) <= {"schema", "empty", "missing_value"}
    assert found


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
    gone = month.index[missing]
    (defect,) = judge(month.drop(gone), "2023-02-01", "2023-03-01")
    assert (defect.rule, defect.severity, defect.bars) == ("missing_bars", severity, tuple(gone))


@pytest.mark.parametrize(("share", "severity"), [(0.02, "error"), (0.03, "warning")])
def test_many_short_outages_spend_the_budget(share, severity, judge, walk):
    month = walk("24/7", "1h", "2023-01-01", "2023-01-31")
    (defect,) = judge(month.drop(month.index[10:700:40]), "2023-01-01", "2023-01-31", max_missing_share=share)
    assert (defect.rule, defect.severity, len(defect.bars)) == ("missing_bars", severity, 18)


def test_the_month_in_progress_has_the_whole_months_budget(judge, walk):
    first_day = walk("24/7", "1h", "2023-02-01", "2023-02-02")
    (defect,) = judge(first_day.drop(first_day.index[3:9]), "2023-02-01", "2023-02-02")
    assert (defect.rule, defect.severity, len(defect.bars)) == ("missing_bars", "warning", 6)


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
    found = errors(judge(local, "2023-02-01", "2023-03-01", "1h", "XNYS"))
    assert "time zone" in found["off_calendar"].message
    assert "nearest: 2023-02-01 14:30" in found["off_calendar"].message


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (put_from(PRICE, 1 / 4), "split_like_jump"),
        (put_from("volume", 5_000), "volume_unit_switch"),
        (repeated(6, PRICE), "stale"),
    ],
)
@pytest.mark.parametrize("bars_before", [0, 2, 3])
def test_defects_are_seen_over_the_border_of_partitions(change, rule, bars_before, judge, walk):
    bars = walk("24/7", "1h", "2023-01-01", "2023-03-01")
    at = bars.index.get_loc(utc("2023-02-01")) - (bars_before if rule != "split_like_jump" else 0)
    broken = change(bars.copy(), bars.index[at])
    previous, month = broken[: utc("2023-01-31 23:00")], broken["2023-02-01":]
    found = errors(judge(month, "2023-02-01", "2023-03-01", previous=previous))
    assert bars.index[at] in found[rule].bars
    assert rule not in errors(judge(previous, "2023-01-01", "2023-02-01"))


def test_a_crash_that_volatility_explains_is_no_split(judge, walk):
    """A market that moves 15 % a day may open a third lower."""
    calm = walk("24/7", "1d", "2023-01-01", "2023-04-01")
    wild = calm.copy()
    wild[PRICE] = calm[PRICE] ** 40 / 100.0**39
    for frame, expected in ((calm, {"split_like_jump"}), (wild, set())):
        broken = put_from(PRICE, 2 / 3)(frame.copy(), utc("2023-03-15"))
        previous, month = broken[: utc("2023-02-28")], broken["2023-03-01":]
        assert set(errors(judge(month, "2023-03-01", "2023-04-01", "1d", previous=previous))) == expected


def test_a_large_move_that_is_no_split_is_a_warning(judge, walk):
    month = walk("24/7", "1h", "2023-02-01", "2023-03-01")
    (defect,) = judge(put_from(PRICE, 0.8)(month, month.index[400]), "2023-02-01", "2023-03-01")
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
    found = errors(judge(broken[::-1], "2023-02-01", "2023-03-01"))
    assert set(found) == {"missing_value", "volume_unit_switch", "strictly_increasing"}


def test_bars_are_bounded_and_counted(judge, walk):
    month = walk("24/7", "1h", "2023-02-01", "2023-03-01")
    found = errors(judge(month.assign(volume=-1.0), "2023-02-01", "2023-03-01"))["volume_not_negative"]
    assert len(found.bars) == 50
    assert "672 bar(s), first 2023-02-01 00:00, 2023-02-01 01:00, 2023-02-01 02:00: volume -1.0" in found.message


def test_judging_does_not_change_the_candles(judge, walk):
    month = walk("24/7", "1h", "2023-02-01", "2023-03-01")
    broken = put("close", np.nan)(month, month.index[3])[::-1]
    before = broken.copy()
    judge(broken, "2023-02-01", "2023-03-01")
    pd.testing.assert_frame_equal(broken, before)


def test_the_schema_accepts_an_empty_frame():
    assert candle_schema().validate(empty_candles()).empty


def test_describe_lists_errors_first_in_a_table():
    bar = utc("2023-02-01 05:00")
    table = describe([Defect("missing_bars", "warning", (bar,), "a|b\nc"), Defect("empty", "error", (), "nothing")])
    assert table.splitlines()[2:] == [
        "| error | empty | | nothing |",
        "| warning | missing_bars | 2023-02-01 05:00 | a\\|b c |",
    ]
    assert describe([]) == "No defects."


@pytest.mark.parametrize(
    "limits", [{"max_missing_share": 1.5}, {"stale_bars": 1}, {"jump_sigma": 3}, {"split_tolerance": 0}]
)
def test_wrong_limits_are_refused(limits):
    with pytest.raises(ValidationError):
        QualityLimits.model_validate(limits)


def test_every_limit_is_described():
    assert all(f.description and f.metadata for f in QualityLimits.model_fields.values())
