"""Columns of feature sets that are computed from a series: a row for each time at which something became known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from quantum_training.features.sets.series_events import known_rows
from quantum_training.lifecycle.other_markets import StoredColumns
from quantum_training.lifecycle.series import SERIES, publications
from quantum_training.market.periods import MONTH, Key
from quantum_training.market.series_schema import KNOWN_AT, TIME
from quantum_training.resources.store.store import Store, StoreError, content_hash
from quantum_training.settings import Settings

CONTENT = "publications"
"""Attribute of a month of a set: the hash of all that the set was computed from, known before its `covered_until`."""


def series_read(settings: Settings, symbols: Iterable[str]) -> list[str]:
    """The series that the recipes of these symbols read."""
    sets = (feature_set for symbol in symbols for feature_set in settings.feature_sets(symbol).values())
    return [*dict.fromkeys(series for feature_set in sets for series in feature_set.series)]


def set_of_series(store: Store, settings: Settings, key: Key, name: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """The rows of a set in a month of a series, by the time at which each became known, and what is stored with them.

    The newest row before the month is there, too. StoreError if the month of the series is not stored; else what a set
    raises.
    """
    attributes = store.attributes(SERIES, key.symbol, key.period)
    if not attributes:
        raise StoreError(f"{key}: no values of the month are stored; run the job series_data for it")
    until = pd.Timestamp(attributes["covered_until"])
    rows = publications(store, key.symbol, until)
    before = rows.loc[rows[KNOWN_AT] < key.start, KNOWN_AT]
    since = before.iloc[-1] if len(before) else key.start
    columns = known_rows(settings.features[name], name, rows, since)
    return columns, {"covered_until": until.isoformat(), CONTENT: content_hash(rows)}


def is_current(rows: pd.DataFrame, attributes: Mapping[str, str]) -> bool:
    """Whether a month of a set was computed from these publications, as far as they were known at its end."""
    published = rows[rows[KNOWN_AT] < pd.Timestamp(attributes["covered_until"])].reset_index(drop=True)
    return attributes.get(CONTENT) == content_hash(published)


def columns_known_before(
    settings: Settings, series: str, stored: StoredColumns, closed: pd.DatetimeIndex, rows: pd.DataFrame
) -> np.ndarray:
    """For each time in `closed`, the stored columns of a set of the series as they were known just before.

    rows: the publications of the series. NaN where the series was not read up to that time, or where the newest value
    became known longer ago than its `max_age`.
    """
    columns = stored.columns.sort_index(kind="stable")
    newest = pd.DatetimeIndex(columns.index).searchsorted(closed, side="left") - 1
    values = np.full((len(closed), columns.shape[1]), np.nan)
    values[newest >= 0] = columns.to_numpy()[newest[newest >= 0]]
    is_read = np.zeros(len(closed), dtype=bool)
    for month, until in stored.covered.items():
        start = pd.Timestamp(month, tz="UTC")
        is_read |= (closed > start) & (closed <= min(until, start + MONTH))
    values[~is_read | (_age(rows, closed) > settings.series[series].age)] = np.nan
    return values


def _age(rows: pd.DataFrame, closed: pd.DatetimeIndex) -> pd.TimedeltaIndex:
    """How long ago the newest value that was known before each time became known first; a revision makes none newer."""
    first = rows.drop_duplicates(TIME)  # of each value, in the order of known_at
    first = first[first[TIME] == first[TIME].cummax()]
    known_at = pd.DatetimeIndex(first[KNOWN_AT])
    newest = known_at.searchsorted(closed, side="left") - 1
    return closed - known_at[newest.clip(0)] if len(known_at) else closed - closed
