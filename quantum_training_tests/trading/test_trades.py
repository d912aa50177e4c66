"""The trades table: every column by hand, and what must hold of any account."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.simulator import simulate
from quantum_training.trading.trades import trades

FREE = Costs(fee_bps=0, slippage_bps=0)
SHORTS = Account(capital=1e4, allow_short=True)


def make(rows):
    """Candles from (open, high, low, close) rows, by the hour."""
    index = pd.date_range("2024-01-01", periods=len(rows), freq="h", tz="UTC", name="open_time")
    return pd.DataFrame(np.array(rows, "float64"), index, ["open", "high", "low", "close"])


CANDLES = make(
    [(100, 105, 95, 102), (104, 110, 90, 108), (110, 120, 100, 115), (120, 130, 118, 119), (118, 119, 80, 90)]
)


def table(target, costs=FREE, account=SHORTS, candles=CANDLES, **carried):
    return trades(simulate(candles, pd.Series(target, candles.index, name="s"), costs, account, **carried))


def test_a_long_trade_by_hand():
    """10,000 at 1 % slippage and 1 % fee: 10000 / (101 * 1.01) units at 101, sold at 120 less 1 % slippage."""
    (row,) = table([1, 1, 1, 0, 0], Costs(fee_bps=100, slippage_bps=100)).itertuples()
    units = 1e4 / (101 * 1.01)
    assert (row.strategy, row.side, row.bars, row.open) == ("s", 1, 3, False)
    assert (row.entry_time, row.exit_time) == (CANDLES.index[0], CANDLES.index[3])
    assert (row.entry_price, row.exit_price) == pytest.approx((101, 118.8))
    assert row.size == pytest.approx(units)
    assert row.gross_pnl == pytest.approx(units * 20)
    assert row.cost == pytest.approx(units * (1 + 1.01 + 1.2 + 1.188))
    assert row.net_pnl == pytest.approx(units * (118.8 * 0.99 - 101 * 1.01))
    assert row.net_return == pytest.approx(row.net_pnl / 1e4)
    assert row.mae == pytest.approx(90 / 101 - 1)
    assert row.mfe == pytest.approx(120 / 101 - 1), "of the bar it leaves at, only the open counts"


def test_a_short_trade_gains_when_the_price_falls():
    (row,) = table([0, -0.5, -0.5, -0.5, 0]).itertuples()
    units = 5_000 / 104
    assert (row.side, row.bars) == (-1, 3)
    assert row.net_pnl == pytest.approx(-units * (118 - 104))
    assert row.mae == pytest.approx(-(130 / 104 - 1))
    assert row.mfe == pytest.approx(-(90 / 104 - 1))


def test_a_trade_open_at_the_end_is_marked_at_the_last_close():
    (row,) = table([0, 0, 0, 1, 1], Costs(fee_bps=100, slippage_bps=0)).itertuples()
    units = 1e4 / (120 * 1.01)
    assert row.open
    assert row.exit_time is pd.NaT
    assert (row.exit_price, row.bars) == (90, 2)
    assert row.net_pnl == pytest.approx(units * (90 - 120) - units * 1.2)


def test_scaling_in_and_out_is_one_trade():
    rows = table([0.4, 0.8, 0.2, 0.2, 0], Costs(fee_bps=0, slippage_bps=0))
    (row,) = rows.itertuples()
    first, equity = 40.0, 6_000 + 40 * 104.0
    second = 0.8 * equity / 104 - first
    later = equity - (first + second) * 104 + (first + second) * 110
    left = first + second - 0.2 * later / 110
    assert row.size == pytest.approx(first + second)
    assert row.entry_price == pytest.approx((first * 100 + second * 104) / (first + second))
    rest = first + second - left
    assert row.exit_price == pytest.approx((left * 110 + rest * 118) / (first + second))
    assert row.net_pnl == pytest.approx(left * 110 + rest * 118 - first * 100 - second * 104)
    assert row.bars == 4


def test_a_flip_ends_one_trade_and_begins_the_next_at_the_same_bar():
    costs = Costs(fee_bps=100, slippage_bps=0)
    rows = table([0.5, 0.5, -0.5, -0.5, 0], costs)
    assert list(rows["side"]) == [1, -1]
    assert rows["exit_time"][0] == rows["entry_time"][1] == CANDLES.index[2]
    long, short = rows["size"]
    assert rows["cost"][0] == pytest.approx(0.01 * long * (100 + 110))
    assert rows["cost"][1] == pytest.approx(0.01 * short * (110 + 118))
    assert rows["net_return"][1] == pytest.approx(rows["net_pnl"][1] / (1e4 + long * 8 - 0.01 * long * 100))


def test_carry_costs_belong_to_the_open_trade():
    costs = Costs(fee_bps=0, slippage_bps=0, funding_bps=100)
    (row,) = table([0.5, 0.5, 0, 0, 0], costs).itertuples()
    assert row.cost == pytest.approx(50 * 0.01 * (102 + 108))


def test_a_position_carried_in_is_a_trade_from_its_entry_price():
    (row,) = table([1, 1, 0, 0, 0], start_position=1.0, entry=80.0).itertuples()
    assert (row.entry_price, row.bars) == (80, 2)
    assert row.net_pnl == pytest.approx(125 * 30)


def test_a_fill_in_a_bar_without_trades_costs_its_extra_slippage():
    candles = CANDLES.assign(volume=[5.0, 0.0, 5.0, 5.0, 5.0])
    costs = Costs(fee_bps=0, slippage_bps=100, untraded_slippage_bps=400)
    (row,) = table([0, 1, 1, 0, 0], costs, candles=candles).itertuples()
    assert (row.entry_time, row.entry_price) == (candles.index[1], pytest.approx(104 * 1.05))
    assert row.exit_price == pytest.approx(120 * 0.99)
    assert row.cost == pytest.approx(row.size * (104 * 0.05 + 120 * 0.01))
    assert row.net_pnl == pytest.approx(row.size * (120 * 0.99 - 104 * 1.05))


def test_no_position_is_no_trade():
    rows = table([0, 0, 0, 0, 0])
    assert rows.empty
    assert list(rows) == list(table([1, 1, 1, 0, 0]))


@given(st.data(), st.integers(2, 40))
def test_the_trades_of_any_account_explain_its_equity(data, bars):
    steps = np.array(data.draw(st.lists(st.floats(-0.1, 0.1), min_size=2 * bars, max_size=2 * bars)))
    opens, closes = 100 * np.exp(np.cumsum(steps)).reshape(-1, 2).T
    wicks = np.array(data.draw(st.lists(st.floats(0, 0.05), min_size=bars, max_size=bars)))
    high, low = np.maximum(opens, closes) * (1 + wicks), np.minimum(opens, closes) * (1 - wicks)
    candles = make(np.column_stack([opens, high, low, closes]))
    shares = st.sampled_from([-0.5, 0.0, 0.0, 0.3, 1.0])
    target = pd.DataFrame({c: data.draw(st.lists(shares, min_size=bars, max_size=bars)) for c in "ab"}, candles.index)
    costs = Costs(fee_bps=20, slippage_bps=10, per_share=0.01, minimum=1, borrow_bps=2, funding_bps=1)
    done = simulate(candles, target, costs, SHORTS)
    rows = trades(done)
    for at, name in enumerate("ab"):
        of_strategy = rows[rows["strategy"] == name]
        assert of_strategy["net_pnl"].sum() == pytest.approx(done.equity[-1, at] - 1e4, abs=1e-7)
        assert of_strategy["cost"].sum() == pytest.approx(done.cost[:, at].sum(), abs=1e-7)
        invested = done.units[:, at] != 0
        assert of_strategy["bars"].sum() == invested.sum()
        assert of_strategy["open"].sum() == invested[-1]
        for row in of_strategy.itertuples():
            first = candles.index.get_loc(row.entry_time)
            part = candles.iloc[first : first + row.bars]
            prices = np.r_[part["low"], part["high"], [] if row.open else candles["open"].iloc[first + row.bars]]
            moves = row.side * (np.r_[prices, row.entry_price] / row.entry_price - 1)
            assert (row.mae, row.mfe) == pytest.approx((moves.min(), moves.max()), abs=2e-3)
            assert row.mae <= 0 <= row.mfe
            assert (np.sign(done.units[first : first + row.bars, at]) == row.side).all()
            assert row.net_pnl == pytest.approx(row.gross_pnl - row.cost)
            assert row.size == np.abs(done.units[first : first + row.bars, at]).max()
