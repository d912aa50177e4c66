"""Labels of one's own for tests, in one module: `outcome` takes the name of a function below."""

import numpy as np
import pandas as pd


def outcome(candles: pd.DataFrame, cost: np.ndarray, horizon: int, function: str) -> pd.Series:
    """The label of a function of this module."""
    return globals()[function](candles, cost, horizon)


def forward(candles, cost, horizon):
    """What forward_return is, without its NaN at the end."""
    entry, exit_price = candles["open"].shift(-1), candles["open"].shift(-1 - horizon)
    return (exit_price / entry - 1 > cost).astype("float64")


def after_two_down_bars(candles, cost, horizon):
    """No answer elsewhere."""
    down = candles["close"].diff() < 0
    return forward(candles, cost, horizon).where(down & down.shift(1, fill_value=False))


def too_far(candles, cost, horizon):
    return forward(candles, cost, horizon + 1)


def above_usual(candles, cost, horizon):
    """A gain above the volatility of fifty bars; False where that is not known."""
    usual = candles["close"].pct_change().rolling(50).std()
    gain = candles["open"].shift(-1 - horizon) / candles["open"].shift(-1) - 1
    return (gain > usual).astype("float64")


def words(candles, cost, horizon):
    return pd.Series("up", candles.index)


def random(candles, cost, horizon):
    return pd.Series(np.random.default_rng().integers(0, 2, len(candles)).astype(float), candles.index)


def returns(candles, cost, horizon):
    return candles["close"].pct_change().fillna(0.0)


def an_array(candles, cost, horizon):
    return np.ones(len(candles))


def short(candles, cost, horizon):
    return pd.Series(1.0, candles.index[1:])


def failing(candles, cost, horizon):
    raise RuntimeError("no such barrier")
