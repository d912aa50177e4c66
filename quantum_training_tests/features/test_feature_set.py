"""Feature sets of one's own: declared columns, their warm-up, and errors that name set, column and bar."""

import sys
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.features.indicators import FEATURES
from quantum_training.features.sets.expansion import higher_bars
from quantum_training.features.sets.feature_set import FeatureSet, FeatureSetError
from quantum_training.features.sets.recipe_columns import columns_of, sets_of
from quantum_training.monitoring.random_markets import random_candles

TIMES = pd.date_range("2024-01-01", periods=400, freq="h", tz="UTC")
CANDLES = random_candles(TIMES, 100.0, seed=1)
MODULE = "quantum_training_tests.support.feature_modules"


def made_by(function: str) -> FeatureSet:
    return FeatureSet(module=MODULE, params={"function": function})


@pytest.fixture
def module(monkeypatch):
    """A module that declares what the test says."""

    def build(name="made_here", **parts):
        made = ModuleType(name)
        vars(made).update({"WARMUP_BARS": 3, "COLUMNS": {"a": "one"}, "compute": lambda candles: None, **parts})
        monkeypatch.setitem(sys.modules, name, made)
        return FeatureSet(module=name)

    return build


@given(first=st.integers(0, 399), older=st.integers(0, 60))
def test_a_row_is_the_same_for_any_longer_history(first, older):
    since = TIMES[first]
    long = made_by("honest").compute("mine", CANDLES, since, "1h")
    short = made_by("honest").compute("mine", CANDLES.iloc[max(first - 48 - older, 0) :], since, "1h")
    assert list(long.columns) == ["mine__value"]
    assert long.index.equals(CANDLES.index[first:])
    pd.testing.assert_frame_equal(long, short, check_exact=True, check_freq=False)


def test_rows_with_too_few_bars_before_them_are_empty():
    values = made_by("honest").compute("mine", CANDLES, TIMES[0], "1h")["mine__value"]
    assert values.iloc[:48].isna().all()
    assert values.iloc[48:].notna().all()
    expected = np.log(CANDLES["close"]).diff(24)
    np.testing.assert_array_equal(values.iloc[48:], expected.iloc[48:])


def test_columns_and_warm_up_may_follow_the_params(monkeypatch):
    made = ModuleType("lags")
    made.WARMUP_BARS = lambda lags: max(lags)
    made.COLUMNS = lambda lags: {f"lag_{lag}": f"log return of {lag} bars" for lag in lags}
    made.compute = lambda candles, lags: pd.DataFrame(
        {f"lag_{lag}": np.log(candles["close"]).diff(lag) for lag in reversed(lags)}
    )
    monkeypatch.setitem(sys.modules, "lags", made)
    lags = FeatureSet(module="lags", params={"lags": [2, 7]})
    assert lags.columns("past") == {"past__lag_2": "log return of 2 bars", "past__lag_7": "log return of 7 bars"}
    assert lags.warmup_bars("past", "1h") == 7
    frame = lags.compute("past", CANDLES, TIMES[100], "1h")
    assert [*frame] == ["past__lag_2", "past__lag_7"]
    assert (frame.dtypes == "float64").all()
    with pytest.raises(FeatureSetError, match=r"features\.past: COLUMNS of lags: .*'lag'.*see params"):
        FeatureSet(module="lags", params={"lag": 2}).columns("past")


def test_infinity_is_refused_with_its_column_and_bar():
    with pytest.raises(FeatureSetError, match=r"features\.mine: compute of .* returned infinity in value of the bar"):
        made_by("infinite").compute("mine", CANDLES, TIMES[100], "1h")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"COLUMNS": {}}, "COLUMNS of made_here must map"),
        ({"COLUMNS": ["a"]}, "COLUMNS of made_here must map"),
        ({"COLUMNS": {"a-b": "one"}}, "COLUMNS of made_here must map"),
        ({"COLUMNS": {"a__b": "one"}}, "COLUMNS of made_here must map"),
        ({"WARMUP_BARS": None}, "WARMUP_BARS of made_here must be a number of bars"),
        ({"WARMUP_BARS": True}, "WARMUP_BARS of made_here must be a number of bars"),
        ({"WARMUP_BARS": -1}, "WARMUP_BARS of made_here must be a number of bars"),
        ({"compute": None}, r"has no function compute\(candles, \*\*params\)"),
        ({}, "returned a NoneType, not a DataFrame"),
        ({"compute": lambda c: pd.DataFrame({"a": 1.0}, c.index[1:])}, "rows for .* bars"),
        ({"compute": lambda c: pd.DataFrame({"b": 1.0}, c.index)}, "other columns than COLUMNS has: a, b"),
        ({"compute": lambda c: pd.DataFrame({"a": "x"}, c.index)}, "returned what is no number"),
    ],
)
def test_what_a_module_does_wrong_is_named(module, parts, message):
    with pytest.raises(FeatureSetError, match=rf"^features\.mine: .*{message}"):
        module(**parts).compute("mine", CANDLES, TIMES[100], "1h")


def test_a_module_that_changes_its_candles_changes_no_others(module):
    def compute(candles):
        candles["close"] = 0.0
        return pd.DataFrame({"a": candles["close"]})

    before = CANDLES.copy()
    module(compute=compute).compute("mine", CANDLES, TIMES[0], "1h")
    pd.testing.assert_frame_equal(CANDLES, before)


def test_a_module_that_is_not_there_says_how_to_find_it():
    with pytest.raises(FeatureSetError, match=r"features\.mine: no_such_module cannot be imported.*PYTHONPATH"):
        FeatureSet(module="no_such_module").columns("mine")


def test_a_recipe_names_sets_and_columns(module):
    sets = {"mine": module(COLUMNS={"a": "one", "b": "two"}), "other": module("other")}
    assert columns_of((), sets) == columns_of(("default",), sets) == FEATURES
    assert columns_of(("rsi_14", "mine"), sets) == ("rsi_14", "mine__a", "mine__b")
    assert columns_of(("mine__b", "default", "mine"), sets) == ("mine__b", *FEATURES, "mine__a")
    assert [*sets_of(("rsi_14", "mine__b"), sets)] == ["mine"]
    assert sets_of(("default",), sets) == {}


@pytest.fixture
def slope(module):
    """Log return over `bars` bars, with its warm-up."""
    return module(
        "slope",
        WARMUP_BARS=lambda bars: bars,
        COLUMNS=lambda bars: {"slope": f"log return of {bars} bars"},
        compute=lambda candles, bars: pd.DataFrame({"slope": np.log(candles["close"]).diff(bars)}),
    )


def test_a_set_is_expanded_by_params_timeframes_and_shifts(slope):
    expanded = slope.model_copy(update={"param_grid": {"bars": (2, 5)}, "timeframes": ("4h", "1d"), "shifts": (1,)})
    assert [*expanded.columns("mine")] == [
        f"mine__slope_bars_{bars}{timeframe}{shift}"
        for bars in (2, 5)
        for timeframe in ("", "_4h", "_1d")
        for shift in ("", "_shift_1")
    ]
    described = expanded.columns("mine")["mine__slope_bars_5_4h_shift_1"]
    assert described == "log return of 5 bars, bars = 5, of bars of 4h, 1 bars before"
    assert expanded.warmup_bars("mine", "1h") == (5 + 1 + 2) * 24
    frame = expanded.compute("mine", CANDLES, TIMES[300], "1h")
    close = np.log(CANDLES["close"])
    np.testing.assert_allclose(frame["mine__slope_bars_2_shift_1"], close.diff(2).shift(1).iloc[300:])

    time = pd.Timestamp("2024-01-15 10:00", tz="UTC")  # closes at 11:00
    four = close.resample("4h").last()  # the newest that has closed began at 04:00
    expected = four.loc["2024-01-15 04:00+00:00"] - four.loc["2024-01-14 20:00+00:00"]
    assert frame.loc[time, "mine__slope_bars_2_4h"] == pytest.approx(expected, abs=1e-12)
    later = time + pd.Timedelta("1h")  # closes at 12:00, as the bar of 08:00 does
    expected = four.loc["2024-01-15 08:00+00:00"] - four.loc["2024-01-15 00:00+00:00"]
    assert frame.loc[later, "mine__slope_bars_2_4h"] == pytest.approx(expected, abs=1e-12)
    daily = close.resample("1D").last()
    expected = daily.loc["2024-01-13"] - daily.loc["2024-01-11"]
    assert frame.loc[time, "mine__slope_bars_2_1d_shift_1"] == pytest.approx(expected, abs=1e-12)


@given(first=st.integers(200, 399), older=st.integers(0, 60))
def test_a_row_of_a_higher_timeframe_is_the_same_for_any_longer_history(first, older):
    expanded = made_by("honest").model_copy(update={"timeframes": ("2h",), "shifts": (1,)})
    warmup, since = expanded.warmup_bars("mine", "1h"), TIMES[first]
    long = expanded.compute("mine", CANDLES, since, "1h")
    short = expanded.compute("mine", CANDLES.iloc[max(first - warmup - older, 0) :], since, "1h")
    pd.testing.assert_frame_equal(long, short, check_exact=True, check_freq=False)


@pytest.mark.parametrize("bars", [1, 5, 8, 30])
def test_a_history_shorter_than_a_shift_gives_empty_rows(bars):
    expanded = made_by("honest").model_copy(update={"timeframes": ("4h",), "shifts": (10,)})
    frame = expanded.compute("mine", CANDLES.iloc[:bars], TIMES[0], "1h")
    assert frame.shape == (bars, 4)
    assert frame.isna().all(axis=None)


def test_a_timeframe_that_is_not_higher_and_a_name_that_comes_twice_are_refused(slope):
    with pytest.raises(FeatureSetError, match=r"features\.mine: timeframes has 1h, which is not higher"):
        slope.model_copy(update={"params": {"bars": 2}, "timeframes": ("1h",)}).compute(
            "mine", CANDLES, TIMES[100], "1h"
        )
    twice = slope.model_copy(update={"param_grid": {"bars": (2, 2.0)}})
    assert len(twice.columns("mine")) == 2
    with pytest.raises(FeatureSetError, match="two columns are called mine__slope_bars_2;"):
        slope.model_copy(update={"param_grid": {"bars": (2, 2)}}).columns("mine")


def test_a_set_of_other_symbols_has_columns_of_each():
    settings = {"module": MODULE, "params": {"function": "honest"}}
    several = FeatureSet(**settings, of=["BTC-USDT", "SPY"])
    assert several.columns("context") == {
        "context__value_BTC_USDT": "what the function gives, of BTC-USDT",
        "context__value_SPY": "what the function gives, of SPY",
    }
    assert [*several.stored_columns("context")] == ["context__value"]
    assert FeatureSet(**settings, of="SPY") == FeatureSet(**settings, of=("SPY",))
    assert columns_of(["context__value_SPY"], {"context": several}) == ("context__value_SPY",)
    with pytest.raises(FeatureSetError, match="two columns are called context__value_A_B"):
        FeatureSet(**settings, of=["A-B", "A_B"]).columns("context")


def test_only_a_set_of_other_symbols_may_be_late():
    with pytest.raises(ValueError, match="late is for sets with `of`"):
        FeatureSet(module=MODULE, late="missing")


def test_the_bars_of_a_timeframe_are_made_once_for_all_values_of_the_params(slope, monkeypatch):
    made = []

    def counted(candles, timeframe):
        made.append(timeframe)
        return higher_bars(candles, timeframe)

    monkeypatch.setattr("quantum_training.features.sets.feature_set.higher_bars", counted)
    chosen = slope.model_copy(update={"param_grid": {"bars": (2, 3, 5)}, "timeframes": ("4h", "1d"), "shifts": (1,)})
    chosen.compute("x", CANDLES, CANDLES.index[0], "1h")
    assert made == ["4h", "1d"]
