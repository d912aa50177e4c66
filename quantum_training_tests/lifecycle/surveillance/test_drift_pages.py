"""The HTML pages of a drift report: what they hold, and an Evidently that fails."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from quantum_training.lifecycle.surveillance import drift_pages
from quantum_training.lifecycle.surveillance.drift_pages import DriftPages, write_pages
from quantum_training.market.periods import Key
from quantum_training.monitoring.severity import Severity
from quantum_training.resources.store.store import Store
from quantum_training_tests.support.records import drift

DAY = "2020-02-20"
KEY = Key("AAA", pd.Timestamp(DAY, tz="UTC"))


@pytest.fixture
def comparison():
    """A comparison of one column, which a record calls a minor drift."""
    times = pd.date_range("2020-01-01", periods=400, freq="4h", tz="UTC")
    frame = pd.DataFrame({"rsi_14": np.random.default_rng(0).standard_normal(400)}, times)
    p = pd.DataFrame({"rsi_14": [0.5]}, times[:1])
    reference = SimpleNamespace(end=times[300])
    return SimpleNamespace(
        record=drift(DAY).model_copy(update={"severity": Severity.MINOR}),
        reference=reference,
        weekly_p=p,
        reference_features=frame.iloc[:300],
        window_features=frame.iloc[300:],
    )


@pytest.fixture
def store(tmp_path):
    return Store(root=str(tmp_path))


def test_evidently_is_written_once_per_record(store, comparison, monkeypatch):
    calls = []
    monkeypatch.setattr(drift_pages, "evidently_html", lambda *frames: calls.append(frames) or "<p>")
    pages = write_pages(store, KEY, comparison, record_changed=True)
    assert comparison.record.reason in Path(pages.heat_map).read_text()
    assert Path(pages.evidently).read_text() == "<p>"
    assert write_pages(store, KEY, comparison, record_changed=False) == pages
    assert len(calls) == 1
    write_pages(store, KEY, comparison, record_changed=True)
    assert len(calls) == 2


@pytest.mark.parametrize("changes", [{"outcome": "insufficient"}, {"severity": Severity.NONE}])
def test_a_report_that_tested_nothing_or_found_no_drift_has_no_page_of_evidently(
    store, comparison, monkeypatch, changes
):
    monkeypatch.setattr(drift_pages, "evidently_html", pytest.fail)
    comparison.record = comparison.record.model_copy(update=changes)
    pages = write_pages(store, KEY, comparison, record_changed=True)
    assert pages == DriftPages(pages.heat_map)
    assert Path(pages.heat_map).is_file()


def test_an_error_of_evidently_is_returned_and_the_heat_map_is_written(store, comparison, monkeypatch):
    def fail(current, reference):
        raise ImportError("no module named evidently")

    monkeypatch.setattr(drift_pages, "evidently_html", fail)
    pages = write_pages(store, KEY, comparison, record_changed=True)
    assert pages == DriftPages(pages.heat_map, None, "ImportError: no module named evidently")
    assert Path(pages.heat_map).is_file()


@pytest.mark.long
def test_evidently_reports_on_the_columns(store, comparison):
    pages = write_pages(store, KEY, comparison, record_changed=True)
    assert "rsi_14" in Path(pages.evidently).read_text()
