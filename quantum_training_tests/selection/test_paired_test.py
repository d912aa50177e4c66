"""The paired test: its p-value, and what the market's other days change."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.selection.paired_test import MarketReturns, PairedReturns, daily, paired_test

BARS = 6


def market_pair(seed: int, days: int, before: int) -> PairedReturns:
    """A challenger and an incumbent that change their positions at random, in a market with days before."""
    rng = np.random.default_rng(seed)
    bars = rng.normal(0, 0.01, days * BARS)
    market = MarketReturns(bars, rng.normal(0, 0.02, before))
    position, incumbent_position = rng.integers(-1, 2, (2, len(bars))) / 1.0
    challenger, incumbent = (p * bars + rng.normal(0, 0.002, len(bars)) for p in (position, incumbent_position))
    return PairedReturns(challenger, incumbent, np.arange(len(bars)) // BARS, market, position, incumbent_position)


@given(st.integers(0, 99), st.integers(2, 60), st.integers(0, 400))
def test_at_equal_positions_or_without_days_before_the_market_changes_nothing(seed, days, before):
    pair = market_pair(seed, days, before)
    plain = paired_test(pair._replace(market=None))
    assert paired_test(pair._replace(incumbent_position=pair.position)) == pytest.approx(plain)
    assert paired_test(pair._replace(market=pair.market._replace(before=np.empty(0)))) == plain


@given(st.integers(0, 99), st.integers(2, 60), st.integers(2, 400))
def test_the_estimate_is_that_of_double_sampling_with_the_mean_position_so_far(seed, days, before):
    pair = market_pair(seed, days, before)
    weight = before / (before + days)
    sums, usual, total = np.zeros(days), [], 0.0
    for bar, day in enumerate(pair.day):
        total += pair.position[bar] - pair.incumbent_position[bar]
        usual.append(total / (bar + 1))
        sums[day] += pair.challenger[bar] - pair.incumbent[bar] - weight * usual[-1] * pair.market.bars[bar]
    passive = weight * np.mean(usual)
    expected = sums.mean() + passive * pair.market.before.mean()
    variance = np.var(sums, ddof=1) / days + passive**2 * np.var(pair.market.before, ddof=1) / before
    tested = paired_test(pair)
    assert tested.mean == pytest.approx(expected, abs=1e-12)
    assert tested.deviation == pytest.approx(np.sqrt(variance * days), rel=1e-9)


def test_holding_the_market_is_judged_by_all_its_days():
    pair = market_pair(1, 30, 700)
    always, never = np.ones(180), np.zeros(180)
    held = pair._replace(challenger=pair.market.bars, position=always, incumbent=never, incumbent_position=never)
    every_day = np.r_[pair.market.before, daily(pair.market.bars, pair.day)]
    assert paired_test(held).mean == pytest.approx(every_day.mean())


def test_positions_that_answer_to_the_market_have_no_bias():
    """A contrarian's mean position falls in a campaign that rises, so that a coefficient from its end would be one."""
    means = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        bars = rng.normal(0, 0.01, 60 * BARS)
        path = np.r_[0.0, np.cumsum(bars)[:-1]]
        pair = PairedReturns(
            -np.sign(path) * bars,
            np.zeros(len(bars)),
            np.arange(len(bars)) // BARS,
            MarketReturns(bars, rng.normal(0, 0.01 * np.sqrt(BARS), 700)),
            -np.sign(path),
            np.zeros(len(bars)),
        )
        means.append(paired_test(pair).mean)
    assert abs(np.mean(means)) < 2.6 * np.std(means) / np.sqrt(len(means))


def test_days_are_summed_in_their_order_also_with_days_missing():
    assert daily(np.array([1.0, 2.0, 3.0, 4.0]), np.array([5, 5, 9, 12])).tolist() == [3.0, 3.0, 4.0]
    assert daily(np.empty(0), np.empty(0, "int64")).tolist() == []
