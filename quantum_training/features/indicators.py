"""Causal, scale-free features of candles: one row per bar, a function of that bar and the WARMUP_BARS before it.

Labels are labels.py, training windows windows.py. Nothing here is fitted to data.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

WARMUP_BARS = 360
"""Bars before `since` that the features of a partition are computed from.

Wilder's average of period 14 (RSI, ATR) decays slowest: an error in its start shrinks by 13/14 a bar. 360 bars less
the 14 of the start leave 7e-12 of it, so features agree with a whole-history calculation to 1e-9 even if the start
was 50 times as volatile as the present (measured on BTC, ETH and SOL hourly and AAPL daily: 2e-11 at worst). MACD's
slow average shrinks by 25/27 a bar; the longest trailing window, log volume against its trailing mean, needs 2 x 60.
"""

RETURN_HORIZONS = (1, 3, 8, 24, 48)
SHORT, LONG = 24, 60
_VOLUME_FLOOR = 0.01

FEATURES: tuple[str, ...] = (
    *(f"return_{bars}" for bars in RETURN_HORIZONS),
    "rsi_14",
    "macd_histogram",
    "atr_14",
    "bollinger_20",
    f"volatility_{SHORT}",
    f"volatility_{LONG}",
    "volatility_ratio",
    f"volume_z_{LONG}",
    f"trend_{SHORT}",
    f"trend_{LONG}",
    f"drawdown_{LONG}",
    "range_ratio",
    "body_ratio",
    "upper_wick",
    "lower_wick",
    "hour_sin",
    "hour_cos",
    "weekday_sin",
    "weekday_cos",
)


def compute_features(candles: pd.DataFrame, since: pd.Timestamp) -> pd.DataFrame:
    """Features of the bars that open at or after `since`: float64, index open_time, columns FEATURES.

    `candles` is a candle frame that reaches back WARMUP_BARS bars or more. Older bars are cut off, so a bar's row is
    bit-identical for any longer history, and for complete and incomplete months. Rows with fewer than WARMUP_BARS bars
    before them are NaN in every column.

    The row of bar t uses bars <= t only, so it is known when t closes. All prices enter as logarithms against the first
    bar of the history: multiplying every price, or every volume, by a constant changes nothing.

    - return_n: log return over n bars.
    - rsi_14: Wilder's RSI of log prices as 2 RSI / 100 - 1, in [-1, 1] (which is Chande's momentum under Wilder's
      average); 0 if nothing moved.
    - macd_histogram: MACD(12, 26, 9) histogram of log prices in units of atr_14.
    - atr_14: Wilder's average true range of log prices, close to ATR / close.
    - bollinger_20: distance of the close from its 20-bar mean in units of two standard deviations.
    - volatility_n: root mean square of the last n one-bar log returns; volatility_ratio: short over long.
    - volume_z_n: z-score over n bars of log(volume / its trailing n-bar mean). Less than 1 % of that mean counts as
      1 %, which keeps bars without trades finite.
    - trend_n: close against its n-bar mean, in units of volatility_n * sqrt(n).
    - drawdown_n: log of the close over the highest close of n bars, in the same units, <= 0.
    - range_ratio: log(high / low) in units of atr_14. body_ratio, upper_wick, lower_wick: (close - open), the part
      above and the part below the body, as shares of high - low.
    - hour and weekday of open_time (UTC) as points on the circle.

    The volatility levels (atr_14, volatility_n) revert, but slowly: lag-1 autocorrelation .99 and above on BTC 1h; a
    statistic that assumes independent bars should difference them. All other features stay near or below .98.

    Never inf. 0 / 0 gives 0 (a bar without range has no body; a market that stood still has no
    trend, and a volatility_ratio of 0); a movement over a scale of zero is NaN. ValueError: a missing value, which
    the averages would carry into every later bar.
    """
    first = int(candles.index.searchsorted(since))
    start = max(first - WARMUP_BARS, 0)
    history = candles.iloc[start:]
    is_missing = history.isna().any(axis=1)
    if is_missing.any():
        raise ValueError(
            f"candles: a value is missing at {is_missing.idxmax()}; pass bars that the quality gate accepted"
        )
    if first == len(candles):
        return pd.DataFrame(columns=list(FEATURES), index=candles.index[first:], dtype="float64")
    times = pd.DatetimeIndex(history.index)
    columns = {**_movement(history), **_volume(history["volume"]), **_shape(history), **_calendar(times)}
    out = pd.DataFrame(columns, index=times, columns=list(FEATURES), dtype="float64")
    if first < WARMUP_BARS:
        out.iloc[:WARMUP_BARS] = np.nan
    return out.iloc[first - start :]


def _movement(candles: pd.DataFrame) -> dict[str, np.ndarray]:
    import talib

    base = candles["close"].iloc[0]
    high, low, close = (np.log(candles[name].to_numpy() / base) for name in ("high", "low", "close"))
    price = pd.Series(close)
    step = price.diff()
    volatility = {n: np.sqrt((step**2).rolling(n).mean().clip(lower=0).to_numpy()) for n in (SHORT, LONG)}
    atr = talib.ATR(high, low, close, 14)
    # Window by window against the last close: a running variance of levels is off by 1e-8 after a long history.
    band = sliding_window_view(np.concatenate([np.full(19, np.nan), close]), 20) - close[:, None]
    out = {f"return_{n}": price.diff(n).to_numpy() for n in RETURN_HORIZONS}
    out["rsi_14"] = talib.CMO(close, 14) / 100
    out["macd_histogram"] = _ratio(talib.MACD(close, 12, 26, 9)[2], atr)
    out["atr_14"] = atr
    out["range_ratio"] = _ratio(high - low, atr)
    out["bollinger_20"] = _ratio(-band.mean(axis=1), 2 * band.std(axis=1))
    out["volatility_ratio"] = _ratio(volatility[SHORT], volatility[LONG])
    for n in (SHORT, LONG):
        out[f"volatility_{n}"] = volatility[n]
        out[f"trend_{n}"] = _ratio((price - price.rolling(n).mean()).to_numpy(), volatility[n] * np.sqrt(n))
    out[f"drawdown_{LONG}"] = _ratio((price - price.rolling(LONG).max()).to_numpy(), volatility[LONG] * np.sqrt(LONG))
    return out


def _volume(volume: pd.Series) -> dict[str, np.ndarray]:
    mean = volume.rolling(LONG, min_periods=1).mean()
    # A market without reported volume counts as trading its mean volume.
    relative = (volume / mean).clip(lower=_VOLUME_FLOOR).mask(mean <= 0, 1.0)
    log = pd.Series(np.log(relative.to_numpy()))
    window = log.rolling(LONG)
    return {f"volume_z_{LONG}": _ratio((log - window.mean()).to_numpy(), window.std(ddof=0).to_numpy())}


def _shape(candles: pd.DataFrame) -> dict[str, np.ndarray]:
    open_, high, low, close = (candles[name].to_numpy() for name in ("open", "high", "low", "close"))
    height = high - low
    return {
        "body_ratio": _ratio(close - open_, height),
        "upper_wick": _ratio(high - np.maximum(open_, close), height),
        "lower_wick": _ratio(np.minimum(open_, close) - low, height),
    }


def _calendar(times: pd.DatetimeIndex) -> dict[str, np.ndarray]:
    hour = 2 * np.pi * (times - times.normalize()).to_numpy() / np.timedelta64(1, "D")
    weekday = 2 * np.pi * times.dayofweek.to_numpy() / 7
    return {
        "hour_sin": np.sin(hour),
        "hour_cos": np.cos(hour),
        "weekday_sin": np.sin(weekday),
        "weekday_cos": np.cos(weekday),
    }


def _ratio(value: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """value / scale; 0 if both are 0, NaN if only the scale is."""
    out = np.full(len(value), np.nan)
    np.divide(value, scale, out=out, where=scale != 0)
    out[(value == 0) & (scale == 0)] = 0.0
    return out
