"""Real and synthetic candles, and the quality gate with its usual arguments."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest

from quantum_training.market.calendars import expected_open_times
from quantum_training.market.periods import MarketPeriod
from quantum_training.market.quality import Defect, QualityLimits, assess
from quantum_training.market.schema import as_candles
from quantum_training.market.timeframe import to_timedelta


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def judge_frame(
    candles: pd.DataFrame,
    start: str,
    end: str,
    timeframe: str = "1h",
    calendar: str = "24/7",
    previous: pd.DataFrame | None = None,
    **limits: float,
) -> list[Defect]:
    period = MarketPeriod("TEST", timeframe, calendar, utc(start), utc(end))
    return assess(candles, period, previous, QualityLimits.model_validate(limits))


def judge_months(
    candles: pd.DataFrame, timeframe: str, calendar: str, since: str = "1900-01-01"
) -> Iterator[tuple[pd.Timestamp, list[Defect]]]:
    """Each month of a recording, judged as its own partition with the bars before it."""
    until = candles.index[-1] + to_timedelta(timeframe)
    first = max(candles.index[0], utc(since))
    for start in pd.date_range(first.normalize().replace(day=1), candles.index[-1], freq="MS"):
        end = min(start + pd.offsets.MonthBegin(1), until)
        cut = [int(candles.index.searchsorted(t)) for t in (start, end)]
        previous = candles.iloc[max(0, cut[0] - 200) : cut[0]]
        period = MarketPeriod("TEST", timeframe, calendar, start, end)
        yield start, assess(candles.iloc[slice(*cut)], period, previous, QualityLimits())


def random_walk(calendar: str, timeframe: str, start: str, end: str, seed: int = 1) -> pd.DataFrame:
    """Valid candles: 0.5 % a bar, open a little off the close before, log-normal volume."""
    index = expected_open_times(calendar, timeframe, utc(start), utc(end))
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.005, len(index))))
    open_ = np.r_[100.0, close[:-1]] * np.exp(rng.normal(0, 0.0005, len(index)))
    wick = np.exp(np.abs(rng.normal(0, 0.002, (2, len(index)))))
    columns = {
        "open": open_,
        "high": np.maximum(open_, close) * wick[0],
        "low": np.minimum(open_, close) / wick[1],
        "close": close,
        "volume": np.exp(rng.normal(5, 0.5, len(index))),
    }
    return as_candles(pd.DataFrame(columns, index=index))


@pytest.fixture(scope="session")
def judge() -> Callable[..., list[Defect]]:
    return judge_frame


@pytest.fixture(scope="session")
def months() -> Callable[..., Iterator[tuple[pd.Timestamp, list[Defect]]]]:
    return judge_months


@pytest.fixture(scope="session")
def walk() -> Callable[..., pd.DataFrame]:
    return random_walk


@pytest.fixture(scope="session")
def crypto(candles_dir):
    def read(symbol: str) -> pd.DataFrame:
        return as_candles(pd.read_feather(candles_dir / "crypto_1h" / f"{symbol}_USDT-1h.feather").set_index("date"))

    return read


def _lower(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns=str.lower)


@pytest.fixture(scope="session")
def equity(candles_dir):
    def read(symbol: str) -> pd.DataFrame:
        return as_candles(
            _lower(pd.read_csv(candles_dir / "equity_1d" / f"{symbol}.csv.gz", index_col=0, parse_dates=True))
        )

    return read
