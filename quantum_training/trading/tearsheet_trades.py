"""The chart of the trades: the price, and one recipe's entries and exits on it.

Not here: the trades themselves (trades.py) and the other charts (tearsheet_charts.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from quantum_training.trading.evaluation import Evaluation
from quantum_training.trading.tearsheet_figure import (
    LOST,
    NEUTRAL,
    SHADE,
    WON,
    Chart,
    Trace,
    layout,
    milliseconds,
    mode,
    numbers,
)

PRICE_POINTS, TRADES = 700, 400
DIGITS = 7
LONG, SHORT = "#1f5fd0", "#a13d97"


def trades_chart(evaluation: Evaluation, recipes: Sequence[str]) -> Chart:
    """Close and range of the price, and the trades of each of `recipes`, one at a time."""
    bars = len(evaluation.candles)
    starts = np.unique(np.linspace(0, bars, min(bars, PRICE_POINTS), endpoint=False).astype(int))
    data, trade_counts = _price(evaluation.candles, starts), []
    for recipe in recipes:
        own = evaluation.trades[evaluation.trades["strategy"] == recipe]
        largest = own["net_return"].abs().sort_values(kind="stable").index[-TRADES:].sort_values()
        data += [trace | {"meta": recipe} for trace in _trades(own.loc[largest], evaluation.candles.index[-1])]
        trade_counts.append(f"{recipe} {len(largest):,} of {len(own):,}")
    note = "Entries and exits at their mean fill price, slippage included; lines join them, dotted where a trade lost."
    note += (
        f" Trades shown, those that moved the account most: {', '.join(trade_counts)}."
        if trade_counts
        else " No recipe traded."
    )
    if len(starts) < bars:
        note += f" The price: {bars:,} bars in {len(starts)} stretches."
    figure = layout("price") | {"hovermode": "closest"}
    times = milliseconds(pd.DatetimeIndex(evaluation.candles.index[starts]))
    return Chart("trades", "Trades on the price", note, data, figure, times, recipes)


def _price(candles: pd.DataFrame, starts: np.ndarray) -> list[Trace]:
    """Lowest, highest and last price of each stretch of bars."""
    low = np.minimum.reduceat(candles["low"].to_numpy("float64"), starts)
    high = np.maximum.reduceat(candles["high"].to_numpy("float64"), starts)
    close = candles["close"].to_numpy("float64")[np.append(starts[1:], len(candles)) - 1]
    trace = {"type": "scatter", "mode": mode(len(starts)), "hoverinfo": "skip"}
    edge = trace | {"mode": "lines", "line": {"width": 0}}
    return [
        edge | {"y": numbers(low, DIGITS), "showlegend": False},
        edge | {"y": numbers(high, DIGITS), "fill": "tonexty", "fillcolor": SHADE, "name": "low to high"},
        trace | {"y": numbers(close, DIGITS), "line": {"width": 1.2, "color": NEUTRAL}, "name": "close"},
    ]


def _trades(trades: pd.DataFrame, last: pd.Timestamp) -> list[Trace]:
    """Markers at entry and exit, and a line between them; an open trade leads to the last bar."""
    entry = np.array(milliseconds(pd.DatetimeIndex(trades["entry_time"])), "int64")
    leave = np.array(milliseconds(pd.DatetimeIndex(trades["exit_time"].fillna(last))), "int64")
    bought, sold = trades["entry_price"].to_numpy("float64"), trades["exit_price"].to_numpy("float64")
    is_long, won = (trades["side"] > 0).to_numpy(), (trades["net_pnl"] > 0).to_numpy()
    words = np.array([_words(trade) for trade in trades.itertuples()], object)
    traces: list[Trace] = []
    for rows, colour, dash in ((won, WON, "solid"), (~won, LOST, "dot")):
        traces.append(
            {
                "x": _joined(entry[rows].tolist(), leave[rows].tolist()),
                "y": _joined(_fill(bought[rows]), _fill(sold[rows])),
                "mode": "lines",
                "line": {"color": colour, "dash": dash, "width": 1.2},
                "showlegend": False,
                "hoverinfo": "skip",
            }
        )
    for rows, times, prices, name, symbol, colour in (
        (is_long, entry, bought, "long entry", "triangle-up", LONG),
        (~is_long, entry, bought, "short entry", "triangle-down", SHORT),
        (won, leave, sold, "exit, won", "circle", WON),
        (~won, leave, sold, "exit, lost", "x", LOST),
    ):
        traces.append(
            {
                "x": times[rows].tolist(),
                "y": _fill(prices[rows]),
                "mode": "markers",
                "marker": {"symbol": symbol, "size": 7, "color": colour},
                "name": name,
                "text": words[rows].tolist(),
                "hovertemplate": "%{y:,} on %{x}<br>%{text}",
            }
        )
    return [{"type": "scatter"} | trace for trace in traces if trace["x"]]


def _joined(starts: list[Any], ends: list[Any]) -> list[Any]:
    """Start, end, gap, start, end, gap ..."""
    return [value for start, end in zip(starts, ends, strict=True) for value in (start, end, None)]


def _fill(prices: np.ndarray) -> list[float | None]:
    return numbers(prices, DIGITS)


def _words(trade: Any) -> str:
    state = " (open, marked)" if trade.open else ""
    return (
        f"{'long' if trade.side > 0 else 'short'} {trade.size:.6g} for {trade.bars} bars{state}"
        f"<br>net {trade.net_return:+.2%}, worst {trade.mae:+.2%}, best {trade.mfe:+.2%}"
    )
