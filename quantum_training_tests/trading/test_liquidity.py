"""Bars in which nobody traded: which they are, what becomes of an order there, and what a fill there costs."""

import numpy as np
import pandas as pd
import pytest

from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.liquidity import UNTRADED, last_fill, mark_untraded, untraded_bars
from quantum_training.trading.scoring import Decisions, decisions, score
from quantum_training.trading.simulator import simulate

FREE = Costs(fee_bps=0, slippage_bps=0)
COSTLY = Costs(fee_bps=0, slippage_bps=100)


def candles_of(prices, volume):
    """Bars by the hour that stay at one price."""
    index = pd.date_range("2024-01-01", periods=len(prices), freq="h", tz="UTC", name="open_time")
    body = {name: np.array(prices, "float64") for name in ("open", "high", "low", "close")}
    return pd.DataFrame({**body, "volume": np.array(volume, "float64")}, index)


def run(prices, volume, target, costs=FREE, account=Account(capital=1000)):  # noqa: B008 - frozen
    candles = candles_of(prices, volume)
    return simulate(candles, pd.Series(target, candles.index, dtype="float64", name="s"), costs, account)


@pytest.mark.parametrize(
    ("volume", "untraded"),
    [
        ([5, 0, 0, 3], [False, True, True, False]),
        ([0, 0, 5, 0], [False, False, False, True]),
        ([0, 0, 0, 0], [False] * 4),
        ([5, np.nan, 0, 1e-9], [False, False, True, False]),
    ],
)
def test_a_volume_of_0_says_that_nobody_traded_only_after_a_bar_with_volume(volume, untraded):
    assert untraded_bars(candles_of([10] * 4, volume)).tolist() == untraded


def test_candles_without_volume_count_as_traded_and_marks_survive_a_cut():
    candles = candles_of([10] * 4, [5, 0, 0, 0])
    assert not untraded_bars(candles.drop(columns="volume")).any()
    assert untraded_bars(mark_untraded(candles).iloc[2:]).all()
    assert mark_untraded(mark_untraded(candles).iloc[2:])[UNTRADED].all()
    assert last_fill(candles, FREE) == 0
    assert last_fill(candles, Costs(untraded_slippage_bps=5)) == 3
    assert last_fill(mark_untraded(candles).iloc[1:], FREE) == last_fill(candles[:0], FREE) == -1


def test_an_order_waits_for_the_next_bar_with_trades_by_hand():
    """Asked for at 10, in force at 20: 50 units; asked to leave at 40, left at 30."""
    got = run([10, 10, 10, 20, 40, 40, 30, 30], [5, 5, 0, 5, 5, 0, 5, 0], [0, 0, 1, 1, 1, 0, 0, 0])
    assert got.units[:, 0].tolist() == [0, 0, 0, 50, 50, 50, 0, 0]
    assert got.equity[:, 0].tolist() == [1000, 1000, 1000, 1000, 2000, 2000, 1500, 1500]
    assert got.frame("s")["fill_price"].dropna().tolist() == [20, 30]
    assert got.target[:, 0].tolist() == [0, 0, 1, 1, 1, 0, 0, 0], "as it was asked for"


def test_an_order_that_is_withdrawn_while_it_waits_is_never_filled():
    got = run([10, 11, 11, 11, 11, 9], [5, 0, 0, 0, 0, 7], [0, 1, 1, 0, 0, 0], COSTLY)
    assert not got.traded.any()
    assert (got.equity == 1000).all()


def test_by_setting_a_fill_without_trades_costs_its_extra_slippage_by_hand():
    costs = Costs(fee_bps=0, slippage_bps=100, untraded_slippage_bps=900)
    got = run([10, 10, 10, 10], [5, 0, 5, 0], [0, 1, 1, 0], costs, Account(capital=1100))
    assert got.units[:, 0].tolist() == pytest.approx([0, 100, 100, 0])
    assert got.frame("s")["fill_price"].dropna().tolist() == pytest.approx([11, 9])
    assert got.cost[:, 0].tolist() == pytest.approx([0, 100, 0, 100])
    assert got.equity[-1, 0] == pytest.approx(900)
    (free,) = run([10, 10], [5, 0], [0, 1], Costs(untraded_slippage_bps=0)).units[1]
    assert free > 0


def test_a_market_that_reports_no_volume_trades_as_one_with_volume():
    target, prices = [0, 1, 0, 0.5, 1], [10, 11, 12, 11, 13]
    silent, spoken = run(prices, [0] * 5, target, COSTLY), run(prices, [7] * 5, target, COSTLY)
    assert np.array_equal(silent.equity, spoken.equity)
    assert silent.traded.any()


def test_a_ruined_account_goes_flat_at_the_next_bar_with_trades():
    short = Account(capital=1000, allow_short=True)
    got = run([10, 10, 25, 25, 25], [5, 5, 0, 0, 5], [0, -1, -1, -1, -1], FREE, short)
    assert got.units[:, 0].tolist() == [0, -100, -100, -100, 0]
    assert got.equity[-1, 0] == -500


def test_each_column_has_its_own_candles_and_its_own_extra_slippage():
    one, other = candles_of([10] * 3, [5, 0, 5]), candles_of([10] * 3, [5, 5, 5])
    target = pd.DataFrame({"one": [0.0, 1.0, 1.0], "other": [0.0, 1.0, 1.0]}, one.index)
    assert (simulate([one, other], target, COSTLY).traded != 0).T.tolist() == [
        [False, False, True],
        [False, True, False],
    ]
    both = simulate(one, target, [COSTLY, COSTLY.model_copy(update={"untraded_slippage_bps": 200.0})])
    assert both.frame("other")["fill_price"].dropna().tolist() == pytest.approx([10.3])
    assert both.frame("one")["fill_price"].dropna().tolist() == pytest.approx([10.1])


@pytest.mark.parametrize("seed", range(5))
def test_later_bars_change_neither_fills_nor_marks_before_them(walk, seed):
    rng = np.random.default_rng(seed)
    candles = walk(60, seed).assign(
        volume=np.r_[np.zeros(seed * 5), rng.integers(0, 2, 60 - seed * 5)].astype("float64")
    )
    target = pd.Series(rng.integers(0, 2, 60).astype("float64"), candles.index, name="s")
    changed = candles.copy()
    changed.iloc[30:, :4] *= 2
    changed.iloc[30:, 4] = rng.integers(0, 2, 30)
    one, other = simulate(candles, target, COSTLY), simulate(changed, target, COSTLY)
    assert np.array_equal(one.equity[:30], other.equity[:30])
    assert np.array_equal(untraded_bars(candles)[:30], untraded_bars(changed)[:30])
    assert not one.traded[untraded_bars(candles)].any()


class FollowsFeature:
    lookback_bars, has_account = 0, False

    def positions(self, features):
        return features["goal"]


def test_decisions_reach_back_to_the_position_that_is_held_at_the_start():
    """The market is shut from bar 2 to bar 5; what was bought in bar 1 is held, and sold only in bar 6."""
    candles = candles_of([10, 10, 10, 10, 10, 10, 30, 30], [5, 5, 0, 0, 0, 0, 5, 5])
    features = pd.DataFrame({"goal": [1.0, 0, 0, 0, 0, 0, 0, 0]}, candles.index)
    always = [type("Version", (), {"as_of": candles.index[0], "model_id": "m"})]
    decided = decisions(candles, features, always, candles.index[4], lambda _: FollowsFeature())
    assert decided.position.index[0] == candles.index[1]
    scores = score(candles, candles.index[4], {"s": decided}, FREE, Account())
    assert scores["net_return"].tolist() == pytest.approx([0, 0, 2, 0])
    assert scores["fill_price"].dropna().tolist() == [30]
    open_ = candles.assign(volume=5.0)
    decided = decisions(open_, features, always, candles.index[4], lambda _: FollowsFeature())
    assert decided.position.index[0] == candles.index[3]
    assert score(open_, candles.index[4], {"s": decided}, FREE, Account())["net_return"].tolist() == [0, 0, 0, 0]


def test_the_position_before_the_first_bar_with_trades_is_flat():
    candles = mark_untraded(candles_of([10, 10, 10, 20, 20], [5, 0, 0, 0, 5])).iloc[1:]
    held = Decisions(pd.Series(1.0, candles.index), pd.Series("m", candles.index))
    assert score(candles, candles.index[1], {"s": held}, FREE, Account())["net_return"].tolist() == [0, 0, 0]
