"""The one definition of a candle frame. Rules that need a calendar or a neighbouring bar live in quality.py."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    import pandera.pandas as pa

COLUMNS = ("open", "high", "low", "close", "volume")
PRICES = COLUMNS[:4]
SCHEMA_VERSION = "1"


@cache
def candle_schema() -> pa.DataFrameSchema:
    """Index `open_time` (UTC, strictly increasing, bar START); open high low close volume as finite float64."""
    import numpy as np
    import pandera.pandas as pa

    finite = pa.Check(lambda s: np.isfinite(s), name="finite")
    price = pa.Column("float64", [finite, pa.Check.gt(0)], nullable=False)
    volume = pa.Column("float64", [finite, pa.Check.ge(0)], nullable=False)
    return pa.DataFrameSchema(
        {**dict.fromkeys(PRICES, price), "volume": volume},
        index=pa.Index(
            pd.DatetimeTZDtype("ns", "UTC"),
            [pa.Check(lambda i: i.is_monotonic_increasing, name="strictly_increasing")],
            unique=True,
            name="open_time",
        ),
        checks=[
            pa.Check(lambda df: df["low"] <= df[["open", "close"]].min(axis=1), name="low_is_lowest"),
            pa.Check(lambda df: df["high"] >= df[["open", "close"]].max(axis=1), name="high_is_highest"),
        ],
        strict=True,
        ordered=True,
        name="candles",
    )


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
