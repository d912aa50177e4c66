"""The metrics by which a trading desk compares strategies, by their usual names: those that MLflow shows.

What they are made of is metrics.py, trade_metrics.py and uncertainty.py; a whole walk-forward record is evaluation.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from quantum_training.trading.baselines import BUY_AND_HOLD
from quantum_training.trading.episodes import Market
from quantum_training.trading.metrics import return_metrics
from quantum_training.trading.simulator import simulate
from quantum_training.trading.trade_metrics import trade_metrics
from quantum_training.trading.trades import trades

DESK_METRICS = {
    "bars": "bars",
    "sharpe": "sharpe_ratio",
    "sharpe_low": "sharpe_ratio_lower",
    "sharpe_high": "sharpe_ratio_upper",
    "sortino": "sortino_ratio",
    "max_drawdown": "max_drawdown",
    "total_return": "total_return",
    "win_rate": "win_rate",
    "profit_factor": "profit_factor",
    "turnover": "turnover",
    "alpha": "alpha",
}
"""The usual name of each of our metrics. Bounds are of the 95 % interval, alpha is against Buy & Hold."""

_STRATEGY = "strategy"


def desk_metrics(values: Mapping[str, Any], group: str) -> dict[str, float]:
    """The metrics as `group/<usual name>`; those that are undefined are left out. values: by our names."""
    return {f"{group}/{name}": float(v) for key, name in DESK_METRICS.items() if (v := values.get(key)) is not None}


def account_metrics(market: Market, target: pd.Series, periods: float) -> tuple[dict[str, Any], pd.Series]:
    """The metrics of one account that trades these targets, without bounds, and its net returns.

    market: the bars, costs and account. target: by the bar that fills it; NaN counts as flat. periods: bars in a year.
    ValueError if the account grows beyond what is a number.
    """
    targets = pd.DataFrame({_STRATEGY: target.reindex(market.candles.index).fillna(0.0), BUY_AND_HOLD: 1.0})
    account = simulate(market.candles, targets, market.costs, market.account)
    net = account.net_return
    values = return_metrics(
        np.ascontiguousarray(net[:, 0]),
        account.index,
        periods,
        benchmark=np.ascontiguousarray(net[:, 1]),
        position=account.position[:, 0],
        turnover=account.turnover[:, 0],
    )
    table = trades(account)
    values |= trade_metrics(table[table["strategy"] == _STRATEGY])
    return values, pd.Series(net[:, 0], account.index)
