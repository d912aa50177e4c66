"""The accounting of one strategy on one symbol: fills at the open, proportional costs, cash and units, equity.

Every return that is reported or decided with comes from here. Costs are defined in costs.py.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

COLUMNS = ("target", "fill_price", "position", "cost", "gross_return", "net_return")


def simulate(
    candles: pd.DataFrame, target: pd.Series, rate: float, held: float = 0.0, entry: float | None = None
) -> pd.DataFrame:
    """Trade `target` over `candles` and account for every bar.

    candles: open and close per bar, positive. target: share of equity in [0, 1] that each bar of the same index
    fills at its OPEN (so it was decided at the close before). Units are held until the target changes. rate: cost as
    a fraction of the traded value. held: share of equity already invested at the close before the first bar, whose
    price is `entry`; equity is 1 there.

    Returns one row per bar: target; fill_price (NaN without a fill); position, the invested share of equity at the
    close; cost, gross_return and net_return as fractions of the equity at the close before, where
    net_return = gross_return - cost up to rounding and the product of (1 + net_return) is the equity.

    An order pays its own cost, so that position value / equity equals the target right after the fill and cash is
    never negative. ValueError names the bar of a price that is not positive or a target outside [0, 1].
    """
    prices = candles[["open", "close"]].to_numpy("float64")
    wanted = target.to_numpy("float64")
    if not target.index.equals(candles.index):
        raise ValueError(f"{len(wanted)} targets do not belong to the {len(prices)} bars; give one target per bar")
    _require(
        (prices > 0).all(axis=1) & np.isfinite(prices).all(axis=1), candles.index, "price is not positive and finite"
    )
    _require((wanted >= 0) & (wanted <= 1), candles.index, "target is outside [0, 1]")
    if held and not (0 <= held <= 1 and entry and entry > 0):
        raise ValueError(
            f"a position held at the start is a share in [0, 1] with a positive `entry`, not {held} at {entry}"
        )

    rows = np.empty((len(prices), len(COLUMNS)))
    units, cash, current, equity = (held / entry if entry else 0.0), 1.0 - held, held, 1.0
    for t, ((open_, close), goal) in enumerate(zip(prices, wanted, strict=True)):
        cost, fill = 0.0, np.nan
        if goal != current:
            traded = goal * (cash + units * open_) - units * open_
            traded /= 1 + rate * goal if traded > 0 else 1 - rate * goal
            cost, fill = abs(traded) * rate, open_
            cash -= traded + cost
            units = units + traded / open_ if goal else 0.0
            current = goal
        value = cash + units * close
        rows[t] = goal, fill, units * close / value, cost / equity, (value + cost) / equity - 1, value / equity - 1
        equity = value
    return pd.DataFrame(rows, candles.index, list(COLUMNS))


def _require(good: np.ndarray, index: pd.Index, rule: str) -> None:
    if not good.all():
        raise ValueError(f"bar {index[int(np.argmin(good))]}: {rule}")
