"""Stored feature sets: which asset holds a set, how its months are computed, and its columns beside the features.

A set is defined in features/sets/feature_set.py. The months of all sets are computed in ingestion.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.features.indicators import WARMUP_BARS, compute_features
from quantum_training.features.sets.feature_set import DEFAULT, FeatureSet, FeatureSetError
from quantum_training.lifecycle.gaps import gaps
from quantum_training.lifecycle.records import FEATURES
from quantum_training.lifecycle.restatement import outdated_features
from quantum_training.lifecycle.stored_months import AFTER_GAP
from quantum_training.market.periods import month_of
from quantum_training.models.feature_set_hash import definition_hash
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings import Settings
from quantum_training.settings.schema import Symbol

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


def learns_from(settings: Settings, symbol: str, name: str) -> bool:
    """Does a recipe of the symbol learn from this set? All symbols have the default one."""
    return name == DEFAULT or name in settings.feature_sets(symbol)


def with_sets(
    store: Store, symbol: str, market: Symbol, features: pd.DataFrame, sets: Mapping[str, FeatureSet]
) -> pd.DataFrame:
    """Features with the stored columns of these sets beside them, NaN where a set is not stored or out of date.

    Nothing is imported for stored columns. A set without any whose module cannot be imported is left out, so that it
    stops no recipe that does not learn from it.
    """
    for name, feature_set in sets.items():
        first, last = (month_of(time) for time in features.index[[0, -1]]) if len(features) else ("", "")
        months = [m for m in usable_months(store, symbol, market, name, feature_set) if first <= m <= last]
        if months:
            values = pd.concat([store.read_frame(feature_asset(name), symbol, month) for month in months])
            features = features.join(values.reindex(features.index))
        else:
            with suppress(FeatureSetError):
                features = features.assign(**dict.fromkeys(feature_set.columns(name), np.nan))
    return features


def require_sets(
    store: Store, symbol: str, market: Symbol, sets: Mapping[str, FeatureSet], first: str, until: pd.Timestamp
) -> None:
    """StoreError if a set lacks a month from `first` on, or reaches less far than the features up to `until` do."""
    last = month_of(until - pd.Timedelta("1ns"))
    needed = [month for month in store.periods(FEATURES, symbol) if first <= month <= last]
    for name, feature_set in sets.items():
        usable = {*usable_months(store, symbol, market, name, feature_set)}
        lacking = [month for month in needed if month not in usable]
        if not lacking and needed:
            reached, whole = (
                pd.Timestamp(store.attributes(asset, symbol, needed[-1])["covered_until"])
                for asset in (feature_asset(name), FEATURES)
            )
            lacking = needed[-1:] if reached < min(whole, until) else []
        if lacking:
            span = lacking[0] if len(lacking) == 1 else f"{lacking[0]} to {lacking[-1]}"
            raise StoreError(
                f"{symbol}: {feature_asset(name)} is needed until {until}, but of {span} it is not stored, or was "
                f"computed by other code or settings of features.{name}; run the job market_data for these months first"
            )


def usable_months(store: Store, symbol: str, market: Symbol, name: str, feature_set: FeatureSet) -> list[str]:
    """The stored months of a set that its present code computed from the present candles."""
    asset, digest = feature_asset(name), definition_hash(feature_set)
    months = store.periods(asset, symbol)
    if not months:
        return []
    gap_months = {gap.month for gap in gaps(store, symbol, market.timeframe)}
    outdated = {*outdated_features(store, symbol, asset)}

    def is_usable(month: str) -> bool:
        attributes = store.attributes(asset, symbol, month)
        closed_gap = attributes.get(AFTER_GAP)
        return attributes.get(DEFINITION) == digest and (closed_gap is None or closed_gap in gap_months)

    return [month for month in months if month not in outdated and is_usable(month)]
