"""The simulator beside vectorbt and backtesting.py: 100,000 bars, 1 and 100 columns, one run, at identical equity.

    python -m quantum_training_tests.benchmarks.simulator

Times are medians of five after one warm-up (backtesting.py: of three); memory is the growth of the process's peak.
Prints a Markdown table and fails where an equity differs.
"""

import resource
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd

from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.metrics import return_metrics
from quantum_training.trading.simulator import simulate
from quantum_training.trading.trades import trades

BARS, COLUMNS, CAPITAL, FEE_BPS = 100_000, 100, 1e7, 10


def market() -> tuple[pd.DataFrame, pd.DataFrame]:
    """A random walk by the hour, and targets that go in and out every twentieth bar on average."""
    rng = np.random.default_rng(0)
    close = 1000 * np.exp(np.cumsum(rng.normal(0, 0.002, BARS)))
    open_ = close * np.exp(rng.normal(0, 0.001, BARS))
    index = pd.date_range("2010-01-01", periods=BARS, freq="h", tz="UTC")
    body = {"open": open_, "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close}
    positions = (rng.random((BARS, COLUMNS)) < 0.05).cumsum(axis=0) % 2
    positions[:2] = 0
    return pd.DataFrame(body, index), pd.DataFrame(positions.astype(float), index)


def timed(run: Callable[[], np.ndarray], repeats: int = 5) -> tuple[float, float, np.ndarray]:
    """Median seconds, growth of peak memory in MB over the first call, and the last result."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result, seconds = run(), []
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), grown, result


def in_vectorbt(candles: pd.DataFrame, size: pd.DataFrame | pd.Series, value: bool) -> np.ndarray:
    import vectorbt

    done = vectorbt.Portfolio.from_orders(
        candles["close"],
        size=size,
        size_type="targetpercent",
        price=candles["open"],
        fees=FEE_BPS / 1e4,
        init_cash=CAPITAL,
        freq="h",
    )
    return done.value().to_numpy() if value else np.empty(0)


def signals_in_vectorbt(
    candles: pd.DataFrame, entries: pd.DataFrame | pd.Series, exits: pd.DataFrame | pd.Series
) -> np.ndarray:
    import vectorbt

    vectorbt.Portfolio.from_signals(
        candles["close"],
        entries=entries,
        exits=exits,
        price=candles["open"],
        fees=FEE_BPS / 1e4,
        init_cash=CAPITAL,
        freq="h",
    )
    return np.empty(0)


def in_backtesting(candles: pd.DataFrame, target: np.ndarray) -> np.ndarray:
    from backtesting import Backtest, Strategy

    class Orders(Strategy):
        def init(self) -> None:
            pass

        def next(self) -> None:
            bar = len(self.data) - 1
            if bar + 1 < BARS and target[bar + 1] != target[bar]:
                if target[bar + 1]:
                    self.buy()
                else:
                    self.position.close()

    data = candles.rename(columns=str.title)
    run = Backtest(data, Orders, cash=CAPITAL, commission=FEE_BPS / 1e4, finalize_trades=False).run()
    return run["_equity_curve"]["Equity"].to_numpy()


def main() -> None:
    warnings.simplefilter("ignore")
    candles, all_targets = market()
    naive = candles.tz_localize(None)  # with a time zone the peers are up to eight times slower
    costs = Costs(fee_bps=FEE_BPS, slippage_bps=0)
    for columns in (1, COLUMNS):
        targets = all_targets.iloc[:, :columns]
        simulate(candles, targets.iloc[:, :1], costs)
        account = Account(capital=CAPITAL)
        ours, memory, equity = timed(lambda t=targets, a=account: simulate(candles, t, costs, a).equity)
        rows = [("quantum_training: units, cash, equity, cost", ours, memory)]

        def everything(t: pd.DataFrame = targets, a: Account = account) -> np.ndarray:
            done = simulate(candles, t, costs, a)
            trade_table = trades(done)
            for net in done.net_return.T:
                return_metrics(net, done.index, 8760)
            return np.array(len(trade_table))

        everything()
        rows.append(("quantum_training: the same, trades table and 14 metrics", *timed(everything)[:2]))
        change = targets.diff()
        frames = targets.where(change != 0), change == 1, change == -1
        size, entries, exits = (f.tz_localize(None).squeeze(axis=1) for f in frames)
        peers = {
            "vectorbt from_orders": lambda s=size: in_vectorbt(naive, s, value=False),
            "vectorbt from_orders and value()": lambda s=size: in_vectorbt(naive, s, value=True),
            "vectorbt from_signals": lambda a=entries, b=exits: signals_in_vectorbt(naive, a, b),
        }
        for name, run in peers.items():
            seconds, grown, result = timed(run)
            rows.append((name, seconds, grown))
            if result.size:
                np.testing.assert_allclose(equity, result.reshape(equity.shape), rtol=1e-9)
        if columns == 1:
            seconds, grown, result = timed(lambda t=targets: in_backtesting(naive, t[0].to_numpy()), repeats=3)
            whole_units = simulate(candles, targets, costs, Account(capital=CAPITAL, whole_units=True)).equity[:, 0]
            np.testing.assert_allclose(whole_units, result, rtol=1e-9)
            rows.append(("backtesting.py", seconds, grown))
        print(f"\n{BARS:,} bars x {columns} columns\n\n| | ms | times ours | MB |\n| --- | ---: | ---: | ---: |")
        for name, seconds, grown in rows:
            print(f"| {name} | {seconds * 1e3:,.2f} | {seconds / ours:,.1f} | {grown:,.0f} |")


if __name__ == "__main__":
    main()
