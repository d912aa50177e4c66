"""Costs: what a fee leaves of a strategy, and the fee that leaves nothing."""

import pandas as pd
import pytest

from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.sensitivity import FEES_BPS, break_even_fees, cost_sensitivity
from quantum_training.trading.simulator import simulate

FREE = Costs(fee_bps=0, slippage_bps=0)


def test_one_trade_of_two_percent_dies_at_the_fee_by_hand(bars):
    """Bought at 100, sold at 102: (1 - f) / (1 + f) = 100/102 at f = 1/101 = 99.0099 bp."""
    candles = bars([(100, 101), (101, 102), (102, 102)])
    targets = pd.DataFrame({"one": [1.0, 1.0, 0.0]}, candles.index)
    assert break_even_fees(candles, targets, FREE, Account()) == {"one": (pytest.approx(1e4 / 101, abs=0.02), None)}


def test_the_break_even_fee_separates_profit_from_loss(walk):
    candles = walk(400, 3)
    ahead = (candles["close"].shift(-1) > candles["open"]).astype(float)
    targets = pd.DataFrame({"knows": ahead, "slow": ahead.iloc[::20].reindex(candles.index).ffill()})
    costs, account = Costs(slippage_bps=2, per_share=0.01, minimum=2.5), Account(whole_units=True)
    fees = break_even_fees(candles, targets, costs, account)
    for name, (fee, reason) in fees.items():
        assert reason is None
        for other, profitable in ((fee - 0.02, True), (fee + 0.02, False)):
            paid = costs.model_copy(update={"fee_bps": other})
            assert (simulate(candles, targets[name], paid, account).equity[-1, 0] > account.capital) == profitable


def test_a_missing_break_even_fee_has_a_reason(bars):
    candles = bars([(100, 101), (101, 150), (150, 150)])
    targets = pd.DataFrame({"none": 0.0, "late": [0.0, 0.0, 1.0], "lucky": [1.0, 1.0, 0.0]}, candles.index)
    assert break_even_fees(candles, targets, FREE, Account()) == {
        "none": (None, "no_trades"),
        "late": (None, "loses_without_fee"),
        "lucky": (None, "survives_largest_fee"),
    }
    assert break_even_fees(candles, targets[[]], FREE, Account()) == {}
    poor = Account(capital=10, whole_units=True)
    assert break_even_fees(candles, targets[["lucky"]], FREE, poor) == {"lucky": (None, "no_trades")}


def test_each_cell_is_a_simulation_at_that_fee(walk):
    candles = walk(300, 1)
    targets = pd.DataFrame({"a": (candles["close"] > 100).astype(float), "b": 1.0})
    costs = Costs(fee_bps=3, slippage_bps=4)
    table = cost_sensitivity(candles, targets, costs, Account())
    assert list(table.index) == list(FEES_BPS)
    for fee in FEES_BPS:
        for name in targets:
            alone = simulate(candles, targets[name], costs.model_copy(update={"fee_bps": fee}), Account())
            assert table.loc[fee, name] == alone.equity[-1, 0] / 100_000 - 1
    assert (table.diff().dropna() < 0).all(axis=None)
