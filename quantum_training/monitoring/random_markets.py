"""Random candles for the leakage tests: markets of which everything is known, and other futures behind a real past."""

from __future__ import annotations

import numpy as np
import pandas as pd

from quantum_training.market.schema import as_candles

JUMP = 4.0
"""Ratio of prices at the start of another future: above any barrier or cost, so that no label is the same by chance."""

VOLATILITY = 0.01
REGIME_BARS = 100
"""Mean length of a drift up or down: longer than the features' windows (60 bars) need to see it."""


def random_candles(times: pd.DatetimeIndex, price: float, seed: int, drift: float = 0.0) -> pd.DataFrame:
    """A candle frame at these open times that starts at `price`: log returns are independent normals of 1 % a bar.

    Without `drift` the past tells nothing about later bars. With it, the log price drifts by plus or minus `drift`
    standard deviations a bar and the sign changes after 100 bars on average, so that a model can learn the trends.
    """
    rng = np.random.default_rng(seed)
    bars = len(times)
    sign = np.where(np.cumsum(rng.random(bars) < 1 / REGIME_BARS) % 2 == 0, 1.0, -1.0)
    close = price * np.exp(np.cumsum(VOLATILITY * (rng.standard_normal(bars) + drift * sign)))
    open_ = np.concatenate([[price], close[:-1]])[:bars]
    wicks = np.exp(rng.exponential(VOLATILITY / 2, (2, bars)))
    prices = {
        "open": open_,
        "high": np.maximum(open_, close) * wicks[0],
        "low": np.minimum(open_, close) / wicks[1],
        "close": close,
    }
    return as_candles(pd.DataFrame({**prices, "volume": rng.lognormal(3.0, 0.5, bars)}, index=times))


def perturb_future(
    candles: pd.DataFrame, cut: pd.Timestamp, bars: int, spacing: pd.Timedelta, rising: bool
) -> pd.DataFrame:
    """The bars that open up to `cut`, followed by `bars` random ones, the first at `cut` + `spacing`.

    The random bars start at JUMP times the last close if `rising`, else at the last close divided by JUMP. So every
    outcome that reaches beyond the cut differs in sign between the two futures, and every later bar has another shape.
    ValueError if no bar opens at or before `cut`.
    """
    past = candles.loc[:cut]
    if past.empty:
        raise ValueError(f"no bar up to {cut} to put another future behind; pass candles that reach back further")
    times = pd.date_range(cut + spacing, periods=bars, freq=spacing)
    price = float(past["close"].iloc[-1]) * (JUMP if rising else 1 / JUMP)
    return pd.concat([past, random_candles(times, price, seed=int(rising))])
