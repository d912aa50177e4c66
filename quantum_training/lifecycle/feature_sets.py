"""Stored feature sets: which asset holds a set, how its months are computed, and its columns beside the features.

A set is defined in features/sets/feature_set.py. The months of all sets are computed in ingestion.py. Which bar of
another symbol a row may know is in other_markets.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.features.indicators import WARMUP_BARS, compute_features
from quantum_training.features.sets.feature_set import DEFAULT, FeatureSet, FeatureSetError, named_after
from quantum_training.lifecycle.fetching import ON_TIME
from quantum_training.lifecycle.gaps import absent_months, gaps
from quantum_training.lifecycle.market_identity import require_market
from quantum_training.lifecycle.other_markets import StoredColumns, known_columns, lateness, newest_expected_bar
from quantum_training.lifecycle.records import CANDLES, FEATURES
from quantum_training.lifecycle.restatement import outdated_features
from quantum_training.lifecycle.series import publications
from quantum_training.lifecycle.series_columns import columns_known_before, is_current
from quantum_training.lifecycle.stored_months import AFTER_GAP, NANOSECOND
from quantum_training.market.periods import MONTH, month_of
from quantum_training.market.timeframe import DAY, close_times, to_timedelta
from quantum_training.models.feature_set_hash import definition_hash
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings import Settings

DEFINITION = "feature_set"
"""Attribute of a month of a set: the hash of its settings and code. After an update of a library what is stored stays
in use, and the check `causal` compares it."""


class FeatureComputation(NamedTuple):
    """How the rows of a monthly asset come from candles. compute: takes candles and the first bar that is wanted.

    warmup_bars: bars before a row that it depends on. attributes: what is stored with each month.
    """

    asset: str
    warmup_bars: int
    compute: Callable[[pd.DataFrame, pd.Timestamp], pd.DataFrame]
    attributes: Mapping[str, str]


def feature_asset(name: str) -> str:
    """The asset that holds a set; `features` for the default one."""
    return FEATURES if name == DEFAULT else f"{FEATURES}_{name}"


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
        for owner in feature_set.read_from or (symbol,) if len(features) else ():
            stored = _stored_columns(store, settings, owner, name, opened[0], closed[-1])
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
        if feature_set.read_from and feature_set.late == "missing":
            continue
        for owner in feature_set.read_from or (symbol,):
            if feature_set.series:
                needed = _months_of_series(settings, first, until)
            elif feature_set.of:
                needed = _months_expected(store, settings, owner, first, until)
            else:
                needed = _months_of_features(store, symbol, first, until)
            if lacking := _lacking(store, settings, owner, name, needed):
                span = lacking[0] if len(lacking) == 1 else f"{lacking[0]} to {lacking[-1]}"
                asset = f"{feature_asset(name)} of {owner}" if feature_set.read_from else feature_asset(name)
                job = "series_data" if feature_set.series else "market_data"
                yield (
                    f"{asset} is needed until {until}, but of {span} it is not stored to its end, or was computed by "
                    f"other code, settings of features.{name} or values; {_remedy(settings, owner, until, job)}"
                )


def _remedy(settings: Settings, owner: str, until: pd.Timestamp, job: str) -> str:
    last_day = settings.last_day(owner) if owner in settings.symbols else None
    if last_day and pd.Timestamp(last_day, tz="UTC") + DAY < until:
        return f"the data of {owner} end on {last_day}: set late: missing, or take the set out of the recipe"
    return f"run the job {job} of {owner} for these months first"


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


def _months_expected(
    store: Store, settings: Settings, other: str, first: str, until: pd.Timestamp
) -> dict[str, pd.Timestamp]:
    """The months of another symbol's bars that are closed at `until`, without those that it has no bars of, and up to
    when a set must reach in each."""
    market, newest = settings.symbols[other], newest_expected_bar(settings, other, until, lateness(store, other))
    if newest is None:
        return {}
    last, begin = month_of(newest), month_of(market.first_day(settings.start))
    first = max(min(first, last), begin)
    gap_months = {gap.month for gap in gaps(store, other, market.timeframe)}
    stored = [month for month in store.periods(CANDLES, other) if first <= month <= last]
    months = sorted({*stored, *absent_months(store, other, first, last)} - gap_months)
    reach = {month: pd.Timestamp(store.attributes(CANDLES, other, month)["covered_until"]) for month in stored}
    return {
        month: reach.get(month, until) if month < last else newest + to_timedelta(market.timeframe) for month in months
    }


def _lacking(store: Store, settings: Settings, owner: str, name: str, needed: Mapping[str, pd.Timestamp]) -> list[str]:
    """Those of the months that a set of a symbol or series lacks. needed: up to when it must reach, by month."""
    usable = {*_usable(store, settings, owner, name, [*needed])}

    def reaches(month: str) -> pd.Timestamp:
        return pd.Timestamp(store.attributes(feature_asset(name), owner, month)["covered_until"])

    return [month for month, until in needed.items() if month not in usable or reaches(month) < until]


def _stored_columns(
    store: Store, settings: Settings, owner: str, name: str, first: pd.Timestamp, last: pd.Timestamp
) -> StoredColumns:
    """What is stored of a set of the symbol `owner` in the months from that before `first` to that of `last`."""
    asset = feature_asset(name)
    near = [m for m in store.periods(asset, owner) if month_of(first - MONTH) <= m <= month_of(last)]
    months = _usable(store, settings, owner, name, near)
    if not months:
        return StoredColumns(pd.DataFrame(index=pd.DatetimeIndex([], tz="UTC")), {})
    attributes = {month: store.attributes(asset, owner, month) for month in months}
    if owner in settings.symbols:
        require_market(owner, settings.symbols[owner], asset, attributes)
    columns = pd.concat([store.read_frame(asset, owner, month) for month in months])
    covered = {month: pd.Timestamp(of["covered_until"]) for month, of in attributes.items()}
    return StoredColumns(columns, covered, lateness(store, owner) if settings.features[name].of else ON_TIME)


def _usable(store: Store, settings: Settings, owner: str, name: str, months: Sequence[str]) -> list[str]:
    """Those of the months that the present code of a set computed from what is stored of a symbol or series."""
    asset, digest = feature_asset(name), definition_hash(settings.features[name])
    attributes = {month: of for month in months if (of := store.attributes(asset, owner, month))}
    present = [month for month, of in attributes.items() if of.get(DEFINITION) == digest]
    if not present:
        return []
    if settings.features[name].series:
        rows = publications(store, owner, pd.Timestamp(present[-1], tz="UTC") + MONTH)
        return [month for month in present if is_current(rows, attributes[month])]
    gap_months = {gap.month for gap in gaps(store, owner, settings.symbols[owner].timeframe)}
    outdated = {*outdated_features(store, owner, asset)}

    def follows_its_gaps(month: str) -> bool:
        closed_gap = attributes[month].get(AFTER_GAP)
        return closed_gap is None or closed_gap in gap_months

    return [month for month in present if month not in outdated and follows_its_gaps(month)]
