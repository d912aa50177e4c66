"""Source `sample`: the real daily candles that ship inside the `arch` package. No network, no file of the user's."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import Field

from quantum_training.market.schema import as_candles
from quantum_training.sources.base import CandleSource, SourceError, closed_between

DAY = pd.Timedelta(days=1)


class Source(CandleSource):
    """S&P 500 or NASDAQ Composite, daily, 1999-01-04 to 2018-12-31; a bar opens at 00:00 UTC of its session's date."""

    dataset: Literal["sp500", "nasdaq"] = Field(description="Which index.")

    def fetch(
        self, symbol: str, timeframe: str, start: pd.Timestamp, end: pd.Timestamp, now: pd.Timestamp
    ) -> pd.DataFrame:
        """See CandleSource. SourceError for any timeframe but 1d."""
        return closed_between(self._bars(symbol, timeframe), timeframe, start, end, now)

    def available_until(self, symbol: str, timeframe: str, now: pd.Timestamp) -> pd.Timestamp:
        """The end of the last session, or `now` if that is earlier."""
        return min(now, self._bars(symbol, timeframe).index[-1] + DAY)

    def _bars(self, symbol: str, timeframe: str) -> pd.DataFrame:
        if timeframe != "1d":
            raise SourceError(symbol, f"sample {self.dataset}", f"it has no {timeframe} bars", "Set timeframe: 1d")
        return _load(self.dataset)


@cache
def _load(dataset: str) -> pd.DataFrame:
    """All bars. The package's file is read directly: importing arch costs a second, of scipy and statsmodels."""
    package = find_spec("arch")
    if package is None or package.origin is None:
        raise SourceError(dataset, "sample", "the package `arch` is not installed", "Install it: pip install arch")
    path = Path(package.origin).parent / "data" / dataset / f"{dataset}.csv.gz"
    frame = pd.read_csv(path, index_col="Date", parse_dates=["Date"], float_precision="round_trip")
    return as_candles(frame.rename(columns=str.lower))
