"""The CUSUM and its limit: against its recursion, fresh paths of a known law and the rates of the benchmark."""

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.monitoring.cusum import HALF_LIFE, calibrate, cusum, scaled
from quantum_training.monitoring.decay_policy import DecayPolicy

POLICY = DecayPolicy()


@pytest.fixture(scope="module")
def rates():
    """The benchmark of error rates, as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
        return importlib.import_module("decay_rates")


def normal(days, mean=0.001, seed=0):
    """Independent normal days with exactly this mean and 1 % of standard deviation."""
    noise = np.random.default_rng(seed).normal(size=days)
    return mean + 0.01 * (noise - noise.mean()) / noise.std(ddof=1)


@given(st.lists(st.floats(-1e3, 1e3), max_size=30))
def test_the_sum_is_pages_recursion(steps):
    expected, total = [], 0.0
    for step in steps:
        total = max(0.0, total + step)
        expected.append(total)
    np.testing.assert_allclose(cusum(np.array(steps)), expected, atol=1e-9)


def test_a_day_is_measured_by_the_volatility_before_it_and_never_by_less_than_the_floor():
    daily = normal(60)
    decay = 0.5 ** (1 / HALF_LIFE)
    variance = pd.Series([0.01**2, *daily**2]).ewm(alpha=1 - decay, adjust=False).mean().to_numpy()
    units, after = scaled(daily, 0.001, 0.01**2)
    np.testing.assert_allclose(units, daily / np.sqrt(variance[:-1]))
    assert after == pytest.approx(variance[-1])
    later = np.r_[daily[:30], 9 * daily[30:]]
    np.testing.assert_allclose(scaled(later, 0.001, 0.01**2)[0][:31], np.r_[units[:30], 9 * units[30]])
    quiet = scaled(np.r_[np.zeros(500), 0.01], 0.01, 0.01**2)[0]
    assert quiet[-1] == pytest.approx(1), "a quiet year does not make an ordinary day look unusual"


def test_the_limit_is_crossed_as_often_as_promised_if_the_record_is_long():
    """Independent normal days, so that fresh paths of the same law are the oracle."""
    calibrated = calibrate(normal(4000, 0.0005), 182, 365, POLICY)
    rng = np.random.default_rng(1)
    means = 0.01 * rng.normal(calibrated.sharpe, calibrated.sharpe_sd, 1000) / np.sqrt(365)
    paths = rng.normal(means[:, None], 0.01, (1000, 182))
    assert np.mean([calibrated.sums(path).max() > calibrated.limit for path in paths]) == pytest.approx(0.05, abs=0.02)


def test_what_to_expect_is_the_posterior_mean_of_a_normal_sharpe_ratio():
    for days, spread in ((182, 2.0), (4000, 2.0), (182, 0.5)):
        calibrated = calibrate(normal(days), 182, 365, POLICY.model_copy(update={"sharpe_spread": spread}))
        measured, error = 0.1 * np.sqrt(365), np.sqrt(365 / days)
        weight = spread**2 / (spread**2 + error**2)
        assert calibrated.sharpe == pytest.approx(weight * measured, rel=0.15)
        assert calibrated.sharpe_sd == pytest.approx(spread * np.sqrt(1 - weight), rel=0.15)
        assert calibrated.slack == pytest.approx(calibrated.sharpe / np.sqrt(365) / 2)


def test_the_limit_rises_with_the_horizon_and_falls_with_alpha():
    def limit(horizon=182, **policy):
        return calibrate(normal(182), horizon, 365, POLICY.model_copy(update=policy)).limit

    assert limit() == limit()
    assert limit(horizon=60) < limit()
    assert limit(alpha=0.2) < limit()


def test_a_losing_record_expects_losses():
    calibrated = calibrate(normal(182, -0.001), 182, 365, POLICY)
    assert calibrated.slack == 0
    assert -0.1 < calibrated.mean < 0
    assert calibrated.sums(normal(60, -0.02))[-1] > calibrated.limit


def test_the_sum_may_begin_again_while_the_volatility_goes_on():
    calibrated, live = calibrate(normal(182), 182, 365, POLICY), np.r_[normal(50, -0.05), normal(30, 0, 2)]
    complete, restarted = calibrated.sums(live), calibrated.sums(live, 50)
    assert len(restarted) == 30
    assert restarted[0] <= max(0.0, complete[50] - complete[49]) + 1e-9
    assert calibrated.sums(live, 0).tolist() == complete.tolist()


def test_the_rates_of_the_benchmark(rates):
    """25 champions: the interval of 5 % reaches to 4 of them; docs/learning_loop has 2,000 worlds."""
    champions = rates.champions((rates.CASES[0], 0, 25))
    alarms = {key: sum(champion[key] is not None for champion in champions) for key in champions[0]}
    assert len(champions) == 25
    assert alarms["no decay", "CUSUM"] <= 4
    assert alarms["no decay, volatility x 2", "CUSUM"] <= 5
    assert alarms["-.08", "CUSUM"] >= 23
    assert alarms["no decay", "4 weeks 10 % below"] >= 20
    assert rates.alarm_share([1, 3, None, None]) == "50.0% [6.8%, 93.2%], week 2"
