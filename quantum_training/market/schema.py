"""The one definition of a candle frame. Rules that need a calendar or a neighbouring bar live in rules.py."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

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

    Each check of values has a name, for which quality.py has a remedy.
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
            pa.Check(lambda df: _in_range(df["open"], df["low"], df["high"]), name="open_in_range"),
            pa.Check(lambda df: _in_range(df["close"], df["low"], df["high"]), name="close_in_range"),
        ],
        strict=True,
        ordered=True,
        name="candles",
    )


def passes(frame: pd.DataFrame) -> bool:
    """Whether `candle_schema` finds nothing wrong with a frame of at least one row.

    It names no defects and takes a tenth of the time: nearly every month that is judged is sound.
    """
    index, columns = frame.index, frame.columns
    if index.nlevels > 1 or index.dtype != pd.DatetimeTZDtype("ns", "UTC") or index.name != "open_time":
        return False
    if columns.nlevels > 1 or list(columns) != list(COLUMNS) or any(t != np.dtype("float64") for t in frame.dtypes):
        return False
    open_, high, low, close, volume = values = frame.to_numpy().T
    return bool(
        np.isfinite(values).all()
        and (values[: len(PRICES)] > 0).all()
        and (volume >= 0).all()
        and index.notna().all()
        and index.is_monotonic_increasing
        and index.is_unique
        and _in_range(open_, low, high).all()
        and _in_range(close, low, high).all()
    )


def _in_range(price: Any, low: Any, high: Any) -> Any:
    """low <= price <= high up to rounding, of columns; a missing value is found by another check."""
    return ~((price < low * (1 - ROUNDING)) | (price > high * (1 + ROUNDING)))


def as_candles(frame: pd.DataFrame) -> pd.DataFrame:
    """Bring a frame with the five columns and a datetime index into the canonical dtypes and column order.

    Nothing is repaired: order, duplicates and values stay as they are; quality.py judges them.
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
