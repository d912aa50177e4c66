"""Series that are no candles in the store: a month holds what became known in it.

Nothing that is stored is changed or removed: a value that the source has replaced gets a second row, known since the
replacement was seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from quantum_training.market.periods import MONTH, Key, month_of
from quantum_training.market.series_schema import KNOWN_AT, TIME, VALUE
from quantum_training.resources.store.store import Store, StoreError, Written
from quantum_training.settings import Settings
from quantum_training.sources import SourceError

SERIES = "series"
SOURCE = "source"
"""Attribute of a stored month: the identity of the source that its values are from, as JSON."""


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

    If neither the month nor the one before is stored, all that became known before is stored with it. In the month in
    progress, older values that the source has replaced or inserted are known since `now`. SourceError if the source
    cannot be read, has given no value yet, or gives what cannot be; StoreError if stored values are of another source.
    """
    name, source, end = key.symbol, settings.series[key.symbol].source, key.start + MONTH
    until = min(end, now)
    if until <= key.start:
        raise SourceError(name, source.kind, f"{key.period[:7]} has not begun", f"Ask for months up to {month_of(now)}")
    identity = json.dumps(source.identity, sort_keys=True)
    _require_source(store, name, identity)
    attributes = store.attributes(SERIES, name, key.period)
    before = attributes or store.attributes(SERIES, name, month_of(key.start - MONTH))
    read_until = pd.Timestamp(before["covered_until"]) if before else None
    fetched = source.fetch(name, None if source.revises else read_until, until)
    if defects := [*series_defects(fetched)]:
        remedy = "Mend the source; nothing of the month was stored"
        raise SourceError(name, source.kind, "; ".join(defects[:MAX_DEFECTS]), remedy)
    if fetched.empty and read_until is None:
        raise SourceError(name, source.kind, f"it gives no value that was known before {until}", "Check its options")
    parts, revised = [fetched if read_until is None else fetched[fetched[KNOWN_AT] >= read_until]], 0
    if read_until is not None and now < end:
        parts.append(_replaced(publications(store, name, now), fetched[fetched[KNOWN_AT] < read_until], now))
        revised = len(parts[-1])
    if attributes:
        parts.insert(0, store.read_frame(SERIES, name, key.period).reset_index())
        until = max(until, pd.Timestamp(attributes["covered_until"]))
    rows = pd.concat([part for part in parts if len(part)] or parts[:1])
    rows = rows.sort_values([KNOWN_AT, TIME], kind="stable").set_index(KNOWN_AT)[[TIME, VALUE]]
    kept = {"covered_until": until.isoformat(), SOURCE: identity}
    return SeriesMonth(rows, until, revised, store.write_frame(SERIES, name, key.period, rows, kept))


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
    rows = store.read_frames(SERIES, name, months[0], months[-1]).reset_index().drop_duplicates()
    return rows[rows[KNOWN_AT] < until].sort_values([KNOWN_AT, TIME], kind="stable", ignore_index=True)


def _replaced(stored: pd.DataFrame, fetched: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    """The newest value of each time whose stored one is another, or that is not stored: known since `now`."""
    known = stored.drop_duplicates(TIME, keep="last").set_index(TIME)[VALUE]
    newest = fetched.drop_duplicates(TIME, keep="last")
    return newest[newest[VALUE] != newest[TIME].map(known)].assign(**{KNOWN_AT: now})


def _require_source(store: Store, name: str, identity: str) -> None:
    for month in store.periods(SERIES, name)[-1:]:
        recorded = store.attributes(SERIES, name, month)[SOURCE]
        if recorded != identity:
            raise StoreError(
                f"{name}: its stored values are of another source: {recorded}, now {identity}; give the series another "
                "name, or set the former source again"
            )
