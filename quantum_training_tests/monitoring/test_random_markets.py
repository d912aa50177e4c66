"""Random markets: valid candles, no trend unless it is planted, and a future that jumps behind a real past."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_training.market.schema import candle_schema
from quantum_training.monitoring.random_markets import JUMP, perturb_future, random_candles

HOUR, BARS = pd.Timedelta(hours=1), 100


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), bars=st.integers(0, 50), drift=st.sampled_from([0.0, 0.5]))
def test_random_candles_are_valid_continuous_and_repeatable(seed, bars, drift):
    times = pd.date_range("2024-01-01", periods=bars, freq="h", tz="UTC")
    candles = random_candles(times, 42.0, seed, drift)
    candle_schema().validate(candles)
    assert (candles["open"].iloc[1:].to_numpy() == candles["close"].iloc[:-1].to_numpy()).all()
    assert candles["open"].iloc[:1].tolist() == [42.0][:bars]
    pd.testing.assert_frame_equal(candles, random_candles(times, 42.0, seed, drift), check_exact=True)
    if bars:
        assert not candles.equals(random_candles(times, 42.0, seed + 1, drift))


def test_random_walks_hold_no_trend_and_planted_markets_do():
    times = pd.date_range("2000-01-01", periods=50_000, freq="h", tz="UTC")
    for drift, expected in ((0.0, 0.0), (0.5, 0.2)):
        step = np.log(random_candles(times, 100.0, 1, drift)["close"]).diff().dropna()
        assert abs(step.autocorr(1) - expected) < 0.03, drift
        assert abs(step.mean()) < 3 * step.std() / len(step) ** 0.5 * (1 if drift == 0 else 10)


@pytest.mark.parametrize(("rising", "ratio"), [(True, JUMP), (False, 1 / JUMP)])
def test_a_perturbed_future_keeps_the_past_and_jumps_right_after_the_cut(make_candles, rising, ratio):
    candles = make_candles(100)
    cut = candles.index[59] + pd.Timedelta(minutes=30)
    perturbed = perturb_future(candles, cut, BARS, HOUR, rising)
    pd.testing.assert_frame_equal(perturbed.iloc[:60], candles.iloc[:60], check_exact=True, check_freq=False)
    assert len(perturbed) == 60 + BARS
    assert perturbed.index[60] == cut + HOUR
    assert perturbed["open"].iloc[60] == perturbed["close"].iloc[59] * ratio
    candle_schema().validate(perturbed)
    with pytest.raises(ValueError, match="no bar up to 2023"):
        perturb_future(candles, pd.Timestamp("2023-01-01", tz="UTC"), 5, HOUR, rising)
