"""Annualised Sharpe ratios of net returns with their 95 % interval, as the decay report shows them."""

from __future__ import annotations

import math

import pandas as pd
from pydantic import BaseModel, ConfigDict

from quantum_training.trading.metrics import Reason, sharpe
from quantum_training.trading.uncertainty import MIN_BARS, standard_error

Z_95 = 1.96
"""Standard errors on either side of a 95 % interval."""


class SharpeOf(BaseModel):
    """An annualised Sharpe ratio over so many bars on so many UTC days; `undefined` says why there is none.

    low, high: 95 % interval by the standard error of Mertens (2002), from 20 bars on.
    """

    model_config = ConfigDict(frozen=True)

    bars: int
    days: int
    sharpe: float | None
    low: float | None
    high: float | None
    undefined: Reason | None


def sharpe_of(net: pd.Series, periods: float) -> SharpeOf:
    """The Sharpe ratio of net returns by open time; periods: bars in a year."""
    from scipy.stats import kurtosis, skew

    values = net.to_numpy()
    ratio, undefined = sharpe(values, periods)
    low = high = None
    if ratio is not None and len(values) >= MIN_BARS:
        per_bar = ratio / math.sqrt(periods)
        shape = float(skew(values)), float(kurtosis(values, fisher=False))
        error = Z_95 * math.sqrt(periods) * standard_error(per_bar, len(values), *shape)
        low, high = ratio - error, ratio + error
    days = pd.DatetimeIndex(net.index).floor("D").nunique()
    return SharpeOf(bars=len(values), days=days, sharpe=ratio, low=low, high=high, undefined=undefined)


def daily_returns(net: pd.Series) -> pd.Series:
    """Net returns per bar summed by UTC day, as the promotion rules sum them."""
    return net.groupby(pd.DatetimeIndex(net.index).floor("D")).sum()
