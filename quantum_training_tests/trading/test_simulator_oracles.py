"""Equal equity to vectorbt and backtesting.py on the same real candles and orders, to nine digits on every bar.

Where conventions differ: vectorbt lets a short grow beyond the equity, so shorts stay at half of it here;
backtesting.py trades whole units only and knows no slippage, so there is none here.
"""

import warnings

import numpy as np
import pandas as pd
import pytest

from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.simulator import simulate

BARS = 6_000
CAPITAL = 1e7


def orders(levels, bars, seed):
    """A target that jumps between `levels` about every twentieth bar, flat at first."""
    rng = np.random.default_rng(seed)
    changes = np.where(rng.random(bars) < 0.05, rng.integers(0, len(levels), bars), -1)
    target = pd.Series(np.where(changes >= 0, np.array(levels)[changes], np.nan)).ffill().fillna(0.0)
    target.iloc[:2] = 0.0
    return target.to_numpy()


@pytest.fixture(scope="module", params=["btc", "aapl"])
def candles(request):
    return request.getfixturevalue(request.param).iloc[-BARS:]


def value_in_vectorbt(candles, target, **options):
    import vectorbt

    changed = np.r_[target[0] != 0, np.diff(target) != 0]
    size = pd.Series(np.where(changed, target, np.nan), candles.index)
    portfolio = vectorbt.Portfolio.from_orders(
        candles["close"],
        size=size,
        size_type="targetpercent",
        price=candles["open"],
        init_cash=CAPITAL,
        freq="1h",
        **options,
    )
    return portfolio.value().to_numpy()


@pytest.mark.long
@pytest.mark.candles
@pytest.mark.parametrize(
    ("levels", "slippage"),
    [((0.0, 1.0), 0), ((0.0, 0.25, 0.5, 1.0), 0), ((0.0, 1.0), 5), ((-0.5, 0.0, 0.5), 0), ((-0.5, 0.3), 5)],
    ids=["in and out", "fractions", "in and out, slippage", "short", "flips, slippage"],
)
def test_equal_to_vectorbt(candles, levels, slippage):
    pytest.importorskip("vectorbt", reason="vectorbt is not installed")
    target = orders(levels, len(candles), seed=len(levels))
    account = Account(capital=CAPITAL, allow_short=min(levels) < 0)
    ours = simulate(candles, pd.Series(target, candles.index), Costs(fee_bps=10, slippage_bps=slippage), account)
    theirs = value_in_vectorbt(candles, target, fees=0.001, slippage=slippage / 1e4)
    np.testing.assert_allclose(ours.equity[:, 0], theirs, rtol=1e-9)
    assert np.ptp(theirs) > 0.01 * CAPITAL
    assert (ours.cost > 0).sum() > 100


@pytest.mark.long
@pytest.mark.candles
@pytest.mark.parametrize("levels", [(0.0, 1.0), (-0.5, 0.0, 0.5)], ids=["in and out", "short"])
@pytest.mark.parametrize("untraded_bps", [None, 40.0], ids=["orders wait", "extra slippage"])
def test_equal_to_vectorbt_in_bars_without_trades(candles, levels, untraded_bps):
    """vectorbt is given the orders where they are filled, or the slippage of each bar."""
    pytest.importorskip("vectorbt", reason="vectorbt is not installed")
    target = orders(levels, len(candles), seed=len(levels))
    traded = np.random.default_rng(5).random(len(candles)) < 0.6
    traded[0] = True
    quiet = candles.assign(volume=candles["volume"].clip(lower=1.0).where(traded, 0.0))
    costs = Costs(fee_bps=10, slippage_bps=5, untraded_slippage_bps=untraded_bps)
    account = Account(capital=CAPITAL, allow_short=min(levels) < 0)
    ours = simulate(quiet, pd.Series(target, candles.index), costs, account)
    slippage = np.full(len(candles), 5e-4)
    if untraded_bps is None:
        target = pd.Series(target).where(traded).ffill().to_numpy()
        assert not (ours.traded[~traded] != 0).any()
    else:
        slippage[~traded] += untraded_bps / 1e4
    theirs = value_in_vectorbt(candles, target, fees=0.001, slippage=slippage)
    np.testing.assert_allclose(ours.equity[:, 0], theirs, rtol=1e-9)
    assert (ours.cost > 0).sum() > 100


def equity_in_backtesting(candles, target, size):
    """`size(broker_strategy, bar)` places the order for the next bar's open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from backtesting import Backtest, Strategy

        class Orders(Strategy):
            def init(self):
                pass

            def next(self):
                bar = len(self.data) - 1
                if bar + 1 < len(target) and target[bar + 1] != target[bar]:
                    size(self, bar + 1)

        data = candles.tz_localize(None).rename(columns=str.title)
        run = Backtest(data, Orders, cash=CAPITAL, commission=0.001, finalize_trades=False)
        return run.run()["_equity_curve"]["Equity"].to_numpy()


@pytest.mark.candles
@pytest.mark.filterwarnings("ignore")
def test_equal_to_backtesting_py_that_sizes_by_itself(candles):
    pytest.importorskip("backtesting", reason="backtesting.py is not installed")
    target = orders((0.0, 1.0), len(candles), seed=3)
    account = Account(capital=CAPITAL, whole_units=True)
    ours = simulate(candles, pd.Series(target, candles.index), Costs(fee_bps=10, slippage_bps=0), account)
    theirs = equity_in_backtesting(
        candles, target, lambda broker, bar: broker.buy() if target[bar] else broker.position.close()
    )
    np.testing.assert_allclose(ours.equity[:, 0], theirs, rtol=1e-9)
    assert (ours.cost > 0).sum() > 100


@pytest.mark.candles
@pytest.mark.filterwarnings("ignore")
def test_equal_to_backtesting_py_that_is_given_the_units_long_and_short(candles):
    pytest.importorskip("backtesting", reason="backtesting.py is not installed")
    target = orders((-0.4, 0.0, 0.3), len(candles), seed=4)
    account = Account(capital=CAPITAL, whole_units=True, allow_short=True)
    ours = simulate(candles, pd.Series(target, candles.index), Costs(fee_bps=10, slippage_bps=0), account)
    units = ours.traded[:, 0]

    def place(broker, bar):
        if units[bar]:
            (broker.buy if units[bar] > 0 else broker.sell)(size=abs(units[bar]))

    theirs = equity_in_backtesting(candles, target, place)
    np.testing.assert_allclose(ours.equity[:, 0], theirs, rtol=1e-9)
    assert (ours.units < 0).any()
    assert (ours.units > 0).any()
