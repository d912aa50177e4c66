"""The desk's metrics: their usual names, and those of one account."""

import numpy as np
import pandas as pd
import pytest

from quantum_training.trading.baselines import BUY_AND_HOLD
from quantum_training.trading.costs import Costs
from quantum_training.trading.desk_metrics import DESK_METRICS, account_metrics, desk_metrics
from quantum_training.trading.episodes import Market
from quantum_training.trading.evaluation import evaluate


@pytest.fixture
def market():
    index = pd.date_range("2024-01-01", periods=400, freq="h", tz="UTC", name="open_time")
    close = 100 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.01, 400)))
    open_ = np.append(100.0, close[:-1])
    prices = {"open": open_, "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close}
    return Market(pd.DataFrame({**prices, "volume": 1.0}, index), Costs(fee_bps=2))


def test_one_account_has_the_metrics_of_the_walk_forward_record(market):
    index = market.candles.index
    target = pd.Series((np.arange(400) // 20 % 2).astype(float), index)
    values, net = account_metrics(market, target, 8760.0)
    both = pd.DataFrame({"trees": target, BUY_AND_HOLD: 1.0})
    recorded = evaluate(market, both, ["trees"], 8760.0).metrics["trees"]
    compared = {name: values[name] for name in DESK_METRICS if name in values}
    assert compared.keys() == DESK_METRICS.keys() - {"sharpe_low", "sharpe_high"}
    assert compared == {name: recorded[name] for name in compared}
    assert net.index.equals(index)
    assert (1 + net).prod() - 1 == pytest.approx(values["total_return"])


def test_metrics_have_their_usual_names_and_undefined_ones_are_left_out():
    values = {"bars": 5, "sharpe": None, "max_drawdown": -0.1, "psr": 0.9, "reasons": {"sharpe": "no_variance"}}
    assert desk_metrics(values, "shadow") == {"shadow/bars": 5.0, "shadow/max_drawdown": -0.1}
    full = desk_metrics(dict.fromkeys(DESK_METRICS, 1.5), "in_sample")
    assert {name.removeprefix("in_sample/") for name in full} >= {
        "sharpe_ratio", "sharpe_ratio_lower", "sharpe_ratio_upper", "sortino_ratio", "max_drawdown", "total_return",
        "win_rate", "profit_factor", "turnover", "bars", "alpha",
    }  # fmt: skip


def test_an_account_that_never_trades_has_no_ratio(market):
    values, _ = account_metrics(market, pd.Series(0.0, market.candles.index), 8760.0)
    shown = desk_metrics(values, "in_sample")
    assert shown["in_sample/bars"] == 400
    assert shown["in_sample/total_return"] == 0
    assert not {"in_sample/sharpe_ratio", "in_sample/win_rate", "in_sample/profit_factor"} & shown.keys()
    assert all(np.isfinite(value) for value in shown.values())
