"""Examines feature sets of series for look-ahead: no row may change with what becomes known after it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from quantum_training.features.sets.feature_set import FeatureSet
from quantum_training.features.sets.series_events import known_rows
from quantum_training.lifecycle.series import publications
from quantum_training.lifecycle.stored_sets import feature_asset
from quantum_training.market.periods import Key
from quantum_training.market.series_schema import KNOWN_AT, VALUE
from quantum_training.monitoring.feature_leakage import TOLERANCE, FeatureReport, first_difference
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings

JUMP = 3.0
"""By what later values are multiplied or divided."""


def series_report(store: Store, settings: Settings, key: Key, name: str, cuts: int) -> FeatureReport:
    """Compare the stored rows of a month with those computed from the stored values, and with other later values."""
    stored = store.read_frame(feature_asset(name), key.symbol, key.period)
    until = pd.Timestamp(store.attributes(feature_asset(name), key.symbol, key.period)["covered_until"])
    return examine_series_set(settings.features[name], name, publications(store, key.symbol, until), stored, cuts)


def examine_series_set(
    feature_set: FeatureSet, name: str, rows: pd.DataFrame, stored: pd.DataFrame, cuts: int
) -> FeatureReport:
    """Examine the stored rows of a set, and the code that should have made them from these publications.

    The rules are those of monitoring.feature_leakage: the same bytes again, the same rows if later values are others
    (tried after `cuts` of the stored rows), and no memory beyond the warm-up.
    """
    if stored.empty:
        return FeatureReport([], None, 0, 0, None)
    since = stored.index[0]

    def compute(publications: pd.DataFrame, first: pd.Timestamp = since) -> pd.DataFrame:
        return known_rows(feature_set, name, publications, first)

    failures = [*_not_repeated(stored, compute, rows)]
    past = stored
    for cut in dict.fromkeys(stored.index[(len(stored) - 1) * (n + 1) // (cuts + 1)] for n in range(cuts)):
        past, later = stored.loc[:cut], rows[KNOWN_AT] > cut
        futures = [rows.assign(**{VALUE: rows[VALUE].where(~later, rows[VALUE] * by + by)}) for by in (JUMP, 1 / JUMP)]
        futures.append(rows[~later])
        if found := next(filter(None, (first_difference(past, compute(future).loc[:cut]) for future in futures)), None):
            failures.append(f"a feature looks ahead: with other values after {cut}, {found}; let it read earlier ones")
            break
    whole = compute(rows, rows[KNOWN_AT].iloc[0]).loc[since:]
    if difference := first_difference(whole, compute(rows), TOLERANCE):
        failures.append(
            f"a feature remembers more than the warm-up: with more values before {since}, {difference}; shorten its "
            "memory or raise WARMUP_BARS"
        )
    older = int((rows[KNOWN_AT] < since).sum())
    changes = np.abs(whole.to_numpy() - compute(rows).to_numpy()) if not failures else np.array([])
    changes = changes[~np.isnan(changes)]
    return FeatureReport(failures, past.index[-1], len(past), older, float(changes.max()) if changes.size else None)


def _not_repeated(
    stored: pd.DataFrame, compute: Callable[[pd.DataFrame], pd.DataFrame], rows: pd.DataFrame
) -> list[str]:
    again = compute(rows)
    if between_runs := first_difference(again, compute(rows)):
        return [f"a feature is not deterministic: computed twice from the same values, {between_runs}; fix its seed"]
    if difference := first_difference(stored, again):
        return [f"the stored bytes are not what the code computes: {difference}; re-materialise the set"]
    return []
