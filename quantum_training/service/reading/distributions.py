"""Distributions of features in the newest drift report: bins and counts, from the features that are stored.

They are counted when asked for, over the bars that the report names; a report itself holds distances only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from quantum_training.lifecycle.records import FEATURES, BarSpan, DailyDrift, read_record
from quantum_training.market.periods import month_of
from quantum_training.monitoring.psi import fit_bins, week_counts
from quantum_training.service.problems import Problem, unknown
from quantum_training.service.reading.dated import age
from quantum_training.service.state import State


class FeatureValues(NamedTuple):
    """The finite values of a feature in the window and in the reference of a report."""

    current: np.ndarray
    reference: np.ndarray


def distributions(state: State, symbol: str) -> dict[str, Any]:
    """Edges and counts of every feature of the newest report. Problem 404 before the first one."""
    report, day = _newest_report(state, symbol)
    window, reference = _frame(state, symbol, report.window), _frame(state, symbol, report.reference)
    features = {}
    for row in report.rows:
        if row.kind == "feature" and row.column in window and row.column in reference:
            values = FeatureValues(_finite(window[row.column]), _finite(reference[row.column]))
            if len(values.reference):
                features[row.column] = _counted(values)
    spans = {"current": report.window.model_dump(), "reference": report.reference.model_dump()}
    return {**age(day), "symbol": symbol, "day": day, "spans": spans, "features": features}


def feature_values(state: State, symbol: str, feature: str) -> FeatureValues:
    """The values of one feature in the newest report. Problem 404 if there is none."""
    report, _ = _newest_report(state, symbol)
    window, reference = _frame(state, symbol, report.window), _frame(state, symbol, report.reference)
    if feature not in reference:
        raise unknown(f"feature of {symbol}", feature, reference.columns)
    return FeatureValues(_finite(window[feature]), _finite(reference[feature]))


def _counted(values: FeatureValues) -> dict[str, Any]:
    """The counts per bin. Each bin reaches up to its edge; one more lies above all edges."""
    bins = fit_bins(values.reference)
    counts = (week_counts(bins, part, np.zeros(len(part), int), 1)[0].tolist() for part in values)
    current, reference = counts
    return {
        "edges": bins.edges.tolist(),
        "categorical": bins.categorical,
        "current": current,
        "reference": reference,
    }


def _newest_report(state: State, symbol: str) -> tuple[DailyDrift, str]:
    days = state.store.periods("drift_report", symbol, "json")
    report = read_record(state.store, DailyDrift, symbol, days[-1]) if days else None
    if report is None:
        raise Problem(404, f"{symbol} has no drift report yet", "distributions are those of one", "run the job drift")
    return report, days[-1]


def _frame(state: State, symbol: str, span: BarSpan) -> pd.DataFrame:
    """The stored features of a span of bars; empty if it has none."""
    if span.first_bar is None or span.last_bar is None:
        return pd.DataFrame()
    first, last = pd.Timestamp(span.first_bar), pd.Timestamp(span.last_bar)
    return state.store.read_frames(FEATURES, symbol, month_of(first), month_of(last)).loc[first:last]


def _finite(values: pd.Series) -> np.ndarray:
    numbers = values.to_numpy(dtype="float64")
    return numbers[np.isfinite(numbers)]
