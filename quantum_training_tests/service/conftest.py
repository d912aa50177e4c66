"""The service over the state of a real project: cycled weeks of AAA, a drift report, a signal, the report of a week."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import yaml
from fastapi.testclient import TestClient

from quantum_training.lifecycle.decision.signals import signal
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import DRIFT_REPORT, LATEST, write_record
from quantum_training.lifecycle.reporting.week_page import write_pages
from quantum_training.lifecycle.reporting.week_report import symbol_weeks
from quantum_training.lifecycle.surveillance.drift import measure_drift
from quantum_training.lifecycle.training.version_loader import VersionLoader
from quantum_training.market.periods import Key
from quantum_training.monitoring.drift_heatmap import html_page
from quantum_training.service.app import build_app
from quantum_training.service.cached_store import CachedStore
from quantum_training.settings import Settings, load_settings
from quantum_training_tests.support.projects import Project, cycle, project_builder

WEEKS = ["2020-01-06", "2020-01-13", "2020-01-20", "2020-01-27"]
DAY = "2020-01-27"
BASE_URL = "http://127.0.0.1:8005"


@pytest.fixture(scope="session")
def recorded(tmp_path_factory, empty_mlflow, market_data_cache, templates, small_settings) -> Iterator[Project]:
    """A project of which everything is recorded. Tests only read it."""
    with (
        pytest.MonkeyPatch.context() as patch,
        project_builder(tmp_path_factory, patch, empty_mlflow, market_data_cache) as build,
    ):
        project = cycle(build, tmp_path_factory, templates, small_settings, WEEKS[0], WEEKS[-1])
        record_more(project)
        patch.undo()  # the other tests of the session have settings of their own
        yield project


def record_more(project: Project, symbol: str = "AAA") -> None:
    """A drift report with its heat map, a signal, and the report of the newest week."""
    store, key = project.store, Key(symbol, pd.Timestamp(DAY, tz="UTC"))
    drift = measure_drift(store, project.settings, key)
    write_record(store, symbol, DAY, drift.record)
    page = html_page(f"Drift of {symbol}", drift.record, drift.weekly_p, drift.reference.end)
    store.write_text(DRIFT_REPORT, symbol, DAY, "html", page)
    history = MarketHistory(store, project.settings, symbol)
    load = VersionLoader(partial(project.registry.load, symbol))
    write_record(store, symbol, LATEST, signal(history, pd.Timestamp("2020-01-29 12:05", tz="UTC"), load))
    write_pages(store, WEEKS[-1], symbol_weeks(store, project.settings, WEEKS[-1]))


def resources(project: Project) -> dict[str, object]:
    """The resources of a project for `build_app`."""
    return {"store": CachedStore(root=project.store.root), "registry": project.registry}


@pytest.fixture
def client(recorded: Project) -> Iterator[TestClient]:
    """A client of the service over `recorded`. An error that nobody foresaw is raised in the test."""
    with TestClient(build_app(recorded.settings, resources(recorded)), base_url=BASE_URL) as client:
        yield client


@pytest.fixture
def empty_settings(tmp_path: Path, small_settings, monkeypatch) -> Settings:
    """Settings of which nothing is stored yet."""
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(small_settings))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "settings.yaml"))
    return load_settings()


@pytest.fixture
def empty_home(empty_settings: Settings) -> Iterator[TestClient]:
    """A client of the service over them."""
    with TestClient(build_app(empty_settings), base_url=BASE_URL) as client:
        yield client
