"""The one accounting: what trading a series of targets over candles would have done to an account.

Every return that is reported, trained on or decided with comes from here. The arithmetic is kernel.py; what trading
costs and what an account may do are costs.py and account.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.liquidity import extra_slippage

PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Simulation:
    """Accounts over the same bars. Arrays are float64 of shape (bars, columns); `prices` holds them by PRICES' names.

    extra: slippage of each bar's fill beside the rule's, NaN if nobody traded in the bar; one column, or all.
    target: as given. units: held from the bar's fill on. cash, equity = cash + units * close: at the bar's close, in
    money. cost: all that was paid in the bar, fills and carry. start_*: the account before the first bar, (columns,);
    its equity is the capital.
    """

    index: pd.DatetimeIndex
    columns: pd.Index
    prices: dict[str, np.ndarray]
    extra: np.ndarray
    rules: np.ndarray
    target: np.ndarray
    units: np.ndarray
    cash: np.ndarray
    equity: np.ndarray
    cost: np.ndarray
    start_units: np.ndarray
    start_cash: np.ndarray
    start_equity: np.ndarray

    @cached_property
    def equity_before(self) -> np.ndarray:
        """Equity at the close before each bar."""
        return np.vstack([self.start_equity, self.equity[:-1]])

    @cached_property
    def traded(self) -> np.ndarray:
        """Units bought (positive) or sold at each bar's open."""
        return np.diff(self.units, axis=0, prepend=self.start_units[None])

    @property
    def position(self) -> np.ndarray:
        """Share of equity invested at each close, negative for a short; 0 where the equity is not positive."""
        return self._share(self.units * self.prices["close"], self.equity)

    @property
    def net_return(self) -> np.ndarray:
        """Change of equity in each bar as a fraction of the equity before; 0 once that is not positive."""
        return self._share(self.equity - self.equity_before, self.equity_before)

    @property
    def cost_return(self) -> np.ndarray:
        """Cost of each bar as a fraction of the equity before. The gross return is net_return + cost_return."""
        return self._share(self.cost, self.equity_before)

    @property
    def turnover(self) -> np.ndarray:
        """Value traded at each open as a fraction of the equity before."""
        return self._share(np.abs(self.traded) * self.prices["open"], self.equity_before)

    @property
    def fill_price(self) -> np.ndarray:
        """Price of each bar's fill, slippage included; NaN without one."""
        slipped = self.prices["open"] * (1 + np.sign(self.traded) * (self.rules["slippage"][None] + self.extra))
        return np.where(self.traded != 0, slipped, np.nan)

    @cached_property
    def closed_equity(self) -> np.ndarray:
        """Final equity, (columns,), with open positions closed at the last close at their cost; `equity` marks them."""
        from quantum_training.trading.kernel import order

        columns = self.cash.shape[1]
        close, rules = (np.broadcast_to(a, columns) for a in (self.prices["close"][-1], self.rules))
        closed = [order(self.cash[-1, c], self.units[-1, c], close[c], 0.0, rules[c], 0.0) for c in range(columns)]
        return np.array([cash for cash, _, _ in closed])

    def frame(self, column: object) -> pd.DataFrame:
        """One account per bar: target, fill_price, position, turnover, cost, gross_return, net_return (fractions)."""
        at = self.columns.get_loc(column)
        net, cost = self.net_return[:, at], self.cost_return[:, at]
        values = {
            "target": self.target[:, at],
            "fill_price": self.fill_price[:, at],
            "position": self.position[:, at],
            "turnover": self.turnover[:, at],
            "cost": cost,
            "gross_return": net + cost,
            "net_return": net,
        }
        return pd.DataFrame(values, self.index)

    @staticmethod
    def _share(part: np.ndarray, total: np.ndarray) -> np.ndarray:
        share: np.ndarray = np.divide(part, total, out=np.zeros_like(part), where=total > 0)
        return share


def simulate(
    candles: pd.DataFrame | Sequence[pd.DataFrame],
    target: pd.Series | pd.DataFrame,
    costs: Costs | Sequence[Costs] = Costs(),  # noqa: B008 - frozen
    account: Account = Account(),  # noqa: B008 - frozen
    start_position: Sequence[float] | np.ndarray | float = 0.0,
    entry: float | Sequence[float] | None = None,
) -> Simulation:
    """Trade each column of `target` over `candles`, one account per column.

    candles: open, high, low, close per bar by open_time, positive and finite, and perhaps what liquidity.untraded_bars
    reads; or one such frame per column, all over the same bars (several symbols). costs: for all columns, or one each.
    target: share of equity that each bar fills at its OPEN (so it was decided at the close of the bar before), in
    [0, max_leverage], or [-max_leverage, max_leverage] if the account may short. A new target is traded once and
    the units are held until it changes again.
    start_position: share of the capital already invested at the close before the first bar, whose price is `entry`,
    both for all columns or per column; it counts as the target in force.

    In a bar in which nobody traded nothing is filled, unless the costs say otherwise: the order waits, and the next bar
    with trades fills its own target.
    An order that adds to the position is cut to the most that can be paid: after it the position is worth no more than
    max_leverage times the equity left after costs. So an unlevered long-only account never owes money, unless funding
    takes the cash; a price move, or the cost of reducing, may leave a levered or short account with more than its
    limit. An account whose equity is not positive at an open or a close is ruined: it goes flat at that or the next
    open and trades no more.

    ValueError names the bar and the rule of a bad price or target.
    """
    from quantum_training.trading import kernel

    frames = [candles] if isinstance(candles, pd.DataFrame) else list(candles)
    targets = target.to_frame() if isinstance(target, pd.Series) else target
    index, count = pd.DatetimeIndex(frames[0].index), targets.shape[1]
    each = [costs] if isinstance(costs, Costs) else list(costs)
    _same_shape(frames, each, targets, count)
    prices = {name: _rows([f[name].to_numpy("float64") for f in frames]) for name in PRICES}
    goals = np.ascontiguousarray(targets.to_numpy("float64").T)
    for name, values in prices.items():
        if not kernel.all_within(values, np.nextafter(0.0, 1.0), np.finfo("float64").max):
            row, bar = np.argwhere(~((values > 0) & np.isfinite(values)))[0]
            raise ValueError(f"bar {index[bar]}: {name} is {values[row, bar]}, not positive and finite")
    low, high = (-account.max_leverage if account.allow_short else 0.0), account.max_leverage
    if not kernel.all_within(goals, low, high):
        row, bar = np.argwhere(~((goals >= low) & (goals <= high)))[0]
        raise ValueError(
            f"bar {index[bar]}, {targets.columns[row]}: target {goals[row, bar]} is outside [{low:g}, {high:g}]; "
            "see allow_short and max_leverage of the account"
        )
    rules = rule_rows(each, account)
    shares = np.broadcast_to(np.asarray(start_position, "float64"), count)
    start_units = _start_units(shares, entry, low, account)
    start_cash = account.capital - start_units * (0.0 if entry is None else np.asarray(entry, "float64"))
    units, cash, equity, cost = (np.empty_like(goals) for _ in range(4))
    start = start_units, start_cash, np.array(shares)
    extra = _extra_rows(frames, each)
    kernel.run(prices["open"], prices["close"], extra, goals, rules, *start, units, cash, equity, cost)
    return Simulation(
        index,
        targets.columns,
        {name: values.T for name, values in prices.items()},
        extra.T,
        rules,
        goals.T,
        units.T,
        cash.T,
        equity.T,
        cost.T,
        start_units,
        start_cash,
        np.full(count, account.capital),
    )


def _rows(series: list[np.ndarray]) -> np.ndarray:
    return np.ascontiguousarray(series[0][None] if len(series) == 1 else np.stack(series))


def _extra_rows(frames: list[pd.DataFrame], costs: list[Costs]) -> np.ndarray:
    """liquidity.extra_slippage of every column, (columns, bars); one row if it is the same for all."""
    if len(frames) == 1 and len({c.untraded_slippage_bps for c in costs}) <= 1:
        return extra_slippage(frames[0], costs[0] if costs else Costs())[None]
    columns = max(len(frames), len(costs))
    return np.stack([extra_slippage(frames[c % len(frames)], costs[c % len(costs)]) for c in range(columns)])


def _same_shape(frames: list[pd.DataFrame], costs: list[Costs], target: pd.DataFrame, count: int) -> None:
    for what, number in (("candle frames", len(frames)), ("costs", len(costs))):
        if number not in (1, count):
            raise ValueError(f"{number} {what} for {count} columns of targets; give one, or one per column")
    for frame in frames:
        if not frame.index.equals(target.index):
            raise ValueError(
                f"{len(target)} targets do not belong to the {len(frame)} bars; give one target per bar of the candles"
            )


def rule_rows(costs: Sequence[Costs], account: Account) -> np.ndarray:
    from quantum_training.trading.kernel import RULES

    return np.array(
        [
            (
                c.fee_bps / 1e4,
                c.slippage_bps / 1e4,
                c.per_share,
                c.minimum,
                c.cap,
                c.borrow_bps / 1e4,
                c.funding_bps / 1e4,
                account.max_leverage,
                account.no_trade_band,
                account.whole_units,
            )
            for c in costs
        ],
        RULES,
    )


def _start_units(shares: np.ndarray, entry: float | Sequence[float] | None, low: float, account: Account) -> np.ndarray:
    if entry is None and not shares.any():
        return np.zeros(len(shares))
    prices = np.asarray(np.nan if entry is None else entry, "float64")
    allowed = (shares >= low) & (shares <= account.max_leverage) & (prices > 0) & np.isfinite(prices)
    if not allowed.all():
        raise ValueError(
            f"a position held at the start is a share in [{low:g}, {account.max_leverage:g}] with a positive `entry`, "
            f"not {shares.tolist()} at {entry}"
        )
    units: np.ndarray = shares * account.capital / prices
    return np.trunc(units) if account.whole_units else units
