"""The leakage test of features passes sound features and finds each kind of unsound one."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_training.features.indicators import FEATURES, WARMUP_BARS, compute_features
from quantum_training.monitoring.feature_leakage import (
    TOLERANCE,
    examine_features,
    first_difference,
)

HOUR = pd.Timedelta(hours=1)
MONTH = 300


def with_column(column):
    """compute_features with `return_1` replaced by `column(history)`: a code version that is unsound."""

    def compute(candles, since):
        out = compute_features(candles, since).copy()
        out["return_1"] = column(candles).loc[out.index]
        return out

    return compute


LOOK_AHEAD = {
    "the next bar": lambda c: c["close"].shift(-1) / c["close"] - 1,
    "the next bar's volume": lambda c: c["volume"].shift(-1).fillna(0.0),
    "a day ahead": lambda c: c["close"].shift(-24, fill_value=0.0),
    "a centred mean": lambda c: c["close"].rolling(21, center=True, min_periods=1).mean(),
    "the mean of all bars": lambda c: c["close"] - c["close"].mean(),
    "filled backwards": lambda c: c["close"].where(np.arange(len(c)) % 7 == 0).bfill().fillna(0.0),
}
LONG_MEMORY = {
    "a mean of all bars so far": lambda c: c["close"].expanding().mean(),
    "a window longer than the warm-up": lambda c: c["close"].rolling(WARMUP_BARS + 50).mean(),
    "an average that forgets slowly": lambda c: c["close"].ewm(span=200, adjust=False).mean(),
    "the first bar": lambda c: c["close"] / c["close"].iloc[0],
}


def examine(compute, candles, stored=None, **options):
    stored = compute(candles, candles.index[-MONTH]) if stored is None else stored
    return examine_features(compute, candles, stored, HOUR, **options)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 100), rows=st.integers(1, 400), older_bars=st.integers(0, 400))
def test_sound_features_pass_and_the_report_says_what_was_compared(make_candles, seed, rows, older_bars):
    candles = make_candles(WARMUP_BARS + older_bars + rows, seed=seed)
    stored = compute_features(candles, candles.index[-rows])
    report = examine_features(compute_features, candles, stored, HOUR)
    assert report.failures == []
    assert report.rows == (rows + 1) // 2
    assert report.cut == stored.index[report.rows - 1]
    assert report.older_bars == older_bars + report.rows - 1
    assert (report.warmup_difference is None) == (report.older_bars == 0)
    assert report.warmup_difference is None or report.warmup_difference < TOLERANCE


@pytest.mark.parametrize("name", LOOK_AHEAD)
def test_a_feature_that_looks_ahead_is_named(make_candles, name):
    candles = make_candles(WARMUP_BARS + 200 + MONTH)
    failures = [f for f in examine(with_column(LOOK_AHEAD[name]), candles).failures if "looks ahead" in f]
    assert len(failures) == 1
    assert "return_1 of the bar" in failures[0]


@pytest.mark.parametrize("seed", range(8))
def test_a_look_ahead_with_two_values_is_detected_in_rising_and_falling_futures(make_candles, seed):
    """One leaking bar keeps its value if the other future happens to go the same way as the real one."""
    candles = make_candles(WARMUP_BARS + 200 + MONTH, seed=seed)
    peeks = with_column(lambda c: (c["close"].shift(-1) > c["close"]).astype(float))
    assert [f for f in examine(peeks, candles).failures if "looks ahead" in f]


@pytest.mark.parametrize("name", LONG_MEMORY)
def test_a_feature_with_a_memory_beyond_the_warmup_is_detected(make_candles, name):
    candles = make_candles(WARMUP_BARS + 200 + MONTH)
    (failure,) = examine(with_column(LONG_MEMORY[name]), candles).failures
    assert "remembers more than the warm-up" in failure
    assert "return_1 of the bar" in failure


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (lambda f: f.assign(rsi_14=f["rsi_14"].shift(-1)), "rsi_14 of the bar"),
        (lambda f: f.assign(rsi_14=f["rsi_14"].mask(f.index == f.index[7])), "went from nan to"),
        (lambda f: f.iloc[:-1].copy(), "the bars differ (299 became 300, first at"),
        (lambda f: f.drop(columns="rsi_14"), "the columns differ (rsi_14)"),
        (lambda f: f[[*FEATURES[::-1]]], "the columns differ (their order)"),
    ],
)
def test_stored_features_that_differ_from_the_code_are_detected(make_candles, stored, message):
    """An earlier code version that leaked may have stored them, although the present one is sound."""
    candles = make_candles(WARMUP_BARS + MONTH)
    failures = examine(compute_features, candles, stored(compute_features(candles, candles.index[-MONTH]))).failures
    assert [f for f in failures if message in f and "re-materialise features" in f]


def test_a_month_without_bars_has_nothing_to_examine(make_candles):
    candles = make_candles(WARMUP_BARS)
    stored = compute_features(candles, candles.index[-1] + HOUR)
    assert examine_features(compute_features, candles, stored, HOUR) == ([], None, 0, 0, None)


def test_a_market_too_young_for_features_passes_without_a_measured_difference(make_candles):
    report = examine(compute_features, make_candles(MONTH))
    assert (report.failures, report.older_bars, report.warmup_difference) == ([], 0, None)


@pytest.mark.candles
@pytest.mark.parametrize("series", ["btc", "aapl"])
def test_real_features_pass_wherever_they_are_cut(request, series):
    candles = request.getfixturevalue(series)
    worst = 0.0
    for end in np.linspace(WARMUP_BARS + 500, len(candles), 12).astype(int):
        part = candles.iloc[max(end - 1500, 0) : end]
        stored = compute_features(part, part.index[-25])
        report = examine_features(compute_features, part, stored, HOUR)
        assert report.failures == []
        worst = max(worst, report.warmup_difference)
    print(f"{series}: {WARMUP_BARS} bars of history instead of all move a feature by {worst:.1e} at most")
    assert 0 < worst < TOLERANCE


def test_first_difference_measures_by_the_tolerance_and_sees_missing_values():
    index = pd.date_range("2024-01-01", periods=3, freq="h", tz="UTC")
    frame = pd.DataFrame({"a": [1.0, 2.0, np.nan], "b": [0.0, 0.0, 0.0]}, index)
    assert first_difference(frame, frame.copy()) is None
    moved = frame.assign(b=[0.0, 1e-6, 0.0])
    assert first_difference(frame, moved, 1e-5) is None
    assert first_difference(frame, moved) == "b of the bar 2024-01-01 01:00:00+00:00 went from 0 to 1e-06"
    assert "from nan to 5" in first_difference(frame, frame.assign(a=[1.0, 2.0, 5.0]), 1e9)
