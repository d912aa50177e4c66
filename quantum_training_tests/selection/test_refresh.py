"""The refresh gate: broken candidates are refused with the reason, sound ones pass, little evidence refuses none."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from quantum_training.selection.refresh import MIN_DAYS, RefreshComparison, RefreshPolicy, judge_refresh
from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.simulator import simulate

FREE = Costs(fee_bps=0, slippage_bps=0)
BARS, PER_DAY = 601, 6


@pytest.fixture(scope="module")
def candles(make_candles):
    """100 days of 4h bars, and one bar before them."""
    frame = make_candles(BARS, seed=1, freq="4h")
    return frame.set_axis(frame.index - pd.Timedelta("4h"))


def positions(candles, values):
    return pd.Series(np.broadcast_to(np.asarray(values, "float64"), len(candles)), candles.index)


def judge(candles, incumbent, candidate, policy=RefreshPolicy(), costs=FREE, account=Account(), learnt_from=None):  # noqa: B008
    start = candles.index[1]
    learnt_from = learnt_from or (start, candles.index[-1])
    sides = (positions(candles, values) for values in (incumbent, candidate))
    return judge_refresh(policy, RefreshComparison(candles, start, *sides, learnt_from), costs, account)


def positions_with_skill(candles, share=0.6, seed=0):
    """All or nothing, right about the bar that it fills in this share of the bars."""
    up = (candles["close"] > candles["open"]).to_numpy()
    right = np.random.default_rng(seed).random(len(candles)) < share
    return np.where(up == right, 1.0, 0.0)


def test_a_candidate_with_the_same_positions_is_accepted(candles):
    decision = judge(candles, positions_with_skill(candles), positions_with_skill(candles), costs=Costs())
    assert decision.accepted
    assert (decision.change, decision.difference, decision.lower_bound) == (0, 0, 0)
    assert decision.margin > 0
    assert (decision.days, decision.shared_days) == (100, 100)


def test_inverted_and_random_positions_are_refused(candles):
    incumbent = positions_with_skill(candles)
    inverted = judge(candles, incumbent, 1 - incumbent)
    assert not inverted.accepted
    assert inverted.change == 1
    assert "its position changes by 100% on average, more than 30%" in inverted.reason
    tossed = judge(candles, incumbent, np.random.default_rng(3).integers(0, 2, BARS))
    assert not tossed.accepted
    assert tossed.change == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("value", "account", "message"),
    [
        (np.inf, Account(), "position inf is outside"),
        (-0.25, Account(), "position -0.25 is outside [0, 1]"),
        (1.5, Account(allow_short=True), "position 1.5 is outside [-1, 1]"),
        (np.nan, Account(), "decides nothing on 1 bars, the first"),
    ],
)
@pytest.mark.parametrize("bar", [0, 300])
def test_an_invalid_position_is_refused_and_its_bar_named(candles, value, account, message, bar):
    candidate = np.full(BARS, 0.5)
    candidate[bar] = value
    decision = judge(candles, 0.5, candidate, account=account)
    assert not decision.accepted
    assert message in decision.reason
    assert str(candles.index[bar]) in decision.reason
    assert decision.difference is None


def test_a_bar_on_which_the_incumbent_is_undecided_too_is_flat_for_both(candles):
    gap = np.where(np.arange(BARS) < 200, np.nan, 0.5)
    decision = judge(candles, gap, gap)
    assert decision.accepted
    assert decision.shared_days == 67
    assert judge(candles, gap, 0.5).accepted, "it may decide on more bars"


def test_the_bound_is_that_of_students_t_of_the_daily_differences(candles):
    incumbent, candidate = positions_with_skill(candles, 0.6, 0), positions_with_skill(candles, 0.6, 1)
    decision = judge(candles, incumbent, candidate, costs=Costs())
    week, targets = candles.iloc[1:], pd.DataFrame({"older": incumbent[1:], "newer": candidate[1:]}, candles.index[1:])
    positions_before = np.array([incumbent[0], candidate[0]])
    net = simulate(week, targets, Costs(), Account(), positions_before, float(candles["close"].iloc[0])).net_return
    daily = net.reshape(-1, PER_DAY, 2).sum(axis=1)
    difference = daily[:, 1] - daily[:, 0]
    low = ttest_1samp(difference, 0).confidence_interval(0.90).low
    assert decision.difference == pytest.approx(difference.mean())
    assert decision.deviation == pytest.approx(difference.std(ddof=1))
    assert decision.lower_bound == pytest.approx(low)
    assert decision.margin == pytest.approx(0.3 * daily.std(axis=0, ddof=1).max())


def test_a_candidate_that_overtrades_is_refused_for_its_costs(candles):
    candidate = np.where(np.arange(BARS) % 2, 1.0, 0.8)
    assert judge(candles, 1.0, candidate).accepted
    decision = judge(candles, 1.0, candidate, costs=Costs(fee_bps=60, slippage_bps=20))
    assert decision.change == pytest.approx(0.1, abs=0.01)
    assert not decision.accepted
    assert "is not ruled out" in decision.reason
    assert decision.lower_bound < -decision.margin


def test_a_flat_candidate_is_refused_only_if_the_incumbent_earned(candles):
    invested = np.random.default_rng(9).random(BARS) < 0.25
    seldom = np.where(invested, positions_with_skill(candles, 0.9), 0.0)
    gives_up = judge(candles, seldom, 0.0)
    assert gives_up.change < 0.3
    assert (gives_up.accepted, "is not ruled out" in gives_up.reason) == (False, True)
    useless = np.where(invested, positions_with_skill(candles, 0.4), 0.0)
    assert judge(candles, useless, 0.0).accepted
    assert judge(candles, 0.0, 0.0).accepted
    assert judge(candles, 0.0, 0.0).margin == 0


def test_a_flat_incumbent_can_be_replaced(candles):
    assert judge(candles, 0.0, 0.25 * positions_with_skill(candles, 0.55)).accepted


@pytest.mark.parametrize("days", [MIN_DAYS - 1, MIN_DAYS])
def test_with_too_few_days_a_valid_candidate_is_accepted_with_the_reason(candles, days):
    few = candles.iloc[: 1 + days * PER_DAY]
    incumbent = positions_with_skill(few)
    decision = judge(few, incumbent, 1 - incumbent)
    assert (decision.accepted, decision.days) == (days < MIN_DAYS, days)
    if decision.accepted:
        assert decision.reason == "sane; 19 of 20 days to compare"
        assert decision.change is None
    assert not judge(few, incumbent, 2 * incumbent).accepted, "an invalid position needs no evidence"


def test_positions_are_compared_only_on_bars_that_both_versions_learnt_from(candles):
    incumbent = np.full(BARS, 0.5)
    candidate = np.where(np.arange(BARS) <= 300, 0.5, 1.0)
    half = (candles.index[1], candles.index[301])
    assert judge(candles, incumbent, candidate, learnt_from=half).change == 0
    aged = judge(candles, incumbent, np.ones(BARS), learnt_from=(candles.index[1], candles.index[1 + 19 * PER_DAY]))
    assert (aged.change, aged.shared_days) == (None, 19)
    assert aged.difference is not None


def test_the_change_of_position_is_relative_to_the_range_with_short_positions(candles):
    long = np.full(BARS, 0.2)
    decision = judge(candles, long, -long, account=Account(allow_short=True))
    assert decision.change == pytest.approx(0.2)


@given(
    seed=st.integers(0, 2**16),
    agree=st.floats(0, 1),
    max_change=st.floats(0.01, 1),
    margin=st.floats(0.01, 2),
    wider=st.floats(1, 5),
)
@hypothesis_settings(max_examples=25)
def test_a_wider_policy_accepts_all_that_a_narrower_one_accepts(candles, seed, agree, max_change, margin, wider):
    rng = np.random.default_rng(seed)
    incumbent = rng.integers(0, 5, BARS) / 4
    candidate = np.where(rng.random(BARS) < agree, incumbent, rng.integers(0, 5, BARS) / 4)
    narrow = RefreshPolicy(max_change=max_change, margin=margin)
    wide = RefreshPolicy(max_change=min(1, wider * max_change), margin=wider * margin)
    strict, lax = judge(candles, incumbent, candidate, narrow), judge(candles, incumbent, candidate, wide)
    assert lax.accepted or not strict.accepted
    assert strict.lower_bound <= strict.difference
