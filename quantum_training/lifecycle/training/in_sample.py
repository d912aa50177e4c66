"""What a version would have earned on the bars that it was fitted on: its metrics in sample.

They flatter the version. Beside its record out of sample they show how much of it was learnt by heart.
"""

from __future__ import annotations

import pandas as pd

from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.market.calendars import periods_per_year
from quantum_training.market.periods import month_of
from quantum_training.market.timeframe import known_at
from quantum_training.models.contract import Model
from quantum_training.monitoring.sharpe_interval import sharpe_of
from quantum_training.trading.desk_metrics import account_metrics, desk_metrics
from quantum_training.trading.episodes import Market

GROUP = "in_sample"


def in_sample_metrics(
    history: MarketHistory, model: Model, rows: pd.DataFrame, as_of: pd.Timestamp
) -> dict[str, float]:
    """The desk's metrics on the fitted bars of the symbol, as `in_sample/<name>`; undefined ones are left out.

    rows: what the model decides from, by open time. Bars before a gap are left out. Errors as in read_bars; ValueError
    if the account grows beyond what is a number.
    """
    market = history.market
    candles = known_at(history.candles(month_of(rows.index[0]), as_of), as_of, market.timeframe)
    rows = rows.loc[candles.index[0] :] if len(candles) else rows.iloc[:0]
    filled = candles.index.searchsorted(pd.DatetimeIndex(rows.index)) + 1  # decided at a close, filled at the next open
    has_next = filled < len(candles)
    if not has_next.any():
        return {}
    target = pd.Series(model.positions(rows).to_numpy()[has_next], candles.index[filled[has_next]])
    periods = periods_per_year(market.calendar, market.timeframe)
    traded = Market(candles.loc[target.index[0] : target.index[-1]], market.costs, market.account)
    values, net = account_metrics(traded, target, periods)
    interval = sharpe_of(net, periods)
    return desk_metrics({**values, "sharpe_low": interval.low, "sharpe_high": interval.high}, GROUP)
