"""Modules of feature sets for tests, in one: `compute` takes the name of a function below."""

import numpy as np
import pandas as pd

COLUMNS = {"value": "what the function gives"}


def compute(candles: pd.DataFrame, function: str) -> pd.DataFrame:
    """The column of a function of this module."""
    return pd.DataFrame({"value": globals()[function](candles)}, candles.index)


def WARMUP_BARS(function: str) -> int:  # noqa: N802 - what the platform reads
    """Bars before a row."""
    return 5 if function == "short" else 48


def _log_close(candles: pd.DataFrame) -> pd.Series:
    return np.log(candles["close"])


def _previous(series: pd.Series) -> pd.Series:
    return series.shift(-1)


def _by_day(candles: pd.DataFrame) -> pd.Series:
    return candles.groupby(pd.DatetimeIndex(candles.index).date)["high"].transform("max")


def honest(candles):
    return _log_close(candles).diff(24)


def short(candles):
    return _log_close(candles).diff(5)


def honest_day_before(candles):
    """The close of the day before, known at midnight."""
    daily = _log_close(candles).resample("1D").last().shift(1)
    return _log_close(candles) - daily.reindex(candles.index, method="ffill")


def centred_window(candles):
    return _log_close(candles) - _log_close(candles).rolling(9, center=True, min_periods=1).mean()


def z_score_of_whole_series(candles):
    return (_log_close(candles) - _log_close(candles).mean()) / _log_close(candles).std()


def label_not_shifted(candles):
    return (_log_close(candles).diff().shift(-1) > 0).astype("float64")


def resampled_with_right_label(candles):
    blocks = _log_close(candles).resample("4h", label="right").last()
    return blocks.reindex(candles.index + pd.Timedelta("1ns"), method="bfill").to_numpy() - _log_close(candles)


def filled_across_sessions(candles):
    daily = _log_close(candles).resample("1D").last().dropna()
    return daily.reindex(candles.index, method="ffill")


def merged_on_date(candles):
    return _log_close(candles) - np.log(_by_day(candles))


def target_encoded(candles):
    target = _log_close(candles).diff().shift(-1)
    return target.groupby(pd.DatetimeIndex(candles.index).hour).transform("mean")


def kept_by_later_volume(candles):
    return _log_close(candles).diff().where(candles["volume"] > candles["volume"].median(), 0.0)


def scaled_on_full_window(candles):
    close = _log_close(candles)
    return (close - close.min()) / (close.max() - close.min())


def shifted_in_helper(candles):
    return _log_close(candles) - _previous(_log_close(candles))


def not_deterministic(candles):
    return np.random.default_rng().normal(size=len(candles))


def longer_memory(candles):
    return _log_close(candles).diff(60)


def infinite(candles):
    return _log_close(candles) / 0.0


def failing(candles):
    raise RuntimeError("no such rate")
