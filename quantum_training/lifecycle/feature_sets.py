"""Stored feature sets: how the months of a set are computed, its columns beside the features, and what of it is late.

A set is defined in features/sets/feature_set.py. The months of all sets are computed in ingestion.py. What is stored is
stored_sets.py, which bar of another symbol a row may know other_markets.py, what a rank is cross_section.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.features.indicators import WARMUP_BARS, compute_features
from quantum_training.features.sets.feature_set import DEFAULT, FeatureSet, FeatureSetError, named_after
from quantum_training.lifecycle.cross_section import different_days, members_lacking, ranked_columns
from quantum_training.lifecycle.other_markets import known_columns
from quantum_training.lifecycle.records import FEATURES
from quantum_training.lifecycle.series import publications
from quantum_training.lifecycle.series_columns import columns_known_before
from quantum_training.lifecycle.stored_months import NANOSECOND
from quantum_training.lifecycle.stored_sets import (
    DEFINITION,
    feature_asset,
    lacking_months,
    months_expected,
    stored_columns,
)
from quantum_training.market.periods import MONTH, month_of
from quantum_training.market.timeframe import DAY, close_times
from quantum_training.models.feature_set_hash import definition_hash
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings import Settings


class FeatureComputation(NamedTuple):
    """How the rows of a monthly asset come from candles. compute: takes candles and the first bar that is wanted.

    warmup_bars: bars before a row that it depends on. attributes: what is stored with each month.
    """

    asset: str
    warmup_bars: int
    compute: Callable[[pd.DataFrame, pd.Timestamp], pd.DataFrame]
    attributes: Mapping[str, str]


def computation(name: str, sets: Mapping[str, FeatureSet], timeframe: str) -> FeatureComputation:
    """How a set is computed of bars of a timeframe. FeatureSetError if it declares no warm-up."""
    if name == DEFAULT:
        return FeatureComputation(FEATURES, WARMUP_BARS, compute_features, {})
    chosen = sets[name]
    return FeatureComputation(
        feature_asset(name),
        chosen.warmup_bars(name, timeframe),
        partial(chosen.compute, name, timeframe=timeframe),
        {DEFINITION: definition_hash(chosen)},
    )


def is_stored_for(settings: Settings, symbol: str, name: str) -> bool:
    """Is this set computed from the bars of a symbol? All symbols have the default one."""
    if name == DEFAULT:
        return True
    read_from = settings.features[name].read_from
    return symbol in read_from if read_from else name in settings.feature_sets(symbol)


def with_sets(
    store: Store, settings: Settings, symbol: str, features: pd.DataFrame, sets: Mapping[str, FeatureSet]
) -> pd.DataFrame:
    """Features with the stored columns of these sets beside them, NaN where a set is not stored or out of date.

    Nothing is imported for stored columns. A set without any whose module cannot be imported is left out, so that it
    stops no recipe that does not learn from it.
    """
    opened = pd.DatetimeIndex(features.index)
    closed = close_times(opened, settings.symbols[symbol].timeframe)
    for name, feature_set in sets.items():
        whole = True
        if feature_set.within and len(features):
            ranks = ranked_columns(store, settings, symbol, name, opened)
            features, whole = features.join(ranks), len(ranks.columns) > 0
        for owner in feature_set.read_from or (symbol,) if len(features) and not feature_set.within else ():
            stored = stored_columns(store, settings, owner, name, opened[0], closed[-1])
            if feature_set.read_from and stored.covered:
                values = (
                    columns_known_before(settings, owner, stored, closed, publications(store, owner, closed[-1]))
                    if feature_set.series
                    else known_columns(settings, owner, stored, closed)
                )
                columns = named_after(owner, stored.columns).columns
                features = features.join(pd.DataFrame(values, opened, columns))
            elif stored.covered:
                features = features.join(stored.columns.reindex(opened))
            whole = whole and bool(stored.covered)
        if not whole or features.empty:
            with suppress(FeatureSetError):
                absent = [column for column in feature_set.columns(name) if column not in features]
                features = features.assign(**dict.fromkeys(absent, np.nan))
    return features


def require_sets(
    store: Store, settings: Settings, symbol: str, sets: Mapping[str, FeatureSet], first: str, until: pd.Timestamp
) -> None:
    """StoreError if a set lacks a month from `first` on, or reaches less far than the features up to `until` do.

    A set of other symbols must reach as far as their bars do that are closed at `until`, unless it may be late.
    """
    for sentence in late_sets(store, settings, symbol, sets, first, until):
        raise StoreError(f"{symbol}: {sentence}")


def late_sets(
    store: Store, settings: Settings, symbol: str, sets: Mapping[str, FeatureSet], first: str, until: pd.Timestamp
) -> Iterator[str]:
    """What is missing of the months of these sets from `first` to `until`, in sentences."""
    first = max([first, *store.periods(FEATURES, symbol)[:1]])  # no row needs a month before the symbol's first one
    for name, feature_set in sets.items():
        if feature_set.within and (different := different_days(store, settings, feature_set.of)):
            yield different
        if feature_set.read_from and feature_set.late == "missing":
            continue
        for owner, lacking in _lacking(store, settings, symbol, name, first, until):
            span = lacking[0] if len(lacking) == 1 else f"{lacking[0]} to {lacking[-1]}"
            asset = f"{feature_asset(name)} of {owner}" if feature_set.read_from else feature_asset(name)
            yield (
                f"{asset} is needed until {until}, but of {span} it is not stored to its end, or was computed by "
                f"other code, settings of features.{name} or values; {_remedy(settings, feature_set, owner, until)}"
            )


def _lacking(
    store: Store, settings: Settings, symbol: str, name: str, first: str, until: pd.Timestamp
) -> Iterator[tuple[str, list[str]]]:
    """The months that a set lacks, by the symbol or series that it is computed from."""
    feature_set = settings.features[name]
    if feature_set.within:
        yield from members_lacking(store, settings, name, first, until).items()
        return
    for owner in feature_set.read_from or (symbol,):
        if feature_set.series:
            needed = _months_of_series(settings, first, until)
        elif feature_set.of:
            needed = months_expected(store, settings, owner, first, until)
        else:
            needed = _months_of_features(store, symbol, first, until)
        if lacking := lacking_months(store, settings, owner, name, needed):
            yield owner, lacking


def _remedy(settings: Settings, feature_set: FeatureSet, owner: str, until: pd.Timestamp) -> str:
    last_day = settings.last_day(owner) if owner in settings.symbols else None
    if last_day and pd.Timestamp(last_day, tz="UTC") + DAY < until and not feature_set.within:
        return f"the data of {owner} end on {last_day}: set late: missing, or take the set out of the recipe"
    return f"run the job {'series_data' if feature_set.series else 'market_data'} of {owner} for these months first"


def _months_of_features(store: Store, symbol: str, first: str, until: pd.Timestamp) -> dict[str, pd.Timestamp]:
    """The months of the symbol's features, and up to when a set must reach in each: as far as they do."""
    last = month_of(until - NANOSECOND)
    months = [month for month in store.periods(FEATURES, symbol) if first <= month <= last]
    reach = {month: pd.Timestamp(store.attributes(FEATURES, symbol, month)["covered_until"]) for month in months}
    return {month: min(until, covered) for month, covered in reach.items()}


def _months_of_series(settings: Settings, first: str, until: pd.Timestamp) -> dict[str, pd.Timestamp]:
    """All months since the first partition: that a value did not change in a month must be known, too."""
    begin = pd.Timestamp(settings.start, tz="UTC") + pd.offsets.MonthBegin(0)
    last = month_of(until - NANOSECOND)
    months = pd.date_range(min(max(first, month_of(begin)), last), last, freq="MS", tz="UTC")
    return {month_of(month): min(until, month + MONTH) for month in months}
