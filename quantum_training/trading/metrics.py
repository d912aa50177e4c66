"""Numbers of a return series: growth, risk, drawdowns, comparison with a benchmark. No inf or NaN leaves this module.

Not here: numbers of trades (trade_metrics.py) and how sure a number is (uncertainty.py, overfitting.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd

Reason = Literal[
    "too_few_bars",
    "no_variance",
    "no_loss",
    "no_drawdown",
    "no_benchmark",
    "no_position",
    "no_turnover",
    "overflow",
    "no_trades",
    "no_win_or_loss",
    "no_win",
    "not_a_recipe",
    "nothing_to_compare",
    "too_few_strategies",
    "sharpe_not_above_benchmark",
    "loses_without_fee",
    "survives_largest_fee",
]
Number = tuple[float | None, Reason | None]

NOISE = 1e-12  # equity is of the order of 1 with 16 digits: what is smaller than this is rounding, not risk
LARGEST = 1e100  # its square and a sum of squares are still finite


def return_metrics(
    net: np.ndarray,
    times: pd.DatetimeIndex,
    periods: float,
    benchmark: np.ndarray | None = None,
    position: np.ndarray | None = None,
    turnover: np.ndarray | None = None,
) -> dict[str, Any]:
    """All numbers of one account that need no trades table. Arrays are (bars,) and belong to the same bars.

    net: net simple returns, flat bars included. times: open times of the bars. periods: bars in a year, from the
    symbol's calendar. benchmark: net returns of Buy & Hold at the same costs. position: invested share of equity at
    each close, negative for a short. turnover: traded value as a fraction of the equity before.

    Equity starts at 1 before the first bar. Once it is 0 or below (below: money is owed), it stays there. Keys:
    bars; total_return: final equity - 1, of a ruined account up to the bar of its ruin.
    cagr: equity^(periods / bars) - 1, and -1 for a lost account.
    volatility, sharpe, sortino: annualised with sqrt(periods); std with ddof=1, Sortino's downside against 0 over all
    bars; no risk-free rate. calmar: cagr / |max_drawdown|.
    max_drawdown, average_drawdown: deepest and mean depth of the falls below the running peak, <= 0.
    max_drawdown_bars, average_drawdown_bars: bars whose close is below the peak, of the longest fall and on average;
    max_drawdown_days: calendar days of the longest, from the open of its first such bar to the open of the bar that
    is back at the peak, or to the end of the data.
    exposure: share of bars that close with a position. turnover: per year, bought and sold both counted.
    beta, alpha: regression of net on benchmark; alpha is arithmetic, intercept * periods.
    excess_return: total_return less the benchmark's.
    reasons: the Reason of each key that is None.

    Equal to empyrical-reloaded except for: alpha, which it compounds, (1 + intercept)^periods - 1; undefined values,
    which are inf or NaN there, or huge if returns hardly vary; the bars after the loss of the account.

    ValueError if a value is not finite, lengths differ, times do not increase or equity grows beyond 1e100.
    """
    net, periods = finite(net, "net return"), _positive(periods)
    _belong(net, times, benchmark=benchmark, position=position, turnover=turnover)
    bars, equity = len(net), _equity(net, "net return")
    total = float(equity[-1]) - 1
    drawdown = _drawdown(equity)
    cagr = _cagr(float(equity[-1]), bars, periods)
    numbers: dict[str, Number] = {
        "total_return": (total, None),
        "cagr": cagr,
        "volatility": _volatility(net, periods),
        "sharpe": sharpe(net, periods),
        "sortino": _sortino(net, periods),
        "calmar": _calmar(cagr, float(drawdown.min())),
        "max_drawdown": (float(drawdown.min()), None),
        **_falls(drawdown[1:], times),
        "exposure": _mean(None if position is None else finite(position, "position") != 0, "no_position"),
        "turnover": _mean(None if turnover is None else finite(turnover, "turnover") * periods, "no_turnover"),
        **_against(net, total, benchmark, periods),
    }
    return {"bars": bars, **with_reasons(numbers)}


def sharpe(net: np.ndarray, periods: float) -> Number:
    """Annualised Sharpe ratio, mean / std(ddof=1) * sqrt(periods), or None and why: too_few_bars, no_variance.

    net: net simple returns per bar. periods: bars in a year. ValueError if either is not finite.
    """
    net, periods = finite(net, "net return"), _positive(periods)
    if len(net) < 2:
        return None, "too_few_bars"
    spread = float(np.std(net, ddof=1))
    if spread <= NOISE * max(1.0, float(np.abs(net).max())):
        return None, "no_variance"
    return float(np.mean(net)) / spread * math.sqrt(periods), None


def max_drawdown(net: np.ndarray) -> float:
    """Deepest fall of equity below its running peak as a fraction of the peak, <= 0; below -1 if money is owed.

    net: net simple returns per bar; equity starts at 1 before the first. ValueError as for return_metrics.
    """
    return float(_drawdown(_equity(finite(net, "net return"), "net return")).min())


def finite(values: Any, what: str) -> np.ndarray:
    """`values` as float64, or ValueError with the place of the first that is NaN, infinite or beyond 1e100."""
    array = np.asarray(values, "float64")
    good = np.abs(array) < LARGEST
    if not good.all():
        at = int(np.argmin(good))
        raise ValueError(
            f"{what} {at} of {len(array)} is {array[at]}, not finite and below {LARGEST:g}; mend what it is made from"
        )
    return array


def with_reasons(numbers: Mapping[str, Number]) -> dict[str, Any]:
    """The values by key, and under `reasons` the reason of each that is None."""
    reasons = {key: reason for key, (_, reason) in numbers.items() if reason is not None}
    return {key: value for key, (value, _) in numbers.items()} | {"reasons": reasons}


def _belong(net: np.ndarray, times: pd.DatetimeIndex, **others: np.ndarray | None) -> None:
    lengths = {"times": len(times)} | {name: len(values) for name, values in others.items() if values is not None}
    for name, length in lengths.items():
        if length != len(net):
            raise ValueError(f"{length} values of {name} for {len(net)} net returns; give one per bar")
    if not times.is_monotonic_increasing or not times.is_unique:
        raise ValueError("times do not increase from bar to bar; sort the bars and drop repeated ones")


def _positive(periods: float) -> float:
    if not 0 < periods < LARGEST:
        raise ValueError(f"periods is {periods}; give the number of bars in a year, above 0")
    return periods


def _equity(net: np.ndarray, what: str) -> np.ndarray:
    """Equity at the start, 1, and at each close, (bars + 1,); what is lost stays lost."""
    with np.errstate(over="ignore", invalid="ignore"):
        equity = np.cumprod(np.concatenate([[1.0], 1 + net]))
    if not (is_positive := equity > 0).all():
        lost = int(np.argmin(is_positive))
        equity[lost:] = equity[lost]
    if not (is_in_range := equity <= LARGEST).all():
        raise ValueError(
            f"{what} {int(np.argmin(is_in_range)) - 1} of {len(net)} takes equity beyond {LARGEST:g}; give simple "
            "returns as fractions, not percentages or prices"
        )
    return equity


def _drawdown(equity: np.ndarray) -> np.ndarray:
    return equity / np.maximum.accumulate(equity) - 1


def _cagr(final: float, bars: int, periods: float) -> Number:
    if bars == 0:
        return None, "too_few_bars"
    if final <= 0:
        return -1.0, None
    power = math.log(final) * periods / bars
    return (None, "overflow") if power > math.log(LARGEST) else (math.expm1(power), None)


def _volatility(net: np.ndarray, periods: float) -> Number:
    if len(net) < 2:
        return None, "too_few_bars"
    return float(np.std(net, ddof=1)) * math.sqrt(periods), None


def _sortino(net: np.ndarray, periods: float) -> Number:
    if len(net) < 2:
        return None, "too_few_bars"
    loss = np.minimum(net, 0)
    downside = math.sqrt(float(np.mean(loss * loss)))
    if downside <= NOISE:
        return None, "no_loss"
    return float(np.mean(net)) / downside * math.sqrt(periods), None


def _calmar(cagr: Number, deepest: float) -> Number:
    if cagr[0] is None:
        return cagr
    return (cagr[0] / -deepest, None) if deepest < -NOISE else (None, "no_drawdown")


def _falls(drawdown: np.ndarray, times: pd.DatetimeIndex) -> dict[str, Number]:
    """Depth and length of the runs of bars below the running peak."""
    below = np.concatenate([[False], drawdown < -NOISE, [False]])
    edges = np.flatnonzero(below[1:] != below[:-1])
    first, after = edges[::2], edges[1::2]
    if not len(first):
        return {
            "average_drawdown": (None, "no_drawdown"),
            "max_drawdown_bars": (0, None),
            "max_drawdown_days": (0.0, None),
            "average_drawdown_bars": (None, "no_drawdown"),
        }
    days: Number = None, "too_few_bars"
    if len(times) > 1:
        opens, day = times.asi8, pd.Timedelta(days=1) / pd.Timedelta(1, times.unit)  # as_unit("ns") takes 2 ms
        opens = np.append(opens, opens[-1] + int(np.median(np.diff(opens))))
        days = float((opens[after] - opens[first]).max()) / day, None
    return {
        "average_drawdown": (float(np.minimum.reduceat(drawdown, first).mean()), None),
        "max_drawdown_bars": (int((after - first).max()), None),
        "max_drawdown_days": days,
        "average_drawdown_bars": (float((after - first).mean()), None),
    }


def _mean(values: np.ndarray | None, absent: Reason) -> Number:
    if values is None:
        return None, absent
    return (float(values.mean()), None) if len(values) else (None, "too_few_bars")


def _against(net: np.ndarray, total: float, benchmark: np.ndarray | None, periods: float) -> dict[str, Number]:
    if benchmark is None:
        return dict.fromkeys(("alpha", "beta", "excess_return"), (None, "no_benchmark"))
    other = finite(benchmark, "benchmark return")
    excess: Number = total - (float(_equity(other, "benchmark return")[-1]) - 1), None
    _, undefined = sharpe(other, 1.0)
    if undefined is not None:
        return {"alpha": (None, undefined), "beta": (None, undefined), "excess_return": excess}
    mean = other.mean()
    around = other - mean
    beta = float((around * net).sum() / (around * around).sum())  # no BLAS: its bits depend on the number of threads
    alpha = float(net.mean() - beta * mean) * periods
    return {"alpha": (alpha, None), "beta": (beta, None), "excess_return": excess}
