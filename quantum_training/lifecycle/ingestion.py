"""Bringing a month of market data into the store: fetch candles, judge them, store them, compute their features.

What a valid candle is lives in market.quality, what a feature is in features.indicators.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import pandas as pd

from quantum_training.features.indicators import WARMUP_BARS, compute_features
from quantum_training.lifecycle.data_end import data_end
from quantum_training.lifecycle.market_history import first_month_needed, read_bars
from quantum_training.market.periods import MONTH, Key, MarketPeriod, month_of
from quantum_training.market.quality import Defect, assess
from quantum_training.market.revision import complete, revised
from quantum_training.market.schema import SCHEMA_VERSION, empty_candles
from quantum_training.resources.store.store import Store, Written
from quantum_training.settings import Settings
from quantum_training.sources import SourceError

CONTEXT_BARS = 200


class CandleMonth(NamedTuple):
    """A month's bars, the time up to which they are complete, their defects, and the stored file (None: refused)."""

    bars: pd.DataFrame
    covered_until: pd.Timestamp
    defects: list[Defect]
    written: Written | None = None

    @property
    def errors(self) -> list[Defect]:
        """The defects for which the month is refused; the others are warnings."""
        return [defect for defect in self.defects if defect.severity == "error"]

    @property
    def acceptances(self) -> dict[str, str]:
        """Attribute of the stored file: what a person has accepted of the month; none if nothing."""
        used = dict.fromkeys(acceptance for defect in self.defects for acceptance in defect.acceptances)
        if not used:
            return {}
        return {
            "accepted_bars": json.dumps([a.model_dump(mode="json", by_alias=True, exclude_none=True) for a in used])
        }


class FeatureMonth(NamedTuple):
    """A month's features, the time up to which they reach, and the stored file."""

    features: pd.DataFrame
    covered_until: pd.Timestamp
    written: Written


def ingest_month(store: Store, settings: Settings, key: Key, now: pd.Timestamp, refetch: bool = False) -> CandleMonth:
    """Fetch, judge and store the candles of a month. A month with errors is not stored: `written` is None.

    refetch: fetch the whole month again instead of the bars that are missing. Raises as `fetch_month` does.
    """
    month = fetch_month(store, settings, key, now, refetch)
    if month.errors:
        return month
    attributes = {"covered_until": month.covered_until.isoformat(), "schema": SCHEMA_VERSION, **month.acceptances}
    return month._replace(written=store.write_frame("candles", key.symbol, key.period, month.bars, attributes))


def fetch_month(store: Store, settings: Settings, key: Key, now: pd.Timestamp, refetch: bool = False) -> CandleMonth:
    """Complete the stored bars of a month from the source and judge them. Nothing is stored.

    Raises SourceError if the source cannot be read or has no bar of the month yet.
    """
    symbol = settings.symbols[key.symbol]
    source = symbol.source
    until = min(key.start + MONTH, data_end(settings, key.symbol, now))
    if until <= key.start:
        remedy = f"Ask for months up to {month_of(until)}"
        raise SourceError(key.symbol, type(source).__module__.rpartition(".")[2], f"its data end at {until}", remedy)
    previous = bars_before(store, key)
    attributes = {} if refetch else store.attributes("candles", key.symbol, key.period)
    stored = store.read_frame("candles", key.symbol, key.period) if attributes else empty_candles()
    if attributes and pd.Timestamp(attributes["covered_until"]) >= until:
        until = pd.Timestamp(attributes["covered_until"])
        return CandleMonth(stored, until, judge_month(settings, key, stored, until, previous))
    overlap = stored if len(stored) else previous if source.revises_history and not refetch else stored
    since = overlap.index[-1] if len(overlap) else key.start
    fetched = source.fetch(key.symbol, symbol.timeframe, since, until, now)
    defects = revised(key.symbol, overlap, fetched)
    bars = complete(stored, fetched[fetched.index >= key.start])
    return CandleMonth(bars, until, defects + judge_month(settings, key, bars, until, previous))


def judge_stored_month(store: Store, settings: Settings, key: Key) -> list[Defect]:
    """The defects of a month's candles as they are stored."""
    until = pd.Timestamp(store.attributes("candles", key.symbol, key.period)["covered_until"])
    bars = store.read_frame("candles", key.symbol, key.period)
    return judge_month(settings, key, bars, until, bars_before(store, key))


def judge_month(
    settings: Settings, key: Key, bars: pd.DataFrame, until: pd.Timestamp, previous: pd.DataFrame
) -> list[Defect]:
    """The defects of a month's bars up to `until`, given the bars before the month."""
    symbol = settings.symbols[key.symbol]
    period = MarketPeriod(key.symbol, symbol.timeframe, symbol.calendar, key.start, until)
    limits = symbol.quality.over(settings.quality)
    return assess(bars, period, previous if len(previous) else None, limits, symbol.accepted_bars)


def bars_before(store: Store, key: Key) -> pd.DataFrame:
    """The last 200 stored bars of the month before; an empty frame if that month is not stored."""
    before = month_of(key.start - MONTH)
    if not store.attributes("candles", key.symbol, before):
        return empty_candles()
    return store.read_frame("candles", key.symbol, before).tail(CONTEXT_BARS)


def compute_month_features(store: Store, settings: Settings, key: Key) -> FeatureMonth:
    """Compute and store the features of a month's stored candles, with the bars before the month as warm-up.

    Raises StoreError if the candles of the month, or of a month between it and the warm-up, are not stored.
    """
    attributes = store.attributes("candles", key.symbol, key.period)
    until = pd.Timestamp(attributes["covered_until"]) if attributes else key.start + MONTH
    first = first_month_needed(settings.symbols[key.symbol], key.start, WARMUP_BARS)
    features = compute_features(read_bars(store, "candles", key.symbol, first, until), key.start)
    attributes = {"covered_until": until.isoformat(), "candles": attributes["content_hash"]}
    written = store.write_frame("features", key.symbol, key.period, features, attributes)
    return FeatureMonth(features, until, written)
