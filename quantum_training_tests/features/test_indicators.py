"""Features: causal, bit-stable, scale-free, finite, and equal to their definitions."""

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_training.features.indicators import FEATURES, WARMUP_BARS, compute_features
from quantum_training.market.schema import empty_candles

CALENDAR = ["hour_sin", "hour_cos", "weekday_sin", "weekday_cos"]
VOLATILITY_LEVELS = {"atr_14", "volatility_24", "volatility_60"}
BOUNDS = {"rsi_14": (-1, 1), "body_ratio": (-1, 1), "upper_wick": (0, 1), "lower_wick": (0, 1)}


def test_shape_of_the_result(make_candles):
    candles = make_candles(WARMUP_BARS + 50)
    features = compute_features(candles, candles.index[WARMUP_BARS + 10])
    assert tuple(features.columns) == FEATURES
    assert features.index.equals(candles.index[WARMUP_BARS + 10 :])
    assert (features.dtypes == "float64").all()
    assert features.notna().all(axis=None)


@pytest.mark.parametrize("bars", [0, 1, 5, 100])
def test_a_history_shorter_than_the_warmup_gives_empty_rows(make_candles, bars):
    candles = make_candles(bars) if bars else empty_candles()
    features = compute_features(candles, pd.Timestamp("2024-01-01", tz="UTC"))
    assert tuple(features.columns) == FEATURES
    assert len(features) == bars
    assert features.isna().all(axis=None)


def test_no_bar_since_gives_no_row(make_candles):
    features = compute_features(make_candles(WARMUP_BARS + 5), pd.Timestamp("2030-01-01", tz="UTC"))
    assert features.shape == (0, len(FEATURES))
    assert features.index.dtype == "datetime64[ns, UTC]"


@pytest.mark.parametrize("short_by", [0, 1, 7, WARMUP_BARS])
def test_rows_without_the_full_warmup_are_empty_and_the_rest_complete(make_candles, short_by):
    candles = make_candles(WARMUP_BARS + 40)
    features = compute_features(candles, candles.index[WARMUP_BARS - short_by])
    assert features.iloc[:short_by].isna().all(axis=None)
    assert features.iloc[short_by:].notna().all(axis=None)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_bars_after_t_change_nothing_up_to_t(make_candles, data):
    candles = make_candles(WARMUP_BARS + 120, seed=data.draw(st.integers(0, 5)))
    since = candles.index[data.draw(st.integers(WARMUP_BARS, WARMUP_BARS + 60))]
    t = data.draw(st.integers(candles.index.get_loc(since), len(candles) - 2))
    changed = candles.copy()
    after = len(candles) - t - 1
    factor = data.draw(st.sampled_from([1e-6, 0.5, 1.0, 1.01, 1e6]))
    other = make_candles(after, seed=data.draw(st.integers(6, 1000)))
    changed.iloc[t + 1 :] = other.to_numpy() * factor
    before, now = compute_features(candles, since), compute_features(changed, since)
    pd.testing.assert_frame_equal(before.loc[: candles.index[t]], now.loc[: candles.index[t]], check_exact=True)
    assert not before.equals(now)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 20), rows=st.integers(1, 744), extra=st.integers(0, 200))
def test_mid_month_and_longer_history_give_the_same_bits(make_candles, seed, rows, extra):
    candles = make_candles(WARMUP_BARS + 200 + 744, seed=seed)
    first = WARMUP_BARS + 200
    month = compute_features(candles, candles.index[first])
    partial = compute_features(candles.iloc[extra : first + rows], candles.index[first])
    pd.testing.assert_frame_equal(partial, month.iloc[:rows], check_exact=True)


@pytest.mark.candles
@pytest.mark.parametrize(("series", "stride"), [("btc", 799), ("aapl", 199)])
def test_real_partitions_agree_with_the_whole_history(request, series, stride):
    candles = request.getfixturevalue(series)
    full_history = compute_features(candles, candles.index[0])
    worst = 0.0
    for first in range(WARMUP_BARS + 1, len(candles) - 30, stride):
        part = compute_features(candles.iloc[: first + 30], candles.index[first])
        worst = max(worst, (part - full_history.iloc[first : first + 30]).abs().max(axis=None))
        assert part.notna().all(axis=None)
    print(f"{series}: partitions differ from the whole history by {worst:.1e} at most")
    assert 0 < worst < 1e-9


@pytest.mark.candles
@pytest.mark.parametrize("series", ["btc", "aapl"])
def test_real_features_are_finite_bounded_and_not_like_a_random_walk(request, series):
    candles = request.getfixturevalue(series)
    features = compute_features(candles, candles.index[WARMUP_BARS])
    assert np.isfinite(features.to_numpy()).all()
    for name, (low, high) in BOUNDS.items():
        assert features[name].between(low, high).all(), name
    assert (features["drawdown_60"] <= 0).all()
    assert features.abs().max().max() < 20
    varying = [name for name in FEATURES if name not in CALENDAR]
    memory = features[varying].apply(lambda column: column.autocorr(1))
    print(series, memory[memory > 0.98].round(4).to_dict())
    assert set(memory.index[memory > 0.982]) <= VOLATILITY_LEVELS
    # A level that wanders would have nearly all its variance between years.
    by_year = features[varying].groupby(features.index.year).mean()
    assert (by_year.std() < 1.0 * features[varying].std()).all()


def test_features_do_not_depend_on_the_unit_of_price_or_volume(make_candles):
    candles = make_candles(WARMUP_BARS + 100)
    since = candles.index[WARMUP_BARS]
    scaled = candles * {"open": 1e-7, "high": 1e-7, "low": 1e-7, "close": 1e-7, "volume": 1e9}
    difference = compute_features(candles, since) - compute_features(scaled, since)
    assert difference.abs().max(axis=None) < 1e-8


def test_flat_market_gives_the_documented_values(make_candles):
    candles = make_candles(WARMUP_BARS + 10)
    candles.loc[:, ["open", "high", "low", "close"]] = 0.1
    candles["volume"] = 0.0
    row = compute_features(candles, candles.index[WARMUP_BARS]).drop(columns=CALENDAR)
    assert (row == 0.0).all(axis=None)


def test_a_market_that_stops_and_starts_gives_no_infinity(make_candles):
    candles = make_candles(WARMUP_BARS + 400)
    prices = ["open", "high", "low", "close"]
    halt = slice(WARMUP_BARS + 20, WARMUP_BARS + 250)
    candles.iloc[halt, [candles.columns.get_loc(name) for name in prices]] = candles["close"].iloc[halt.start - 1]
    candles.iloc[halt, candles.columns.get_loc("volume")] = 0.0
    features = compute_features(candles, candles.index[WARMUP_BARS])
    assert not np.isinf(features.to_numpy()).any()
    assert features.notna().all(axis=None)
    # In the halt the windows have forgotten all movement: no trend, a close at its mean, a bar without range.
    last = features.iloc[249]
    assert (last[["trend_24", "trend_60", "bollinger_20", "volatility_60", "body_ratio", "range_ratio"]] == 0).all()


def test_a_missing_value_is_refused_with_its_bar(make_candles):
    candles = make_candles(WARMUP_BARS + 10)
    candles.iloc[100, 3] = np.nan
    with pytest.raises(ValueError, match=r"missing at 2024-01-05 04:00:00\+00:00"):
        compute_features(candles, candles.index[WARMUP_BARS])


def test_values_equal_their_definitions(make_candles):
    candles = make_candles(WARMUP_BARS + 30, seed=3)
    features = compute_features(candles, candles.index[WARMUP_BARS])
    log = np.log(candles["close"])
    row = features.iloc[-1]
    step = log.diff()
    rms = {n: np.sqrt(np.mean(step.iloc[-n:] ** 2)) for n in (24, 60)}
    last20 = log.iloc[-20:].to_numpy()
    bar = candles.iloc[-1]
    ranges = np.log(pd.concat([candles["high"], candles["close"].shift()], axis=1).max(axis=1)) - np.log(
        pd.concat([candles["low"], candles["close"].shift()], axis=1).min(axis=1)
    )
    atr = ranges.iloc[1:].ewm(alpha=1 / 14, adjust=False).mean().iloc[-1]
    fast, slow = (log.ewm(span=n, adjust=False).mean() for n in (12, 26))
    histogram = (fast - slow) - (fast - slow).ewm(span=9, adjust=False).mean()
    relative = (candles["volume"] / candles["volume"].rolling(60).mean()).clip(lower=0.01)
    z = np.log(relative.iloc[-60:].to_numpy())
    expected = {
        **{f"return_{n}": log.iloc[-1] - log.iloc[-1 - n] for n in (1, 3, 8, 24, 48)},
        "rsi_14": 2 * talib.RSI(log.to_numpy(), 14)[-1] / 100 - 1,
        "macd_histogram": histogram.iloc[-1] / atr,
        "atr_14": atr,
        "bollinger_20": (last20[-1] - last20.mean()) / (2 * last20.std()),
        "volatility_24": rms[24],
        "volatility_60": rms[60],
        "volatility_ratio": rms[24] / rms[60],
        "volume_z_60": (z[-1] - z.mean()) / z.std(),
        "trend_24": (log.iloc[-1] - log.iloc[-24:].mean()) / (rms[24] * np.sqrt(24)),
        "trend_60": (log.iloc[-1] - log.iloc[-60:].mean()) / (rms[60] * np.sqrt(60)),
        "drawdown_60": (log.iloc[-1] - log.iloc[-60:].max()) / (rms[60] * np.sqrt(60)),
        "range_ratio": np.log(bar.high / bar.low) / atr,
        "body_ratio": (bar.close - bar.open) / (bar.high - bar.low),
        "upper_wick": (bar.high - max(bar.open, bar.close)) / (bar.high - bar.low),
        "lower_wick": (min(bar.open, bar.close) - bar.low) / (bar.high - bar.low),
    }
    assert set(expected) | set(CALENDAR) == set(FEATURES)
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2024-02-05 00:00", (0, 1, 0, 1)),  # Monday, midnight
        ("2024-02-05 06:00", (1, 0, 0, 1)),
        ("2024-02-06 12:00", (0, -1, np.sin(2 * np.pi / 7), np.cos(2 * np.pi / 7))),
        ("2024-02-11 18:00", (-1, 0, np.sin(12 * np.pi / 7), np.cos(12 * np.pi / 7))),
    ],
)
def test_calendar_terms_are_of_the_opening_time(make_candles, when, expected):
    candles = make_candles(1100)
    features = compute_features(candles, candles.index[WARMUP_BARS])
    assert features.loc[pd.Timestamp(when, tz="UTC"), CALENDAR].tolist() == pytest.approx(expected, abs=1e-12)
