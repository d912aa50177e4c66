"""Uncertainty against published numbers, arch's own intervals, and simulated truth."""

import math

import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import StationaryBootstrap
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.trading.metrics import sharpe
from quantum_training.trading.uncertainty import (
    deflated_sharpe,
    expected_max_sharpe,
    min_trl,
    minimum_track_record,
    probabilistic_sharpe,
    psr,
    sharpe_bootstrap,
    standard_error,
)

TOLERANCE = 1e-4


def series(values, *names):
    return pd.DataFrame(np.asarray(values, "float64").reshape(len(values), len(names)), columns=list(names))


@pytest.mark.parametrize(
    ("ratio", "bars", "skew", "kurtosis", "expected"),
    [(0.7079, 134, -0.2250, 2.9570, 0.1028), (0.8183, 134, -1.4455, 7.0497, 0.1550)],
)
def test_published_standard_errors(ratio, bars, skew, kurtosis, expected):
    assert standard_error(ratio, bars, skew, kurtosis) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("ratio", "bars", "skew", "kurtosis", "expected"),
    [(0.458, 24, 0, 3, 0.981675), (0.458, 24, -2.448, 10.164, 0.913361), (0.2, 26, 0, 3, 0.838949)],
)
def test_published_probabilistic_sharpe_ratios(ratio, bars, skew, kurtosis, expected):
    assert psr(ratio, bars, skew, kurtosis) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("trials", "skew", "kurtosis", "expected"),
    [(100, -3, 10, 0.900397), (46, -3, 10, 0.950502), (88, 0, 3, 0.950491)],
)
def test_the_deflated_sharpe_ratio_of_the_paper(trials, skew, kurtosis, expected):
    """Annual Sharpe ratio 2.5 on 1,250 days, trials' variance 1/2 a year (Bailey and Lopez de Prado 2014)."""
    best = expected_max_sharpe(trials, 0.5 / 250)
    assert psr(2.5 / math.sqrt(250), 1250, skew, kurtosis, best) == pytest.approx(expected, abs=TOLERANCE)
    if trials == 100:
        assert best == pytest.approx(0.113172, abs=1e-6)


@pytest.mark.parametrize(
    ("trials", "expected"), [(1, 0.0), (5, 1.19259), (10, 1.57460), (50, 2.27630), (100, 2.53060), (1000, 3.25512)]
)
def test_the_expected_best_of_trials_without_skill(trials, expected):
    assert expected_max_sharpe(trials, 1.0) == pytest.approx(expected, abs=TOLERANCE)
    assert expected_max_sharpe(trials, 0.04) == pytest.approx(expected * 0.2, abs=TOLERANCE)


def test_a_hand_made_deflated_sharpe_ratio():
    best = expected_max_sharpe(5, 0.04)
    assert best == pytest.approx(0.2385188, abs=1e-6)
    assert psr(0.5, 50, benchmark=best) == pytest.approx(0.95780, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("annual", "other", "periods", "skew", "kurtosis", "years"),
    [
        (2, 1, 250, 0, 3, 2.7312),
        (2, 1, 52, 0, 3, 2.8288),
        (2, 1, 12, 0, 3, 3.2398),
        (2, 1, 250, -0.72, 5.78, 3.0077),
        (2, 1, 52, -0.72, 5.78, 3.5138),
        (2, 1, 12, -0.72, 5.78, 4.9913),
        (0.7079 * 12**0.5, 0, 12, -0.2250, 2.9570, 0.7152),
        (0.8183 * 12**0.5, 0, 12, -1.4455, 7.0497, 1.1593),
        (0.5, 0, 1, 0, 3, 13.174945),
    ],
)
def test_published_minimum_track_records(annual, other, periods, skew, kurtosis, years):
    scale = math.sqrt(periods)
    assert min_trl(annual / scale, skew, kurtosis, other / scale, 0.95) / periods == pytest.approx(years, abs=TOLERANCE)


def test_returns_go_through_the_same_formulas():
    net = np.random.default_rng(1).standard_t(5, 500) * 0.01 + 0.001
    ratio = sharpe(net, 1.0)[0]
    around = net - net.mean()
    skew, kurtosis = (float((around**k).mean() / (around**2).mean() ** (k / 2)) for k in (3, 4))
    assert probabilistic_sharpe(net, 0.01) == (pytest.approx(psr(ratio, 500, skew, kurtosis, 0.01)), None)
    best = expected_max_sharpe(7, 0.001)
    assert deflated_sharpe(net, 7, 0.001) == (pytest.approx(psr(ratio, 500, skew, kurtosis, best)), None)
    assert deflated_sharpe(net, 1, 0.001) == probabilistic_sharpe(net)
    assert minimum_track_record(net) == (pytest.approx(min_trl(ratio, skew, kurtosis, 0.0, 0.95)), None)
    assert minimum_track_record(-net) == (None, "sharpe_not_above_benchmark")


@pytest.mark.parametrize(("net", "reason"), [([], "too_few_bars"), ([0.1], "too_few_bars"), ([0.1] * 9, "no_variance")])
def test_what_has_no_sharpe_ratio_has_no_probability_either(net, reason):
    net = np.array(net, "float64")
    for result in (probabilistic_sharpe(net), deflated_sharpe(net, 3, 0.1), minimum_track_record(net)):
        assert result == (None, reason)


@pytest.mark.parametrize(("trials", "variance"), [(0, 1.0), (3, -1.0), (3, math.nan)])
def test_impossible_trials_are_refused(trials, variance):
    with pytest.raises(ValueError, match="at least one trial"):
        expected_max_sharpe(trials, variance)


def test_the_interval_is_that_of_arch():
    """The same blocks drawn by arch and reduced by arch give the same percentiles."""
    net = np.random.default_rng(2).standard_t(5, 600) * 0.01 + 0.0005
    ours = sharpe_bootstrap(series(net, "s"), 252, seed=5, resamples=300).interval("s")
    by_hand = {
        block: StationaryBootstrap(block, net, seed=5)
        .conf_int(lambda r: r.mean() / r.std(ddof=1) * math.sqrt(252), reps=300, method="percentile")
        .ravel()
        for block in (1, 2, 3, 4)
    }
    assert any(np.allclose(ours, bounds, rtol=1e-9) for bounds in by_hand.values())


def test_the_interval_contains_the_true_value_about_as_often_as_it_claims():
    """AR(0.2) with fat tails, 500 bars: measured elsewhere at 91.5 %, where independence would give 88.5 %."""
    rng, inside, runs = np.random.default_rng(0), 0, 200
    for seed in range(runs):
        shocks = rng.standard_t(5, 600) / math.sqrt(5 / 3)
        path = np.zeros(600)
        for t in range(1, 600):
            path[t] = 0.2 * path[t - 1] + shocks[t]
        net = 0.01 * path[100:] * math.sqrt(1 - 0.04) + 0.0005
        low, high = sharpe_bootstrap(series(net, "s"), 1.0, seed, resamples=200).interval("s")
        inside += low <= 0.05 <= high
    print(f"coverage {inside / runs:.3f}")
    assert 0.86 <= inside / runs <= 0.98


def test_a_difference_is_measured_on_the_same_bars():
    """Two strategies that share their noise: neither Sharpe ratio is sure, which of the two is better is."""
    rng = np.random.default_rng(4)
    market = rng.normal(0, 0.01, 800)
    sharpes = sharpe_bootstrap(
        series(np.column_stack([market + 0.0004, market, market]), "better", "worse", "same"), 252, seed=1
    )
    assert sharpes.interval("better")[0] < 0 < sharpes.interval("better")[1]
    assert sharpes.difference("better", "worse")[0] > 0
    assert sharpes.difference("worse", "better")[1] < 0
    assert sharpes.difference("same", "worse") == (0, 0)


def test_seeds_decide_and_nothing_else():
    net = series(np.random.default_rng(6).normal(0.001, 0.01, (300, 2)), "a", "b")
    one, again, other = (sharpe_bootstrap(net, 252, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.sharpes, again.sharpes)
    assert not np.array_equal(one.sharpes, other.sharpes)


@given(st.integers(0, 60), st.integers(0, 99), st.booleans())
def test_bounds_are_finite_or_missing(bars, seed, idle):
    net = np.random.default_rng(seed).integers(-1, 2, (bars, 2)) / 100
    net[:, 1] *= not idle
    sharpes = sharpe_bootstrap(series(net, "a", "b"), 252, seed=seed, resamples=20)
    for bounds in (sharpes.interval("a"), sharpes.interval("b"), sharpes.difference("a", "b")):
        assert bounds is None or (np.isfinite(bounds).all() and bounds[0] <= bounds[1])
    assert (sharpes.interval("a") is not None) == (bars >= 20)
    if idle:
        assert sharpes.interval("b") is None


def test_a_return_that_is_no_number_is_refused_with_its_place():
    with pytest.raises(ValueError, match="net return"):
        sharpe_bootstrap(series([0.1] * 30 + [math.nan], "a"), 252, seed=1)
