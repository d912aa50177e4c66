"""/metrics: what is scraped is what the store, the events and Dagster hold."""

import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from quantum_training.lifecycle.records import WeeklyDecision, WeeklyRollout, read_record
from quantum_training.monitoring.severity import Severity
from quantum_training.resources.store.files import StoreAccessError
from quantum_training.service.app import build_app
from quantum_training.service.cached_store import CachedStore
from quantum_training_tests.service.conftest import BASE_URL, DAY, WEEKS, resources
from quantum_training_tests.service.support import RecordingDagster


def scraped(client):
    """Every sample by its name and its labels."""
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    families = text_string_to_metric_families(response.text)
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


@pytest.fixture
def dagster():
    return RecordingDagster()


@pytest.fixture
def scraper(recorded, dagster):
    app = build_app(recorded.settings, {**resources(recorded), "dagster": dagster})
    return TestClient(app, base_url=BASE_URL)


def test_samples_agree_with_the_store(scraper, recorded):
    found = scraped(scraper)
    decision = read_record(recorded.store, WeeklyDecision, "AAA", WEEKS[-1])
    office = ("recipe", decision.champion), ("symbol", "AAA"), ("version", decision.model_id)
    assert found["quantum_training_champion_info", *office] == 1
    assert found["quantum_training_active_models",] == 1
    symbol = ("symbol", "AAA")
    rollout = read_record(recorded.store, WeeklyRollout, "AAA", WEEKS[-1])
    assert found["quantum_training_rollout_share", symbol] == rollout.share
    drift = recorded.store.read_record("drift_report", "AAA", DAY)
    assert found["quantum_training_drift_severity", symbol] == Severity[drift["severity"]]
    psi = {row["column"]: row["psi"] for row in drift["rows"] if row["psi"] is not None}
    assert {k[1][1]: v for k, v in found.items() if k[0] == "quantum_training_psi"} == psi
    assert found["quantum_training_candles_age_seconds", symbol] == 0
    assert found["quantum_training_dead_letters",] == found["quantum_training_unreadable_symbols",] == 0
    assert not [key for key in found if "BBB" in str(key)]  # nothing is stored of it


def test_trainings_are_counted_by_their_events(scraper):
    found = scraped(scraper)
    labels = ("recipe", "xgboost"), ("status", "succeeded"), ("symbol", "AAA"), ("trigger", "SCHEDULED")
    assert found["quantum_training_jobs_total", *labels] == len(WEEKS)
    assert found["quantum_training_job_seconds_count", ("recipe", "xgboost")] == len(WEEKS)
    newest = found["quantum_training_last_training_timestamp_seconds", ("recipe", "xgboost"), ("symbol", "AAA")]
    assert 0 < time.time() - newest < 24 * 3600


def test_without_dagster_its_numbers_are_left_out(scraper, dagster):
    with_it = scraped(scraper)
    assert with_it["quantum_training_dagster_up",] == 1
    assert with_it["quantum_training_jobs_queued",] == 0
    assert with_it["quantum_training_sensor_tick_age_seconds", ("sensor", "run_failure_sensor")] > 0
    dagster.down = True
    without = scraped(scraper)
    assert without["quantum_training_dagster_up",] == 0
    assert ("quantum_training_jobs_queued",) not in without


def test_a_torn_record_is_counted_and_hides_no_other_symbol(cycled_project, small, dagster):
    project = cycled_project(small, WEEKS[0], WEEKS[-1])
    Path(project.store.root, "champion", "AAA", f"{WEEKS[-1]}.json").write_text("{")
    client = TestClient(build_app(project.settings, {**resources(project), "dagster": dagster}), base_url=BASE_URL)
    assert scraped(client)["quantum_training_unreadable_symbols",] == 1


def test_an_outage_of_the_store_fails_the_scrape(scraper, monkeypatch):
    def fail(*arguments):
        raise StoreAccessError("no answer")

    monkeypatch.setattr(CachedStore, "periods", fail)
    monkeypatch.setattr(CachedStore, "stamps", fail)
    assert scraper.get("/metrics").status_code == 503
