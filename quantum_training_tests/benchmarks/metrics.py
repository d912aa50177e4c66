"""Metrics of 100k hourly bars: ours against the six that empyrical has, in one run, with the numbers compared.

    python -m quantum_training_tests.benchmarks.metrics [bars]

Prints a Markdown table of milliseconds (median of the rounds, taken in turn) and ratios; nothing is asserted.
"""

import sys
import time
from collections.abc import Callable

import empyrical
import numpy as np
import pandas as pd

from quantum_training.trading.metrics import return_metrics
from quantum_training.trading.trade_metrics import trade_metrics

PERIODS = 8760
ROUNDS = 30
BAR_PER_TRADE = 10


def milliseconds(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median duration by name; the calls take turns, so that a slow moment of the machine meets them all."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            spent[name].append(1e3 * (time.perf_counter() - start))
    return {name: float(np.median(values)) for name, values in spent.items()}


def main(bars: int) -> None:
    """Measure on seeded fat-tailed returns of about 100 % volatility a year."""
    rng = np.random.default_rng(0)
    net, benchmark = rng.standard_t(5, (2, bars)) * 0.008 + 0.00005
    times = pd.date_range("2015-01-01", periods=bars, freq="h", tz="UTC")
    position = (rng.random(bars) < 0.5).astype("float64")
    turnover = np.abs(np.diff(position, prepend=0.0))
    table = pd.DataFrame({"net_return": net[::BAR_PER_TRADE], "bars": BAR_PER_TRADE})
    peers: dict[str, Callable[[], object]] = {
        "sharpe": lambda: empyrical.sharpe_ratio(net, annualization=PERIODS),
        "sortino": lambda: empyrical.sortino_ratio(net, annualization=PERIODS),
        "cagr": lambda: empyrical.annual_return(net, annualization=PERIODS),
        "volatility": lambda: empyrical.annual_volatility(net, annualization=PERIODS),
        "calmar": lambda: empyrical.calmar_ratio(net, annualization=PERIODS),
        "max_drawdown": lambda: empyrical.max_drawdown(net),
    }
    both: dict[str, Callable[[], object]] = {
        "alpha and beta": lambda: empyrical.alpha_beta_aligned(net, benchmark, annualization=PERIODS),
        "total_return": lambda: empyrical.cum_returns_final(net),
    }
    calls: dict[str, Callable[[], object]] = {
        "empyrical, six metrics": lambda: [peer() for peer in peers.values()],
        "empyrical, six, alpha, beta and total": lambda: [peer() for peer in (peers | both).values()],
        "return_metrics without a benchmark": lambda: return_metrics(net, times, PERIODS),
        "return_metrics, everything": lambda: return_metrics(net, times, PERIODS, benchmark, position, turnover),
        f"trade_metrics of {len(table):,} trades": lambda: trade_metrics(table),
    }
    spent = milliseconds(calls)
    rows = {name: {"ms": ms, "of empyrical's six": ms / spent["empyrical, six metrics"]} for name, ms in spent.items()}
    print(pd.DataFrame.from_dict(rows, orient="index").to_markdown(floatfmt=".2f"))
    ours = return_metrics(net, times, PERIODS)
    apart = max(abs(ours[name] / float(peer()) - 1) for name, peer in peers.items())  # type: ignore[arg-type]
    print(f"\n{bars:,} bars; the six metrics differ from empyrical's by at most {apart:.1e}, relative")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
