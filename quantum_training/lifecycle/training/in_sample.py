"""What a version would have earned on the bars that it was fitted on: its metrics in sample.

They flatter the version. Beside its record out of sample they show how much of it was learnt by heart.
"""

from __future__ import annotations

import pandas as pd

from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.market.calendars import periods_per_year
from quantum_training.models.contract import Model
from quantum_training.monitoring.sharpe_interval import sharpe_of
from quantum_training.trading.desk_metrics import account_metrics, desk_metrics
from quantum_training.trading.episodes import Market
from quantum_training.trading.scoring import Version, decisions

GROUP = "in_sample"


def in_sample_metrics(
    history: MarketHistory, model: Model, fitted: pd.DatetimeIndex, as_of: pd.Timestamp
) -> dict[str, float]:
    """The desk's metrics on the fitted bars of the symbol, as `in_sample/<name>`; undefined ones are left out.

    fitted: their open times. Bars before a gap are left out. Errors as in read_bars; ValueError if the account grows
    beyond what is a number.
    """
    market = history.market
    first = history.first_month(fitted[0], model.lookback_bars + 2)
    candles, features = history.known_bars(first, as_of)
    if len(candles) < 2:
        return {}
    start = max(fitted[0], candles.index[1])
    position = decisions(candles, features, [Version(candles.index[0], "")], start, lambda _: model).position
    periods = periods_per_year(market.calendar, market.timeframe)
    traded = Market(candles.loc[start:], market.costs, market.account)
    values, net = account_metrics(traded, position, periods)
    interval = sharpe_of(net, periods)
    return desk_metrics({**values, "sharpe_low": interval.low, "sharpe_high": interval.high}, GROUP)
