"""Probability of backtest overfitting: the published example, brute force, and its chance level."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from quantum_training.trading.overfitting import probability_of_overfitting


def slow(returns, blocks):
    cut = np.split(returns[len(returns) % blocks :], blocks)
    below = []
    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([cut[b] for b in chosen])
        outside = np.concatenate([cut[b] for b in range(blocks) if b not in chosen])
        best = (inside.mean(axis=0) / inside.std(axis=0)).argmax()
        rank = rankdata(outside.mean(axis=0) / outside.std(axis=0))[best] / (returns.shape[1] + 1)
        below.append(np.log(rank / (1 - rank)) <= 0)
    return np.mean(below)


def test_four_blocks_by_hand():
    """Block means .4 .4 .01 .01, .1 .1 .05 .05 and their mirrors: the best half is the worst other half in two of
    six choices. Each block is its mean +- the same noise, so that the Sharpe ratio ranks as the mean does."""
    means = np.array([[0.4, 0.4, 0.01, 0.01], [0.1, 0.1, 0.05, 0.05], [0.05, 0.05, 0.1, 0.1], [0.01, 0.01, 0.4, 0.4]]).T
    noise = np.tile([100.0, -100.0], 50)
    returns = (means[:, None, :] + noise[None, :, None]).reshape(-1, 4)
    assert probability_of_overfitting(returns, blocks=4) == (pytest.approx(1 / 3), None)


@pytest.mark.parametrize(("bars", "count", "blocks"), [(1024, 50, 8), (500, 7, 8), (333, 3, 4), (481, 4, 6)])
def test_equal_to_brute_force(bars, count, blocks):
    returns = np.random.default_rng(bars).standard_t(4, (bars, count)) * 0.01
    assert probability_of_overfitting(returns, blocks)[0] == pytest.approx(slow(returns, blocks))


def test_sixteen_blocks_from_480_bars_on():
    returns = np.random.default_rng(1).normal(size=(1024, 50))
    assert probability_of_overfitting(returns) == probability_of_overfitting(returns, 16)
    assert probability_of_overfitting(returns[:479]) == probability_of_overfitting(returns[:479], 8)


def test_pbo_is_zero_for_a_strategy_that_is_always_best_and_a_half_for_luck():
    rng = np.random.default_rng(3)
    returns = rng.normal(0, 0.01, (600, 10))
    assert probability_of_overfitting(returns + np.r_[0.02, np.zeros(9)])[0] == 0
    chance = [probability_of_overfitting(rng.normal(0, 0.01, (512, 20)), 8)[0] for _ in range(40)]
    assert np.mean(chance) == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize(
    ("shape", "reason"), [((500, 1), "too_few_strategies"), ((15, 3), "too_few_bars"), ((0, 2), "too_few_bars")]
)
def test_too_few_bars_or_strategies_give_a_reason(shape, reason):
    assert probability_of_overfitting(np.zeros(shape)) == (None, reason)


@given(st.integers(2, 5), st.integers(16, 60), st.integers(0, 99), st.booleans())
def test_a_probability_whatever_the_input(count, bars, seed, idle):
    returns = np.random.default_rng(seed).integers(-1, 2, (bars, count)) / 100
    returns[:, 0] *= not idle
    value, reason = probability_of_overfitting(returns)
    assert reason is None
    assert 0 <= value <= 1


def test_a_constant_return_is_no_skill_despite_rounding_of_its_squares():
    rng = np.random.default_rng(2)
    returns = np.c_[rng.normal(0.01, 0.01, 500), rng.normal(0, 0.01, 500)]
    for constant in rng.uniform(0, 0.01, 200):
        assert probability_of_overfitting(np.c_[returns, np.full(500, constant)], 8)[0] == 0, constant


def test_blocks_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match="5 blocks cannot be halved"):
        probability_of_overfitting(np.zeros((100, 2)), blocks=5)


def test_a_return_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="net return"):
        probability_of_overfitting(np.full((100, 2), np.nan))
