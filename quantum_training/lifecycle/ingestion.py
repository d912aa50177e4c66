"""Bringing a month of market data into the store: fetch candles, judge them, store them, compute their features.

What a valid candle is lives in market.quality, what a feature is in features.indicators and the
modules of feature sets.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import pandas as pd

from quantum_training.features.sets.feature_set import DEFAULT
from quantum_training.lifecycle.data_end import data_end
from quantum_training.lifecycle.feature_sets import computation
from quantum_training.lifecycle.fetching import ON_TIME, begins, changed_unit, fetch_bars, moved_day, recorded_begin
from quantum_training.lifecycle.gaps import REFUSED, STORED, gaps, record_outcome
from quantum_training.lifecycle.market_history import first_month_needed
from quantum_training.lifecycle.market_identity import MARKET, OtherMarketError, mismatch, recorded_form
from quantum_training.lifecycle.records import CANDLES, SHADOW_SCORES, model_asset
from quantum_training.lifecycle.restated_history import restate
from quantum_training.lifecycle.restatement import is_interrupted, restated_at
from quantum_training.lifecycle.revised_bars import bars_to_compare, keep_renewed
from quantum_training.lifecycle.series_columns import set_of_series
from quantum_training.lifecycle.stored_months import AFTER_GAP, read_bars
from quantum_training.lifecycle.stored_sets import DEFINITION, feature_asset
from quantum_training.market.calendar_settings import ALWAYS_OPEN
from quantum_training.market.notes import Notes
from quantum_training.market.periods import MONTH, Key, MarketPeriod, month_of
from quantum_training.market.quality import Defect, assess
from quantum_training.market.revision import compare, complete, same_bars, updated
from quantum_training.market.revision_policy import REVISED, settle
from quantum_training.market.schema import SCHEMA_VERSION, empty_candles
from quantum_training.market.timeframe import closed_by, end_of_bars
from quantum_training.models.feature_set_hash import definition_hash
from quantum_training.resources.store.store import Store, Written
from quantum_training.settings import Settings
from quantum_training.sources import SourceError

CONTEXT_BARS = 200
_NO_BARS = empty_candles()


class CandleMonth(NamedTuple):
    """A month's bars, the time up to which they are complete, their defects, and the stored file.

    A month without a file was refused if it has errors, else it lies before the symbol's `start`. market: what is
    recorded of which market they are; None for bars of a build that did not record it. notes: what the source says of
    the bars, as how many rows it dropped; their defects are among the defects. renewed: stored bars that have other
    values now.
    """

    bars: pd.DataFrame
    covered_until: pd.Timestamp
    defects: list[Defect]
    market: str | None = None
    written: Written | None = None
    notes: Notes = Notes()
    renewed: pd.DataFrame = _NO_BARS

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

    refetch: fetch the whole month again instead of the bars that are missing. If the source has changed its history and
    the settings say so, all stored months are restated first. Raises as `fetch_month` does.
    """
    if is_before_start(settings, key):
        return CandleMonth(empty_candles(), key.start + MONTH, [])

    def restated() -> Defect:
        return restate(store, settings, key.symbol, now, judge_month)

    before = [restated()] if is_interrupted(store, key.symbol) else []
    month = fetch_month(store, settings, key, now, refetch)
    is_revised = any(error.rule == REVISED for error in month.errors)
    if is_revised and settings.symbols[key.symbol].revision_policy == "restate":
        before = [restated()]
        if before[0].severity == "warning":
            month = fetch_month(store, settings, key, now, refetch)
            month = month._replace(defects=[defect for defect in month.defects if defect.rule != REVISED])
    month = month._replace(defects=[*before, *month.defects])
    if month.errors:
        record_outcome(store, key, REFUSED, month.errors[0].message, [error.message for error in month.errors])
        return month
    attributes = {"covered_until": month.covered_until.isoformat(), "schema": SCHEMA_VERSION, **month.acceptances}
    attributes |= month.notes.attributes
    attributes |= {MARKET: month.market} if month.market else {}
    month = month._replace(written=store.write_frame("candles", key.symbol, key.period, month.bars, attributes))
    keep_renewed(store, settings, key, month.renewed, now)
    record_outcome(store, key, STORED)
    return month


def fetch_month(store: Store, settings: Settings, key: Key, now: pd.Timestamp, refetch: bool = False) -> CandleMonth:
    """Complete the stored bars of a month from the source and judge them. Nothing is stored.

    Raises SourceError if the source cannot be read or has no bar of the month yet, and OtherMarketError if the stored
    bars are of another market than the settings say.
    """
    symbol = settings.symbols[key.symbol]
    other_market = _other_market(store, settings, key)
    if other_market and (not refetch or not store.attributes(CANDLES, key.symbol, key.period)):
        raise OtherMarketError(key.symbol, other_market)
    until = _end_of_bars(settings, key, now)
    previous = bars_before(store, key)
    attributes = {} if refetch else store.attributes("candles", key.symbol, key.period)
    stored = store.read_frame("candles", key.symbol, key.period) if attributes else empty_candles()
    if attributes and pd.Timestamp(attributes["covered_until"]) >= until:
        until = pd.Timestamp(attributes["covered_until"])
        notes = Notes.stored(attributes)
        defects = [*notes.defects, *judge_month(settings, key, stored, until, previous)]
        return CandleMonth(stored, until, defects, attributes.get(MARKET), notes=notes)
    overlap = _NO_BARS if other_market else bars_to_compare(store, settings, key, stored, now, refetch=refetch)
    first = first_instant(settings, key)
    since = overlap.index[0] if len(stored) else min([first, *overlap.index[:1]])
    before = attributes or store.attributes(CANDLES, key.symbol, month_of(key.start - MONTH))
    recorded, end = recorded_begin(before) if before else None, min(until, key.start + MONTH)
    fetched, late, notes = fetch_bars(settings, key.symbol, since, end, now, recorded or ON_TIME)
    fetched = closed_by(fetched, until, symbol.timeframe)
    until = _end_of_bars(settings, key, now, late if symbol.calendar == ALWAYS_OPEN else ON_TIME)
    if other_market:
        _assert_replaceable(store, settings, key, fetched, other_market)
    settled = settle(key.symbol, compare(overlap, fetched), symbol.revision_policy, key.start)
    bars = complete(updated(stored, settled.bars[settled.bars.index >= key.start]), fetched[fetched.index >= first])
    previous = updated(previous, settled.bars[settled.bars.index < key.start])
    changed = changed_unit(key.symbol, before, notes) if before else []
    if recorded is not None and not other_market:
        changed += moved_day(symbol, key.symbol, recorded, late, fetched)
    defects = [*notes.defects, *settled.defects, *changed, *judge_month(settings, key, bars, until, previous)]
    renewed = settled.bars.loc[settled.renewed]
    notes = notes.with_facts({**begins(symbol, late, bars), **({"renewed_bars": len(renewed)} if len(renewed) else {})})
    return CandleMonth(bars, until, defects, recorded_form(symbol), notes=notes, renewed=renewed)


def _end_of_bars(settings: Settings, key: Key, now: pd.Timestamp, late: pd.Timedelta = ON_TIME) -> pd.Timestamp:
    """Up to when the source has bars of a month, at most the close of the last that opens in it.

    late: how much later than their date its daily bars are stamped. SourceError if it has none of the month yet.
    """
    end = end_of_bars(key.start, key.start + MONTH, settings.symbols[key.symbol].timeframe)
    until = min(end, now, data_end(settings, key.symbol, now) - late)
    if until <= key.start:
        remedy = f"Ask for months up to {month_of(until)}"
        raise SourceError(key.symbol, settings.symbols[key.symbol].source.kind, f"its data end at {until}", remedy)
    return until


def _other_market(store: Store, settings: Settings, key: Key) -> str:
    """How the market that is recorded with the month, the one before or the newest differs from the settings'."""
    stored = store.periods(CANDLES, key.symbol)
    months = {key.period, month_of(key.start - MONTH), *stored[-1:]} & {*stored}
    recorded = {month: store.attributes(CANDLES, key.symbol, month).get(MARKET) for month in months}
    return mismatch(settings.symbols[key.symbol], CANDLES, recorded)


def _assert_replaceable(store: Store, settings: Settings, key: Key, fetched: pd.DataFrame, other_market: str) -> None:
    """OtherMarketError if versions or scores rest on the stored month, and other bars are to replace it."""
    models = [model_asset(recipe) for recipe in settings.symbols[key.symbol].recipes]
    is_used = store.periods(SHADOW_SCORES, key.symbol) or any(store.periods(m, key.symbol, "json") for m in models)
    if is_used and not same_bars(store.read_frame(CANDLES, key.symbol, key.period), fetched):
        raise OtherMarketError(
            key.symbol,
            f"{other_market}, and the bars of {key.period[:7]} are not those that were trained and scored on",
            "Set the former settings again, or give this market another symbol name: a record of one market is no "
            "evidence about another",
        )


def is_before_start(settings: Settings, key: Key) -> bool:
    """Whether a month lies before the first day that the settings name for the symbol."""
    return first_instant(settings, key) >= key.start + MONTH


def first_instant(settings: Settings, key: Key) -> pd.Timestamp:
    """The start of a month, or the symbol's first day if that is later."""
    return max(key.start, settings.symbols[key.symbol].first_day(settings.start))


def judge_stored_month(store: Store, settings: Settings, key: Key) -> list[Defect]:
    """The defects of a month's candles as they are stored."""
    attributes = store.attributes("candles", key.symbol, key.period)
    bars = store.read_frame("candles", key.symbol, key.period)
    until = pd.Timestamp(attributes["covered_until"])
    return [*Notes.stored(attributes).defects, *judge_month(settings, key, bars, until, bars_before(store, key))]


def judge_month(
    settings: Settings, key: Key, bars: pd.DataFrame, until: pd.Timestamp, previous: pd.DataFrame
) -> list[Defect]:
    """The defects of a month's bars up to `until`, given the bars before the month."""
    symbol = settings.symbols[key.symbol]
    period = MarketPeriod(
        key.symbol,
        symbol.timeframe,
        symbol.calendar,
        first_instant(settings, key),
        until,
        symbol.source.leaves_out_untraded_bars,
        symbol.source.fills_untraded_bars,
    )
    limits = symbol.quality.over(settings.quality)
    return assess(bars, period, previous if len(previous) else None, limits, symbol.accepted_bars)


def bars_before(store: Store, key: Key) -> pd.DataFrame:
    """The last 200 stored bars of the month before; an empty frame if that month is not stored."""
    before = month_of(key.start - MONTH)
    if not store.attributes("candles", key.symbol, before):
        return empty_candles()
    return store.read_frame("candles", key.symbol, before).tail(CONTEXT_BARS)


def compute_month_features(store: Store, settings: Settings, key: Key, name: str = DEFAULT) -> FeatureMonth:
    """Compute and store the features of a month's stored candles, with the bars before the month as warm-up.

    name: of the feature set. After a gap the warm-up begins anew. Raises StoreError if the candles of the month, or of
    a month between it and the warm-up, are neither stored nor in a gap; and what a set raises.
    """
    if name != DEFAULT and settings.features[name].series:
        return _compute_month_of_series(store, settings, key, name)
    attributes = store.attributes("candles", key.symbol, key.period)
    until = pd.Timestamp(attributes["covered_until"]) if attributes else key.start + MONTH
    market = settings.symbols[key.symbol]
    made_by = computation(name, settings.features, market.timeframe)
    first = first_month_needed(market, key.start, made_by.warmup_bars)
    features = made_by.compute(read_bars(store, "candles", key.symbol, first, until, market), key.start)
    recorded = {MARKET: attributes[MARKET]} if MARKET in attributes else {}
    attributes = {"covered_until": until.isoformat(), "candles": attributes["content_hash"], **recorded}
    before = [gap.month for gap in gaps(store, key.symbol, market.timeframe) if first <= gap.month < key.period]
    attributes |= {AFTER_GAP: before[-1]} if before else {}
    attributes |= {**restated_at(store, key.symbol, key.period), **made_by.attributes}
    written = store.write_frame(made_by.asset, key.symbol, key.period, features, attributes)
    return FeatureMonth(features, until, written)


def _compute_month_of_series(store: Store, settings: Settings, key: Key, name: str) -> FeatureMonth:
    features, attributes = set_of_series(store, settings, key, name)
    attributes |= {DEFINITION: definition_hash(settings.features[name])}
    written = store.write_frame(feature_asset(name), key.symbol, key.period, features, attributes)
    return FeatureMonth(features, pd.Timestamp(attributes["covered_until"]), written)
