"""The refresh gate: broken versions are refused and named, sound ones pass, small evidence decides nothing."""

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


def judged(candles, older, newer, policy=RefreshPolicy(), costs=FREE, account=Account(), learnt=None):  # noqa: B008
    start = candles.index[1]
    learnt = learnt or (start, candles.index[-1])
    sides = (positions(candles, values) for values in (older, newer))
    return judge_refresh(policy, RefreshComparison(candles, start, *sides, learnt), costs, account)


def knowing(candles, share=0.6, seed=0):
    """All or nothing, right about the bar that it fills in this share of the bars."""
    up = (candles["close"] > candles["open"]).to_numpy()
    right = np.random.default_rng(seed).random(len(candles)) < share
    return np.where(up == right, 1.0, 0.0)


def test_a_version_that_decides_the_same_takes_over(candles):
    found = judged(candles, knowing(candles), knowing(candles), costs=Costs())
    assert found.accepted
    assert (found.change, found.difference, found.lower_bound) == (0, 0, 0)
    assert found.margin > 0
    assert (found.days, found.shared_days) == (100, 100)


def test_inverted_and_tossed_positions_are_refused(candles):
    older = knowing(candles)
    inverted = judged(candles, older, 1 - older)
    assert not inverted.accepted
    assert inverted.change == 1
    assert "its position changes by 100% on average, more than 30%" in inverted.reason
    tossed = judged(candles, older, np.random.default_rng(3).integers(0, 2, BARS))
    assert not tossed.accepted
    assert tossed.change == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("bad", "account", "said"),
    [
        (np.inf, Account(), "position inf is outside"),
        (-0.25, Account(), "position -0.25 is outside [0, 1]"),
        (1.5, Account(allow_short=True), "position 1.5 is outside [-1, 1]"),
        (np.nan, Account(), "decides nothing on 1 bars, the first"),
    ],
)
@pytest.mark.parametrize("bar", [0, 300])
def test_an_invalid_position_is_refused_and_its_bar_named(candles, bad, account, said, bar):
    newer = np.full(BARS, 0.5)
    newer[bar] = bad
    found = judged(candles, 0.5, newer, account=account)
    assert not found.accepted
    assert said in found.reason
    assert str(candles.index[bar]) in found.reason
    assert found.difference is None


def test_a_bar_on_which_the_older_one_decides_nothing_either_is_flat_for_both(candles):
    gap = np.where(np.arange(BARS) < 200, np.nan, 0.5)
    found = judged(candles, gap, gap)
    assert found.accepted
    assert found.shared_days == 67
    assert judged(candles, gap, 0.5).accepted, "it may decide on more bars"


def test_the_bound_is_that_of_students_t_of_the_daily_differences(candles):
    older, newer = knowing(candles, 0.6, 0), knowing(candles, 0.6, 1)
    found = judged(candles, older, newer, costs=Costs())
    week, targets = candles.iloc[1:], pd.DataFrame({"older": older[1:], "newer": newer[1:]}, candles.index[1:])
    held = np.array([older[0], newer[0]])
    net = simulate(week, targets, Costs(), Account(), held, float(candles["close"].iloc[0])).net_return
    daily = net.reshape(-1, PER_DAY, 2).sum(axis=1)
    difference = daily[:, 1] - daily[:, 0]
    low = ttest_1samp(difference, 0).confidence_interval(0.90).low
    assert found.difference == pytest.approx(difference.mean())
    assert found.deviation == pytest.approx(difference.std(ddof=1))
    assert found.lower_bound == pytest.approx(low)
    assert found.margin == pytest.approx(0.3 * daily.std(axis=0, ddof=1).max())


def test_a_version_that_trades_madly_is_refused_for_what_it_costs(candles):
    newer = np.where(np.arange(BARS) % 2, 1.0, 0.8)
    assert judged(candles, 1.0, newer).accepted
    found = judged(candles, 1.0, newer, costs=Costs(fee_bps=60, slippage_bps=20))
    assert found.change == pytest.approx(0.1, abs=0.01)
    assert not found.accepted
    assert "is not ruled out" in found.reason
    assert found.lower_bound < -found.margin


def test_a_version_that_went_flat_is_refused_where_the_older_one_earned_and_only_there(candles):
    invested = np.random.default_rng(9).random(BARS) < 0.25
    seldom = np.where(invested, knowing(candles, 0.9), 0.0)
    gives_up = judged(candles, seldom, 0.0)
    assert gives_up.change < 0.3
    assert (gives_up.accepted, "is not ruled out" in gives_up.reason) == (False, True)
    useless = np.where(invested, knowing(candles, 0.4), 0.0)
    assert judged(candles, useless, 0.0).accepted
    assert judged(candles, 0.0, 0.0).accepted
    assert judged(candles, 0.0, 0.0).margin == 0


def test_an_older_version_that_holds_nothing_does_not_stay_for_ever(candles):
    assert judged(candles, 0.0, 0.25 * knowing(candles, 0.55)).accepted


@pytest.mark.parametrize("days", [MIN_DAYS - 1, MIN_DAYS])
def test_too_few_days_decide_nothing_and_say_so(candles, days):
    few = candles.iloc[: 1 + days * PER_DAY]
    older = knowing(few)
    found = judged(few, older, 1 - older)
    assert (found.accepted, found.days) == (days < MIN_DAYS, days)
    if found.accepted:
        assert found.reason == "sane; 19 of 20 days to compare"
        assert found.change is None
    assert not judged(few, older, 2 * older).accepted, "an invalid position needs no evidence"


def test_positions_are_compared_on_bars_that_both_learnt_from_only(candles):
    older = np.full(BARS, 0.5)
    newer = np.where(np.arange(BARS) <= 300, 0.5, 1.0)
    half = (candles.index[1], candles.index[301])
    assert judged(candles, older, newer, learnt=half).change == 0
    aged = judged(candles, older, np.ones(BARS), learnt=(candles.index[1], candles.index[1 + 19 * PER_DAY]))
    assert (aged.change, aged.shared_days) == (None, 19)
    assert aged.difference is not None


def test_where_shorting_is_allowed_a_position_can_change_by_two(candles):
    long = np.full(BARS, 0.2)
    found = judged(candles, long, -long, account=Account(allow_short=True))
    assert found.change == pytest.approx(0.2)


@given(
    seed=st.integers(0, 2**16),
    agree=st.floats(0, 1),
    max_change=st.floats(0.01, 1),
    margin=st.floats(0.01, 2),
    wider=st.floats(1, 5),
)
@hypothesis_settings(max_examples=25)
def test_a_wider_policy_refuses_nothing_that_a_narrower_one_accepts(candles, seed, agree, max_change, margin, wider):
    rng = np.random.default_rng(seed)
    older = rng.integers(0, 5, BARS) / 4
    newer = np.where(rng.random(BARS) < agree, older, rng.integers(0, 5, BARS) / 4)
    narrow = RefreshPolicy(max_change=max_change, margin=margin)
    wide = RefreshPolicy(max_change=min(1, wider * max_change), margin=wider * margin)
    strict, lax = judged(candles, older, newer, narrow), judged(candles, older, newer, wide)
    assert lax.accepted or not strict.accepted
    assert strict.lower_bound <= strict.difference
