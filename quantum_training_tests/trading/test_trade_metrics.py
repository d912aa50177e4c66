"""Numbers of trades against hand-made oracles and on trades that the simulator made."""

import json
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.metrics import Reason
from quantum_training.trading.simulator import simulate
from quantum_training.trading.trade_metrics import trade_metrics
from quantum_training.trading.trades import trades

SIX = [0.02, -0.01, 0.03, -0.02, 0.0, 0.01]
RATIOS = ("win_rate", "profit_factor", "payoff", "kelly")


def table(returns, bars=1):
    returns = np.array(returns, "float64")
    return pd.DataFrame({"net_return": returns, "bars": np.broadcast_to(bars, len(returns))})


def test_six_trades_by_hand():
    got = trade_metrics(table(SIX, [1, 2, 3, 4, 5, 6]))
    assert got.pop("reasons") == {}
    assert got == pytest.approx(
        {
            "trades": 6,
            "win_rate": 0.6,
            "profit_factor": 2.0,
            "payoff": 4 / 3,
            "expectancy": 0.005,
            "kelly": 0.3,
            "longest_win_streak": 1,
            "longest_loss_streak": 1,
            "average_bars": 3.5,
        }
    )


def test_seven_hundred_trades_give_the_published_figures():
    """The series of reference/evaluation.md, section 2.2, each return a trade."""
    got = trade_metrics(table(np.random.default_rng(42).standard_t(5, 756) * 0.01 / np.sqrt(5 / 3) + 0.0005))
    assert [got[k] for k in RATIOS] == pytest.approx([0.531746, 1.055082, 0.929102, 0.027761], abs=5e-7)
    assert got["expectancy"] == pytest.approx(0.000199, abs=5e-7)


@pytest.mark.parametrize(
    ("returns", "expected", "reasons"),
    [
        (
            [],
            {"trades": 0, "longest_win_streak": 0, "longest_loss_streak": 0},
            dict.fromkeys((*RATIOS, "expectancy", "average_bars"), "no_trades"),
        ),
        (
            [0.0, 1e-17, -1e-17],
            {"trades": 3, "longest_win_streak": 0, "longest_loss_streak": 0, "average_bars": 1},
            dict.fromkeys(RATIOS, "no_win_or_loss"),
        ),
        (
            [0.1, 0.2],
            {"win_rate": 1, "longest_win_streak": 2, "longest_loss_streak": 0},
            dict.fromkeys(("profit_factor", "payoff", "kelly"), "no_loss"),
        ),
        (
            [-0.1, -0.2, -1.0],
            {"win_rate": 0, "profit_factor": 0, "longest_win_streak": 0, "longest_loss_streak": 3},
            dict.fromkeys(("payoff", "kelly"), "no_win"),
        ),
        ([-1.5, 0.5], {"profit_factor": 1 / 3, "payoff": 1 / 3, "kelly": 0.5 - 0.5 * 3, "expectancy": -0.5}, {}),
    ],
)
@pytest.mark.filterwarnings("error")
def test_an_undefined_metric_is_null_with_its_reason(returns, expected, reasons):
    got = trade_metrics(table(returns))
    json.dumps(got, allow_nan=False)
    assert {k: got[k] for k in expected} == pytest.approx(expected)
    assert got["reasons"] == reasons
    assert all(got[k] is None for k in reasons)


@pytest.mark.parametrize(
    ("returns", "win", "loss"),
    [
        ([1, 1, -1, 1, 1, 1, -1, -1], 3, 2),
        ([-1, -1, -1, -1, 1], 1, 4),
        ([1, 0, 1, -1, 0, 0, -1, -1], 2, 3),  # a trade of nothing ends no streak
    ],
)
def test_streaks_by_hand(returns, win, loss):
    got = trade_metrics(table(np.array(returns) * 0.01))
    assert (got["longest_win_streak"], got["longest_loss_streak"]) == (win, loss)


@given(st.lists(st.floats(-2, 5) | st.just(0.0), max_size=40))
def test_every_number_is_finite_or_has_a_reason(returns):
    got = trade_metrics(table(returns))
    json.dumps(got, allow_nan=False)
    reasons = got.pop("reasons")
    assert {k for k, v in got.items() if v is None} == reasons.keys()
    assert set(reasons.values()) <= {*get_args(Reason)}
    if got["payoff"] is not None:
        wins, losses = got["win_rate"], 1 - got["win_rate"]
        assert got["profit_factor"] == pytest.approx(got["payoff"] * wins / losses, rel=1e-9)
        assert got["longest_win_streak"] >= 1
        assert got["longest_loss_streak"] >= 1
        assert (got["kelly"] > 1e-9) <= (got["profit_factor"] > 1)
        assert (got["kelly"] < -1e-9) <= (got["profit_factor"] < 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_return_that_is_no_number_is_refused_with_its_place(bad):
    with pytest.raises(ValueError, match="net return of trade 1 of 3 is"):
        trade_metrics(table([0.1, bad, 0.2]))


def test_on_the_trades_of_an_account_the_open_one_counts_as_marked():
    """Buys at 100 and sells at 110, buys at 110 and sells at 99, buys at 99 and is marked at 99: +10 %, -10 %, 0."""
    opens = np.array([100, 110, 110, 110, 99, 99, 99.0])
    index = pd.date_range("2024-01-01", periods=7, tz="UTC", name="open_time")
    candles = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), opens), index)
    target = pd.Series([1, 0, 1, 1, 0, 1, 1.0], index, name="ours")
    costs = Costs(fee_bps=0, slippage_bps=0)
    account_trades = trades(simulate(candles, target, costs, Account(capital=1000.0)))
    assert account_trades["open"].tolist() == [False, False, True]
    metrics = trade_metrics(account_trades)
    assert metrics["trades"] == 3
    assert [metrics[k] for k in RATIOS] == pytest.approx([0.5, 1, 1, 0])
    assert metrics["expectancy"] == pytest.approx(0, abs=1e-15)
    assert metrics["average_bars"] == pytest.approx((1 + 2 + 2) / 3)
    candles.iloc[-1] = 108.9
    assert trade_metrics(trades(simulate(candles, target, costs, Account(capital=1000.0))))["win_rate"] == 2 / 3
    dear = trades(simulate(candles, target, Costs(fee_bps=100, slippage_bps=0), Account(capital=1000.0)))
    assert trade_metrics(dear)["expectancy"] < 0.1 / 3 - 0.01
    assert trade_metrics(account_trades.iloc[:0])["reasons"]["win_rate"] == "no_trades"
