"""The trades of simulated accounts: one row from flat to flat, or to the other side. Metrics: trade_metrics.py."""

from __future__ import annotations

import numpy as np
import pandas as pd

from quantum_training.trading.simulator import Simulation


def trades(simulation: Simulation) -> pd.DataFrame:
    """One row per trade, by column and then in time. Money is that of the account, prices that of one unit.

    strategy, side: the column; 1 for long, -1 for short.
    entry_time, exit_time: open of the bar of the first and the last fill; exit_time is NaT while the trade is open.
    entry_price, exit_price: mean fill price of the units that built it and that left it, slippage included. A position
    that is still open counts as closed at the last close, at which it is marked, without a cost.
    size, bars: largest number of units; bars from entry to exit, an open trade's to the end of the data.
    gross_pnl, cost, net_pnl: price move before any cost; fills and carry; their difference. Over a run that starts
    flat, net_pnl adds up to final equity - capital.
    net_return: net_pnl / equity at the close before the entry.
    mae, mfe: worst (<= 0) and best (>= 0) price while held against entry_price, in the trade's favour, fractions.
    open: still held at the end.
    A flip ends one trade and begins the next: its cost is split by units, the bar's carry is the new trade's.
    """
    from quantum_training.trading import trade_kernel

    prices = {name: np.ascontiguousarray(values.T) for name, values in simulation.prices.items()}
    units = np.ascontiguousarray(simulation.units.T)
    rows = np.empty(trade_kernel.count(units, simulation.start_units), trade_kernel.TRADE)
    trade_kernel.collect(
        prices["open"],
        prices["high"],
        prices["low"],
        prices["close"],
        np.ascontiguousarray(simulation.extra.T),
        units,
        np.ascontiguousarray(simulation.cost.T),
        np.ascontiguousarray(simulation.equity.T),
        simulation.rules,
        simulation.start_units,
        simulation.start_cash,
        simulation.start_equity,
        rows,
    )
    table = pd.DataFrame(rows)
    entry_bar, exit_bar = rows["entry_bar"], rows["exit_bar"]
    index, is_open = simulation.index, table["open"] == 1
    exit_time = index.take(exit_bar.clip(max=len(index) - 1)).to_series(table.index).mask(is_open)
    entry_price = table["entry_value"] / table["entry_units"]
    against, favour = (table["side"] * (table[name] / entry_price - 1) for name in ("worst", "best"))
    return pd.DataFrame(
        {
            "strategy": simulation.columns.take(rows["column"]),
            "side": table["side"].astype("int64"),
            "entry_time": index.take(entry_bar),
            "entry_price": entry_price,
            "exit_time": exit_time,
            "exit_price": table["exit_value"] / table["exit_units"],
            "size": table["largest"],
            "bars": exit_bar - entry_bar,
            "gross_pnl": table["gross"],
            "cost": table["cost"],
            "net_pnl": table["gross"] - table["cost"],
            "net_return": (table["gross"] - table["cost"]) / table["equity_before"],
            "mae": against.clip(upper=0),
            "mfe": favour.clip(lower=0),
            "open": is_open,
        }
    )
