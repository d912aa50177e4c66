"""HTML pages of a day's drift, beside its record: the heat map of all weeks, and of a drift Evidently's report."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import pandas as pd

from quantum_training.lifecycle.records import DRIFT_REPORT
from quantum_training.lifecycle.surveillance.drift import DriftComparison
from quantum_training.market.periods import Key
from quantum_training.models.installed import installed_release
from quantum_training.monitoring.drift_heatmap import html_page
from quantum_training.monitoring.severity import Severity
from quantum_training.resources.store.store import Store

EVIDENTLY = "evidently.html"


class DriftPages(NamedTuple):
    """Paths of the pages. evidently: None without a drift, or if it failed with `evidently_error`."""

    heat_map: str
    evidently: str | None = None
    evidently_error: str | None = None


def write_pages(store: Store, key: Key, drift: DriftComparison, record_changed: bool) -> DriftPages:
    """Write both pages, Evidently's only of a drift. Its error is returned, not raised.

    It takes seconds and 9 MB, and without a drift it says no more than the heat map. It holds random names, so it is
    written only once per record: a second run changes no bytes.
    """
    title = f"Drift of {key.symbol}, the week before {key.period}"
    page = html_page(title, drift.record, drift.weekly_p, drift.reference.end)
    heat_map = store.write_text(DRIFT_REPORT, key.symbol, key.period, "html", page).path
    if drift.record.outcome != "measured" or drift.record.severity == Severity.NONE:
        return DriftPages(heat_map)
    if record_changed or key.period not in store.periods(DRIFT_REPORT, key.symbol, EVIDENTLY):
        try:
            page = evidently_html(drift.window_features, drift.reference_features)
            store.write_text(DRIFT_REPORT, key.symbol, key.period, EVIDENTLY, page)
        except Exception as error:
            return DriftPages(heat_map, evidently_error=f"{type(error).__name__}: {error}")
    return DriftPages(heat_map, f"{heat_map.removesuffix('html')}{EVIDENTLY}")


def evidently_html(current: pd.DataFrame, reference: pd.DataFrame) -> str:
    """Evidently's report on the same two frames, as one HTML page. It uses other bins, so its verdict may differ.

    PackageMissingError if Evidently is not installed.
    """
    installed_release("evidently")
    from evidently import Report
    from evidently.presets import DataDriftPreset

    with warnings.catch_warnings():  # of each column: time zones that it drops, correlations with what is constant
        warnings.simplefilter("ignore")
        report = Report([DataDriftPreset(method="psi")]).run(current, reference)
        return str(report.get_html_str(as_iframe=False))
