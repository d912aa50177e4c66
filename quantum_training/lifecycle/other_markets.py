"""Columns of feature sets that are computed from another symbol's bars, as they were known at the close of each bar.

A set with `of` is stored for the symbols that it names, once for all that read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.features.sets.expansion import known_rows
from quantum_training.features.sets.feature_set import FeatureSet
from quantum_training.lifecycle.fetching import ON_TIME, recorded_begin
from quantum_training.lifecycle.records import CANDLES
from quantum_training.market.calendars import LONGEST_CLOSURE, expected_open_times
from quantum_training.market.periods import MONTH
from quantum_training.market.timeframe import close_times
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.settings.schema import Recipe


class StoredColumns(NamedTuple):
    """Stored columns of a symbol. covered: for each month that may be used, up to when it is complete. late: how much
    after their nominal end its daily bars are complete, as days begin at that time."""

    columns: pd.DataFrame
    covered: Mapping[str, pd.Timestamp]
    late: pd.Timedelta = ON_TIME


def other_symbols(sets: Mapping[str, FeatureSet]) -> list[str]:
    """The symbols of whose bars these sets are computed instead of a recipe's own."""
    return [*dict.fromkeys(symbol for feature_set in sets.values() for symbol in feature_set.of)]


def symbols_read_by(settings: Settings, recipe: Recipe) -> list[str]:
    """The symbols whose bars a recipe reads beside a symbol's own, for its features and its label."""
    of_labels = (symbol for name in recipe.label_universes for symbol in settings.universes[name].symbols)
    return [*dict.fromkeys((*other_symbols(recipe.used_sets), *of_labels))]


def symbols_read(settings: Settings, symbols: Iterable[str]) -> list[str]:
    """The symbols whose bars the recipes of these symbols read beside their own."""
    recipes = dict.fromkeys(recipe for symbol in symbols for recipe in settings.symbols[symbol].recipes)
    return [
        *dict.fromkeys(other for recipe in recipes for other in symbols_read_by(settings, settings.recipes[recipe]))
    ]


def lateness(store: Store, symbol: str) -> pd.Timedelta:
    """How much after their date the daily bars of a symbol begin, as its newest month of candles has it; 0 at least."""
    months = store.periods(CANDLES, symbol)
    return max(recorded_begin(store.attributes(CANDLES, symbol, months[-1])), ON_TIME) if months else ON_TIME


def newest_expected_bar(
    settings: Settings, symbol: str, closed: pd.Timestamp, late: pd.Timedelta = ON_TIME
) -> pd.Timestamp | None:
    """Open time of a symbol's newest bar that is closed at a time, by its calendar; None before its first day.

    late: see StoredColumns.
    """
    closed = closed - late
    opened = _expected_bars(settings, symbol, closed, closed)
    is_closed = close_times(opened, settings.symbols[symbol].timeframe) <= closed
    return opened[is_closed][-1] if is_closed.any() else None


def known_columns(settings: Settings, symbol: str, stored: StoredColumns, closed: pd.DatetimeIndex) -> np.ndarray:
    """For each time in `closed`, the stored columns of the symbol's newest bar that is closed then.

    NaN where that bar, by the symbol's calendar, is not stored yet or lies in a month that may not be used: an older
    row never takes its place. A bar without a trade, which a source leaves out, has that of the bar before it.
    """
    timeframe, closed = settings.symbols[symbol].timeframe, closed - stored.late
    expected = _expected_bars(settings, symbol, closed[0], closed[-1])
    closes = close_times(expected, timeframe)
    is_stored = np.zeros(len(expected) + 1, dtype=bool)  # the last one: no bar at all
    for month, until in stored.covered.items():
        start = pd.Timestamp(month, tz="UTC")
        first, end = expected.searchsorted([start, start + MONTH])
        is_stored[first:end] = closes[first:end] <= until
    newest = closes.searchsorted(closed, side="right") - 1
    rows = known_rows(stored.columns.to_numpy(), pd.DatetimeIndex(stored.columns.index), timeframe, closed)
    rows[~is_stored[newest]] = np.nan
    return rows


def _expected_bars(settings: Settings, symbol: str, first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
    """The bars of a symbol from the newest that is closed at `first` on, up to `last`; none before its first day."""
    market = settings.symbols[symbol]
    start = max(first - LONGEST_CLOSURE, market.first_day(settings.start))
    return expected_open_times(market.calendar, market.timeframe, start, max(start, last))
