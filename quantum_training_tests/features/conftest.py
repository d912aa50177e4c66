"""Candles for the tests of features: seeded random walks, and the real BTC and AAPL."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantum_training.market.schema import as_candles

MakeCandles = Callable[..., pd.DataFrame]


@pytest.fixture(scope="session")
def make_candles() -> MakeCandles:
    """`make_candles(bars, seed=0, freq="1h")`: a valid random walk with gaps, wicks and some bars without trades."""

    def make(bars: int, seed: int = 0, freq: str = "1h") -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        close = 100 * np.exp(np.cumsum(rng.standard_t(4, bars) * 0.005))
        open_ = np.r_[100.0, close[:-1]] * np.exp(rng.normal(0, 0.001, bars))
        high = np.maximum(open_, close) * np.exp(rng.exponential(0.002, bars))
        low = np.minimum(open_, close) * np.exp(-rng.exponential(0.002, bars))
        volume = rng.lognormal(3, 1, bars) * (rng.random(bars) > 0.02)
        index = pd.date_range("2024-01-01", periods=bars, freq=freq, tz="UTC")
        return as_candles(
            pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": volume}, index=index)
        )

    return make


@pytest.fixture(scope="session")
def btc(candles_dir: Path) -> pd.DataFrame:
    """BTC/USDT 1h, 43,803 real bars."""
    return as_candles(pd.read_feather(candles_dir / "crypto_1h" / "BTC_USDT-1h.feather").set_index("date"))


@pytest.fixture(scope="session")
def aapl(candles_dir: Path) -> pd.DataFrame:
    """AAPL daily, split-adjusted, without the row that the file leaves empty."""
    frame = pd.read_csv(candles_dir / "equity_1d" / "AAPL.csv.gz", index_col="Date", parse_dates=True).dropna()
    return as_candles(frame.rename(columns=str.lower))
