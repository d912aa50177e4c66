"""Stored bars that are fetched again with newer ones: which these are, and storing those that have other values now.

What is decided about a difference is market.revision_policy; months are completed in ingestion.py.
"""

from __future__ import annotations

import pandas as pd

from quantum_training.lifecycle.market_identity import MARKET
from quantum_training.lifecycle.records import CANDLES
from quantum_training.lifecycle.restatement import record_renewal
from quantum_training.market.periods import MONTH, Key, month_of
from quantum_training.market.revision_policy import SETTLING_TIME
from quantum_training.market.schema import empty_candles
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings

COMPARED_BARS, COMPARED_BARS_IN_NEW_MONTH = 2000, 5000
"""How many bars are compared at most, if the source can change its history. Yahoo sends them in the same answer."""


def bars_to_compare(
    store: Store, settings: Settings, key: Key, stored: pd.DataFrame, now: pd.Timestamp, *, refetch: bool
) -> pd.DataFrame:
    """The stored bars that are fetched again. stored: of the month itself; empty if the whole month is fetched.

    Of a source that can change its history, those of this month and the one before; when the month in progress is
    begun, of all months. Of others those of the last hour and the one before: they may not have been final when they
    were stored. What a person fetches again is compared only to restate the other months, too.
    """
    market, of_symbol = settings.symbols[key.symbol], store.periods(CANDLES, key.symbol)
    earlier = [month for month in of_symbol if month < key.period]
    if refetch and market.revision_policy == "restate" and key.period in of_symbol:
        stored = store.read_frame(CANDLES, key.symbol, key.period)
    if market.source.revises_history:
        is_begun = stored.empty and key.start <= now < key.start + MONTH
        limit = COMPARED_BARS_IN_NEW_MONTH if is_begun else COMPARED_BARS
        months = earlier if is_begun else [month for month in earlier if month == month_of(key.start - MONTH)]
        return _newest(store, key.symbol, months, stored, limit)
    if stored.empty and not refetch and month_of(key.start - MONTH) in earlier and _is_compared(store, settings, key):
        stored = store.read_frame(CANDLES, key.symbol, month_of(key.start - MONTH))
    is_recent = stored.index >= stored.index[-1:].max() - SETTLING_TIME
    return stored if refetch else stored.tail(int(is_recent.sum()) + 1)


def _newest(store: Store, symbol: str, months: list[str], bars: pd.DataFrame, limit: int) -> pd.DataFrame:
    """The newest bars up to `limit` of these months and of `bars`, which follow them."""
    parts = [bars] if len(bars) else []
    for month in reversed(months):
        if sum(map(len, parts)) >= limit:
            break
        parts.insert(0, store.read_frame(CANDLES, symbol, month))
    return pd.concat(parts).tail(limit) if parts else empty_candles()


def _is_compared(store: Store, settings: Settings, key: Key) -> bool:
    """Whether the month before is compared: its last bar may not be final, or it may be of another market."""
    is_live = settings.symbols[key.symbol].source.venue != ""
    return is_live or MARKET not in store.attributes(CANDLES, key.symbol, month_of(key.start - MONTH))


def keep_renewed(store: Store, settings: Settings, key: Key, renewed: pd.DataFrame, now: pd.Timestamp) -> None:
    """Store bars of earlier months that have other values now, and record what rests on the former values.

    renewed: the bars with their present values. Those of the month of `key` are stored with it.
    """
    if renewed.empty:
        return
    for month in sorted({*map(month_of, renewed.index)} - {key.period}):
        attributes = store.attributes(CANDLES, key.symbol, month)
        kept = {n: value for n, value in attributes.items() if n not in ("content_hash", "layout_version")}
        bars = store.read_frame(CANDLES, key.symbol, month).copy()
        rows = renewed.index.intersection(bars.index)
        bars.loc[rows] = renewed.loc[rows]
        store.write_frame(CANDLES, key.symbol, month, bars, kept)
    times = pd.DatetimeIndex(renewed.index)
    record_renewal(store, settings.symbols[key.symbol], key.symbol, times, now)
