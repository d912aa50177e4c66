"""Series that are no candles in the store: a month holds what became known in it.

Nothing that is stored is changed or removed: a value that the source has replaced gets a second row, known since the
replacement was seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.market.periods import MONTH, Key, month_of
from quantum_training.market.series_schema import KNOWN_AT, TIME, VALUE
from quantum_training.resources.store.store import Store, StoreError, Written
from quantum_training.settings import Settings
from quantum_training.sources import SourceError
from quantum_training.sources.series import SeriesSource, series_frame

SERIES = "series"
SOURCE = "source"
"""Attribute of a stored month: the identity of the source that its values are from, as JSON."""


OVERLAP = pd.Timedelta("1D")
"""So much before its last reading a source is read again: an exchange may list a value late."""
MAX_DEFECTS = 10
"""How many defects an error lists."""


class SeriesMonth(NamedTuple):
    """The rows of a month by `known_at`, with `time` and `value`, and the time up to which they are complete.

    revised: rows that were added because the source has replaced or inserted older values.
    """

    rows: pd.DataFrame
    covered_until: pd.Timestamp
    revised: int
    written: Written


def ingest_series(store: Store, settings: Settings, key: Key, now: pd.Timestamp) -> SeriesMonth:
    """Fetch what became known in a month since the source was read last, judge it and store it.

    If no earlier month is stored, all that became known before is stored with it. In the month in progress, older
    values that the source has replaced or inserted are known since `now`; a value that is stored stays as it is.
    SourceError if the source cannot be read, has given no value yet, or gives what cannot be; StoreError if stored
    values are of another source.
    """
    name, source, end, now = key.symbol, settings.series[key.symbol].source, key.start + MONTH, now.as_unit("ns")
    until = min(end, now)
    if until <= key.start:
        raise SourceError(name, source.kind, f"{key.period[:7]} has not begun", f"Ask for months up to {month_of(now)}")
    identity = json.dumps(source.identity, sort_keys=True)
    _require_source(store, name, identity)
    months = store.periods(SERIES, name)
    read_until = _read_until(store, name, [month for month in months if month <= key.period])
    fetched = source.fetch(name, None if source.revises or read_until is None else read_until - OVERLAP, until)
    if defects := [*series_defects(fetched)]:
        remedy = "Mend the source; nothing of the month was stored"
        raise SourceError(name, source.kind, "; ".join(defects[:MAX_DEFECTS]), remedy)
    if fetched.empty and not months:
        raise SourceError(name, source.kind, f"it gives no value that was known before {until}", "Check its options")
    stored = _rows(store, name, months)
    parts = [_stored_of(store, key, stored, read_until, until), _new(source, fetched, stored, read_until)]
    revised = 0
    if read_until is not None and now < end:
        parts.append(_replaced(stored, fetched[fetched[KNOWN_AT] < read_until], now))
        revised = len(parts[-1])
    rows = pd.concat([part for part in parts if len(part)] or parts[:1]).sort_values([KNOWN_AT, TIME], kind="stable")
    index = pd.DatetimeIndex(rows[KNOWN_AT], name=KNOWN_AT).as_unit("ns")
    frame = pd.DataFrame({TIME: pd.DatetimeIndex(rows[TIME]).as_unit("ns"), VALUE: rows[VALUE].to_numpy()}, index)
    if key.period in months:
        until = max(until, pd.Timestamp(store.attributes(SERIES, name, key.period)["covered_until"]))
    kept = {"covered_until": until.isoformat(), SOURCE: identity}
    return SeriesMonth(frame, until, revised, store.write_frame(SERIES, name, key.period, frame, kept))


def _read_until(store: Store, name: str, months: Sequence[str]) -> pd.Timestamp | None:
    """Up to when the source was read for the newest of these months; None if there is none."""
    return pd.Timestamp(store.attributes(SERIES, name, months[-1])["covered_until"]) if months else None


def _stored_of(
    store: Store, key: Key, stored: pd.DataFrame, read_until: pd.Timestamp | None, until: pd.Timestamp
) -> pd.DataFrame:
    """What is stored of the month; if it was left out, what a later month holds of the time since the earlier one."""
    if store.attributes(SERIES, key.symbol, key.period):
        return store.read_frame(SERIES, key.symbol, key.period).reset_index()
    known_at = stored[KNOWN_AT]
    return stored[(known_at < until) & (True if read_until is None else known_at >= read_until)]


def _new(
    source: SeriesSource, fetched: pd.DataFrame, stored: pd.DataFrame, read_until: pd.Timestamp | None
) -> pd.DataFrame:
    """The fetched rows that became known since the source was read last, or at all if it was not read before.

    Of a month before all others, none that a source which may insert values has only now: they were not known then.
    """
    if read_until is None:
        return fetched.iloc[:0] if source.revises and len(stored) else fetched[~_in(fetched, stored)]
    return fetched[(fetched[KNOWN_AT] >= read_until) & ~_in(fetched, stored)]


def _in(rows: pd.DataFrame, others: pd.DataFrame) -> np.ndarray:
    keys = [TIME, KNOWN_AT]
    return pd.MultiIndex.from_frame(rows[keys]).isin(pd.MultiIndex.from_frame(others[keys]))


def series_defects(rows: pd.DataFrame) -> Iterator[str]:
    """What is wrong with fetched rows, in sentences."""
    for row in rows[rows[KNOWN_AT] < rows[TIME]].itertuples():
        yield f"the value of {row.time} is said to be known at {row.known_at}, before its time"
    pairs = rows.drop_duplicates([TIME, KNOWN_AT, VALUE])
    for row in pairs[pairs.duplicated([TIME, KNOWN_AT])].itertuples():
        yield f"the value of {row.time} known at {row.known_at} is there twice, with different values"


def publications(store: Store, name: str, until: pd.Timestamp) -> pd.DataFrame:
    """What of a series is stored that became known before a time, in that order: `time`, `known_at` and `value`."""
    months = [month for month in store.periods(SERIES, name) if month <= month_of(until)]
    if not months:
        raise StoreError(f"{name}: no values are stored until {until}; run the job series_data")
    rows = _rows(store, name, months)
    return rows[rows[KNOWN_AT] < until].reset_index(drop=True)


def _rows(store: Store, name: str, months: Sequence[str]) -> pd.DataFrame:
    """The rows of these months, each once, in the order in which they became known."""
    if not months:
        return series_frame([], [], [])
    rows = store.read_frames(SERIES, name, months[0], months[-1]).reset_index().drop_duplicates()
    return rows.sort_values([KNOWN_AT, TIME], kind="stable", ignore_index=True)


def _replaced(stored: pd.DataFrame, fetched: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    """The newest value of each time whose stored one is another, or that is not stored: known since `now`."""
    stored_values = stored.drop_duplicates(TIME, keep="last").set_index(TIME)[VALUE]
    newest = fetched.drop_duplicates(TIME, keep="last")
    return newest[newest[VALUE] != newest[TIME].map(stored_values)].assign(**{KNOWN_AT: now})


def _require_source(store: Store, name: str, identity: str) -> None:
    for month in store.periods(SERIES, name)[-1:]:
        recorded = store.attributes(SERIES, name, month)[SOURCE]
        if recorded != identity:
            before, now = json.loads(recorded), json.loads(identity)
            other = [
                f"{o} was {before.get(o)}, now {now.get(o)}" for o in {**before, **now} if before.get(o) != now.get(o)
            ]
            raise StoreError(
                f"{name}: its stored values are of another source: {', '.join(other)}; give the series another name, "
                "or set the former option again"
            )
