"""The paired test: its p-value, and what the market's other days change."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.selection.paired_test import MarketReturns, PairedReturns, daily, paired_test

BARS = 6


def market_pair(seed: int, days: int, before: int, position: float, incumbent_position: float) -> PairedReturns:
    rng = np.random.default_rng(seed)
    bars = rng.normal(0, 0.01, days * BARS)
    market = MarketReturns(bars, rng.normal(0, 0.02, before))
    challenger, incumbent = (share * bars + rng.normal(0, 0.002, len(bars)) for share in (position, incumbent_position))
    return PairedReturns(challenger, incumbent, np.arange(len(bars)) // BARS, market, position, incumbent_position)


@given(st.integers(0, 99), st.integers(2, 60), st.integers(0, 400), st.floats(-1, 1))
def test_at_equal_mean_positions_the_market_changes_nothing(seed, days, before, position):
    pair = market_pair(seed, days, before, position, position)
    assert paired_test(pair) == pytest.approx(paired_test(pair._replace(market=None)))


@given(st.integers(0, 99), st.integers(2, 60), st.integers(0, 400), st.floats(-1, 1), st.floats(-1, 1))
def test_the_estimate_is_that_of_double_sampling(seed, days, before, position, incumbent_position):
    pair = market_pair(seed, days, before, position, incumbent_position)
    difference, market = (
        np.array([series[pair.day == day].sum() for day in range(days)])
        for series in (pair.challenger - pair.incumbent, pair.market.bars)
    )
    more, every_day = position - incumbent_position, np.r_[pair.market.before, market]
    expected = difference.mean() - more * (market.mean() - every_day.mean())
    variance = np.var(difference - more * market, ddof=1) / days + more**2 * np.var(every_day, ddof=1) / len(every_day)
    tested = paired_test(pair)
    assert tested.mean == pytest.approx(expected, abs=1e-12)
    assert tested.deviation == pytest.approx(np.sqrt(variance * days), rel=1e-9)


def test_holding_the_market_is_judged_by_all_its_days():
    pair = market_pair(1, 30, 700, 1.0, 0.0)._replace(incumbent=np.zeros(180))
    held = pair._replace(challenger=pair.market.bars)
    every_day = np.r_[pair.market.before, daily(pair.market.bars, pair.day)]
    assert paired_test(held).mean == pytest.approx(every_day.mean())


def test_days_are_summed_in_their_order_also_with_days_missing():
    assert daily(np.array([1.0, 2.0, 3.0, 4.0]), np.array([5, 5, 9, 12])).tolist() == [3.0, 3.0, 4.0]
    assert daily(np.empty(0), np.empty(0, "int64")).tolist() == []
