"""Columns of feature sets that are computed from a series: a row for each time at which something became known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from quantum_training.features.sets.series_events import known_rows
from quantum_training.lifecycle.other_markets import StoredColumns
from quantum_training.lifecycle.series import SERIES, publications
from quantum_training.market.periods import MONTH, Key
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings

NANOSECOND = pd.Timedelta("1ns")
CONTENT = "series"
"""Attribute of a month of a set: the hash of the series' month that it was computed from."""


def set_of_series(store: Store, settings: Settings, key: Key, name: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """The rows of a set in a month of a series, by the time at which each became known, and what is stored with them.

    The newest row before the month is there, too. StoreError if the month of the series is not stored; else what a set
    raises.
    """
    attributes = store.attributes(SERIES, key.symbol, key.period)
    until = pd.Timestamp(attributes["covered_until"]) if attributes else key.start + MONTH
    rows = publications(store, key.symbol, until)
    before = rows.loc[rows["known_at"] < key.start, "known_at"]
    since = before.iloc[-1] if len(before) else key.start
    columns = known_rows(settings.features[name], name, rows, since)
    return columns, {"covered_until": until.isoformat(), CONTENT: attributes["content_hash"]}


def columns_known_before(
    settings: Settings, series: str, stored: StoredColumns, closed: pd.DatetimeIndex
) -> np.ndarray:
    """For each time in `closed`, the stored columns of a set of the series as they were known just before.

    NaN where the series was not read up to that time, or where the newest value is older than its `max_age`.
    """
    columns = stored.columns.sort_index(kind="stable")
    known_at = pd.DatetimeIndex(columns.index)
    newest = known_at.searchsorted(closed, side="left") - 1
    rows = np.full((len(closed), columns.shape[1]), np.nan)
    rows[newest >= 0] = columns.to_numpy()[newest[newest >= 0]]
    is_read = np.zeros(len(closed), dtype=bool)
    for month, until in stored.covered.items():
        start = pd.Timestamp(month, tz="UTC")
        is_read |= (closed > start) & (closed <= min(until, start + MONTH))
    age = closed - known_at[newest.clip(0)] if len(known_at) else closed - closed
    rows[~is_read | (age > settings.series[series].age)] = np.nan
    return rows
