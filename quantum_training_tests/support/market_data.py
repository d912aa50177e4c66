"""Fixtures of market data: real candles of BTC and AAPL, random candles, features and training windows."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantum_training.features.windows import Window, WindowSize, build_window
from quantum_training.market.schema import as_candles


@pytest.fixture(scope="session")
def candles_dir() -> Path:
    """Folder of the real candles: QT_CANDLES_DIR, else ../shared/candles beside the repository."""
    beside = Path(__file__).parents[3] / "shared" / "candles"
    folder = Path(os.environ.get("QT_CANDLES_DIR") or beside)
    if not folder.is_dir():
        pytest.skip(f"no real candles at {folder}; set QT_CANDLES_DIR to their folder")
    return folder


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


COLUMNS = ("a", "b", "c")
MakeWindow = Callable[..., Window]


@pytest.fixture(scope="session")
def make_features() -> Callable[..., pd.DataFrame]:
    """`make_features(rows, seed)`: standard normal columns a, b, c by hour."""

    def make(rows: int = 400, seed: int = 0) -> pd.DataFrame:
        index = pd.date_range("2024-01-01", periods=rows, freq="h", tz="UTC", name="open_time")
        return pd.DataFrame(np.random.default_rng(seed).normal(size=(rows, 3)), index, list(COLUMNS))

    return make


@pytest.fixture(scope="session")
def make_window(make_features: Callable[..., pd.DataFrame]) -> MakeWindow:
    """`make_window(label=None, rows=400, features=None)`: `label(features)` gives 0.0 or 1.0 per row, default a > 0.

    So the rule is easy: `b` and `c` are noise.
    """

    def make(
        label: Callable[[pd.DataFrame], pd.Series] | None = None, rows: int = 400, features: pd.DataFrame | None = None
    ) -> Window:
        features = make_features(rows) if features is None else features
        label = label or (lambda f: f["a"] > 0)
        ends = features.index + pd.Timedelta(hours=2)
        labels = pd.DataFrame({"label": label(features).astype("float64"), "label_end": ends}, features.index)
        return build_window(
            features,
            labels,
            as_of=features.index[-1] + pd.Timedelta(hours=2),
            columns=COLUMNS,
            size=WindowSize(max_rows=rows, validation_fraction=0.2, min_rows=50),
        )

    return make
