"""The trades of simulated accounts, compiled: one pass over units, prices and costs. What a row means: trades.py."""

from __future__ import annotations

import numpy as np

from quantum_training.trading.compiled import compiled
from quantum_training.trading.kernel import commission

WHOLE = ("column", "entry_bar", "exit_bar", "open")
MONEY = ("gross", "cost", "entry_value", "exit_value", "equity_before", "worst", "best")
UNITS = ("side", "largest", "entry_units", "exit_units")
TRADE = np.dtype([(name, "i8") for name in WHOLE] + [(name, "f8") for name in (*MONEY, *UNITS)])


@compiled
def count(units, start_units):
    """Number of trades in (columns, bars) of units held."""
    total = 0
    for c in range(len(units)):
        before = start_units[c]
        total += before != 0
        for now in units[c]:
            total += now != 0 and before * now <= 0
            before = now
    return total


@compiled(inline="always")
def _enter(trade, column, bar, units, price, equity):
    trade.column, trade.entry_bar, trade.exit_bar, trade.open = column, bar, bar, 1
    trade.side, trade.largest, trade.entry_units, trade.exit_units = np.sign(units), abs(units), abs(units), 0.0
    trade.entry_value, trade.exit_value, trade.equity_before = abs(units) * price, 0.0, equity
    trade.gross, trade.cost, trade.worst, trade.best = 0.0, 0.0, price, price


@compiled(inline="always")
def _extend_range(trade, low, high):
    if trade.side > 0:
        trade.worst, trade.best = min(trade.worst, low), max(trade.best, high)
    else:
        trade.worst, trade.best = max(trade.worst, high), min(trade.best, low)


@compiled
def collect(
    opens, highs, lows, closes, extras, units, costs, equity, rules, start_units, start_cash, start_equity, trades
):
    """Fill `trades`, TRADE records, one per trade.

    Arrays are (columns, bars); those before `units`, and rules, may have one row.
    """
    n = -1
    for c in range(len(units)):
        k, rule, extra = c % len(opens), rules[c % len(rules)], extras[c % len(extras)]
        before, close, worth = start_units[c], 0.0, start_equity[c]
        if before != 0:
            close = (worth - start_cash[c]) / before
            n += 1
            _enter(trades[n], c, 0, before, close, worth)
        for t in range(units.shape[1]):
            now, price = units[c, t], opens[k, t]
            if before != 0 or now != 0:
                traded = now - before
                quantity = abs(traded)
                fill = price * (1 + np.sign(traded) * (rule.slippage + extra[t]))
                paid = quantity * abs(fill - price) + commission(quantity, fill, rule) if quantity > 0 else 0.0
                carried = costs[c, t] - paid
                if before != 0:
                    trade = trades[n]
                    trade.gross += before * (price - close)
                    _extend_range(trade, price, price)
                    if before * traded < 0:
                        left = min(quantity, abs(before))
                        part = paid * (left / quantity)
                        trade.exit_value += left * fill
                        trade.exit_units += left
                        trade.cost += part
                        paid -= part
                    if before * now <= 0:
                        trade.exit_bar, trade.open = t, 0
                if before * now <= 0 and now != 0:
                    n += 1
                    _enter(trades[n], c, t, now, fill, worth)
                elif before * traded > 0:
                    trades[n].entry_value += quantity * fill
                    trades[n].entry_units += quantity
                trade = trades[n]
                trade.cost += paid + carried
                if now != 0:
                    trade.largest = max(trade.largest, abs(now))
                    trade.gross += now * (closes[k, t] - price)
                    _extend_range(trade, lows[k, t], highs[k, t])
            before, worth, close = now, equity[c, t], closes[k, t]
        if before != 0:
            trades[n].exit_bar = units.shape[1]
            trades[n].exit_value += abs(before) * close
            trades[n].exit_units += abs(before)
