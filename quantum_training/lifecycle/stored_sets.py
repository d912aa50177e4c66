"""What is stored of feature sets: the columns of a symbol or series, which months of them may be used, and up to when
they must reach.

How a set is computed, and its columns beside the features, is feature_sets.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from quantum_training.features.sets.feature_set import DEFAULT
from quantum_training.lifecycle.fetching import ON_TIME
from quantum_training.lifecycle.gaps import absent_months, gaps
from quantum_training.lifecycle.market_identity import require_market
from quantum_training.lifecycle.other_markets import StoredColumns, lateness, newest_expected_bar
from quantum_training.lifecycle.records import CANDLES, FEATURES
from quantum_training.lifecycle.restatement import outdated_features
from quantum_training.lifecycle.series import publications
from quantum_training.lifecycle.series_columns import is_current
from quantum_training.lifecycle.stored_months import AFTER_GAP
from quantum_training.market.periods import MONTH, month_of
from quantum_training.market.timeframe import to_timedelta
from quantum_training.models.feature_set_hash import definition_hash
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings

DEFINITION = "feature_set"
"""Attribute of a month of a set: the hash of its settings and code. After an update of a library what is stored stays
in use, and the check `causal` compares it."""


def feature_asset(name: str) -> str:
    """The asset that holds a set; `features` for the default one."""
    return FEATURES if name == DEFAULT else f"{FEATURES}_{name}"


def months_expected(
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


def lacking_months(
    store: Store, settings: Settings, owner: str, name: str, needed: Mapping[str, pd.Timestamp]
) -> list[str]:
    """Those of the months that a set of a symbol or series lacks. needed: up to when it must reach, by month."""
    usable = {*usable_months(store, settings, owner, name, [*needed])}

    def reaches(month: str) -> pd.Timestamp:
        return pd.Timestamp(store.attributes(feature_asset(name), owner, month)["covered_until"])

    return [month for month, until in needed.items() if month not in usable or reaches(month) < until]


def stored_columns(
    store: Store, settings: Settings, owner: str, name: str, first: pd.Timestamp, last: pd.Timestamp
) -> StoredColumns:
    """What is stored of a set of the symbol `owner` in the months from that before `first` to that of `last`."""
    asset = feature_asset(name)
    near = [m for m in store.periods(asset, owner) if month_of(first - MONTH) <= m <= month_of(last)]
    months = usable_months(store, settings, owner, name, near)
    if not months:
        return StoredColumns(pd.DataFrame(index=pd.DatetimeIndex([], tz="UTC")), {})
    attributes = {month: store.attributes(asset, owner, month) for month in months}
    if owner in settings.symbols:
        require_market(owner, settings.symbols[owner], asset, attributes)
    columns = pd.concat([store.read_frame(asset, owner, month) for month in months])
    covered = {month: pd.Timestamp(of["covered_until"]) for month, of in attributes.items()}
    return StoredColumns(columns, covered, lateness(store, owner) if settings.features[name].of else ON_TIME)


def usable_months(store: Store, settings: Settings, owner: str, name: str, months: Sequence[str]) -> list[str]:
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
