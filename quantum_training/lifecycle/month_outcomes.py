"""What becomes of a month that was not simply stored: refused, not listed yet, or waiting for an earlier one.

How a month is brought is ingestion.py, what a gap does to later readers gaps.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from quantum_training.lifecycle.gaps import (
    BEFORE_START,
    NOT_LISTED,
    OUT_OF_REACH,
    REFUSED,
    WITHOUT_BARS,
    MonthOutcome,
    month_outcome,
    record_outcome,
)
from quantum_training.lifecycle.ingestion import CandleMonth, is_before_start, judge_stored_month
from quantum_training.lifecycle.records import CANDLES, FEATURES
from quantum_training.lifecycle.restatement import outdated_features
from quantum_training.lifecycle.stored_months import AFTER_GAP
from quantum_training.market.periods import MONTH, Key
from quantum_training.market.quality import Defect
from quantum_training.market.timeframe import end_of_bars
from quantum_training.resources.faults import is_transient
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.sources import OutOfReachError, SourceError


def has_no_bars(store: Store, settings: Settings, key: Key) -> str | None:
    """The outcome of a month that has no bars and needs none; None for every other month."""
    if is_before_start(settings, key):
        return BEFORE_START
    outcome = month_outcome(store, key)
    return outcome.outcome if outcome and outcome.outcome in WITHOUT_BARS else None


def settle_unlisted(store: Store, refused: Mapping[Key, CandleMonth]) -> dict[Key, MonthOutcome]:
    """Those of the refused months that lie before the market's first bar: they are recorded as NOT_LISTED.

    They are empty, no earlier month is stored, and a later one is: so it was not the source that gave nothing.
    """
    unlisted = {}
    for key, month in refused.items():
        stored = store.periods(CANDLES, key.symbol)
        if stored and key.period < stored[0] and {error.rule for error in month.errors} == {"empty"}:
            unlisted[key] = record_outcome(store, key, NOT_LISTED, f"the first bars of the market are of {stored[0]}")
    return unlisted


def settle_unread(store: Store, settings: Settings, unread: Mapping[Key, Exception]) -> dict[Key, MonthOutcome]:
    """Those of the months that could not be read that need no bars: they are recorded as OUT_OF_REACH.

    They are older than what their source keeps, no earlier month is stored, and a later one is. A month before the
    newest stored one is recorded as refused if its error does not pass by itself: only what depends on it waits.
    """
    out_of_reach = {}
    for key, error in unread.items():
        stored = store.periods(CANDLES, key.symbol)
        if not isinstance(error, SourceError) or is_transient(error) or not stored or key.period >= stored[-1]:
            continue
        if isinstance(error, OutOfReachError) and key.period < stored[0]:
            reason = f"the source gives none before {error.oldest:%Y-%m-%d %H:%M} UTC"
            out_of_reach[key] = record_outcome(store, key, OUT_OF_REACH, reason)
        elif not _is_whole(store, key, settings.symbols[key.symbol].timeframe):
            record_outcome(store, key, REFUSED, str(error), [str(error)])
    return out_of_reach


def _is_whole(store: Store, key: Key, timeframe: str) -> bool:
    """Whether a month is stored up to its end."""
    covered = store.attributes(CANDLES, key.symbol, key.period).get("covered_until")
    return covered is not None and pd.Timestamp(covered) >= end_of_bars(key.start, key.start + MONTH, timeframe)


def judge_outcome(store: Store, settings: Settings, key: Key) -> list[Defect]:
    """The defects of a month: as it is stored, and those for which the newest attempt to bring it was refused."""
    outcome = month_outcome(store, key)
    if outcome and outcome.outcome == REFUSED:
        return [Defect("refused", "error", (), error) for error in outcome.errors]
    if outcome and outcome.outcome in WITHOUT_BARS:
        return [Defect(outcome.outcome, "warning", (), f"{key}: no bars: {outcome.reason}.")]
    return [] if is_before_start(settings, key) else judge_stored_month(store, settings, key)


def months_to_compute_again(store: Store, key: Key, asset: str = FEATURES) -> list[Key]:
    """Other months of the features, or of a feature set's asset, that have to be computed again: those computed while
    this month was missing, and those whose candles were restated."""
    later = [month for month in store.periods(asset, key.symbol) if month > key.period]
    waiting = {m for m in later if store.attributes(asset, key.symbol, m).get(AFTER_GAP) == key.period}
    outdated = {*outdated_features(store, key.symbol, asset)} - {key.period}
    return [Key(key.symbol, pd.Timestamp(month, tz="UTC")) for month in sorted(waiting | outdated)]


def why_no_features(store: Store, settings: Settings, key: Key) -> str | None:
    """Why the features of a month cannot be computed: its candles were refused, or they break a rule as stored."""
    if not store.attributes(CANDLES, key.symbol, key.period):
        outcome = month_outcome(store, key)
        return outcome.reason if outcome and outcome.outcome == REFUSED else None
    errors = [defect for defect in judge_stored_month(store, settings, key) if defect.severity == "error"]
    return errors[0].message if errors else None
