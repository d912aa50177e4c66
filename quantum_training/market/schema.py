"""The one definition of a candle frame. Rules that need a calendar or a neighbouring bar live in rules.py."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import pandera.pandas as pa

COLUMNS = ("open", "high", "low", "close", "volume")
PRICES = COLUMNS[:4]
SCHEMA_VERSION = "1"
ROUNDING = 1e-9  # scaling all four prices by one adjustment factor can put a close an ulp above its high


@cache
def candle_schema() -> pa.DataFrameSchema:
    """Index `open_time` (UTC, strictly increasing, bar START); open high low close volume as finite float64.

    Each check of values has a name; rules.py says what to do about it.
    """
    import pandera.pandas as pa

    finite = pa.Check(np.isfinite, name="finite")
    price = pa.Column("float64", [finite, pa.Check(lambda s: s > 0, name="positive_price")], nullable=False)
    volume = pa.Column("float64", [finite, pa.Check(lambda s: s >= 0, name="volume_not_negative")], nullable=False)
    return pa.DataFrameSchema(
        {**dict.fromkeys(PRICES, price), "volume": volume},
        index=pa.Index(
            pd.DatetimeTZDtype("ns", "UTC"),
            [pa.Check(lambda i: ~(i.diff() <= pd.Timedelta(0)), name="strictly_increasing")],
            name="open_time",
        ),
        checks=[
            pa.Check(lambda df: bool((df.dtypes == np.dtype("float64")).all()), name="numpy_float64"),  # not Float64
            pa.Check(lambda df: _in_range(df, "open"), name="open_in_range"),
            pa.Check(lambda df: _in_range(df, "close"), name="close_in_range"),
        ],
        strict=True,
        ordered=True,
        name="candles",
    )


def _in_range(frame: pd.DataFrame, column: str) -> pd.Series:
    """low <= column <= high up to rounding; a missing value is another check's finding."""
    return ~((frame[column] < frame["low"] * (1 - ROUNDING)) | (frame[column] > frame["high"] * (1 + ROUNDING)))


def as_candles(frame: pd.DataFrame) -> pd.DataFrame:
    """Bring a frame with the five columns and a datetime index into the canonical dtypes and column order.

    Nothing is repaired: order, duplicates and values stay as they came; quality.py judges them.
    """
    index = pd.DatetimeIndex(frame.index)
    index = index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")
    out = frame.loc[:, list(COLUMNS)].astype("float64")
    out.index = index.as_unit("ns").rename("open_time")
    out.columns.name = None
    return out


def empty_candles() -> pd.DataFrame:
    """A candle frame of no rows."""
    return as_candles(pd.DataFrame({c: [] for c in COLUMNS}, index=pd.DatetimeIndex([], tz="UTC")))
