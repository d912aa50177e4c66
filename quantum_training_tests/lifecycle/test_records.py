"""The typed records: files that a real cycle or an earlier build left are read, and written back unchanged."""

import json
from pathlib import Path

import pytest

from quantum_training.lifecycle.records import (
    BacktestRecord,
    DailyDrift,
    ModelRecord,
    ModelVersion,
    SignalRecord,
    WeeklyDecay,
    WeeklyDecision,
    WeeklyRollout,
    model_asset,
    read_record,
    read_records,
    write_record,
)
from quantum_training.monitoring.severity import Severity
from quantum_training.resources.store.store import Store
from quantum_training_tests.support.records import decision, drift

WEEKS = ["2020-01-06", "2020-01-13", "2020-01-20", "2020-01-27"]
KINDS = {
    **{model_asset(recipe): ModelRecord for recipe in ("xgboost", "lightgbm")},
    **{kind.asset: kind for kind in (BacktestRecord, WeeklyDecision, WeeklyRollout, WeeklyDecay)},
}


@pytest.mark.long
def test_every_record_is_written_back_byte_for_byte(cycled_project, small):
    project = cycled_project(small, WEEKS[0], WEEKS[-1])
    for asset, kind in KINDS.items():
        records = read_records(project.store, kind, "AAA", asset=asset)
        assert list(records) == WEEKS
        for week, record in records.items():
            assert not write_record(project.store, "AAA", week, record, asset=asset).changed
    assert project.run("drift", "AAA|2020-01-28").success
    assert project.run("trading_signals", "AAA").success
    for kind, period in ((DailyDrift, "2020-01-28"), (SignalRecord, "latest")):
        record = read_record(project.store, kind, "AAA", period)
        assert record is not None
        assert not write_record(project.store, "AAA", period, record).changed


@pytest.mark.parametrize(
    "fields",
    [
        {"outcome": "trained", "versions": [{"as_of": "2020-01-06T00:00:00+00:00", "model_id": "m"}]},
        {"outcome": "resting", "newest": "m", "next_training": "2020-02-03", "versions": []},
        {"outcome": "insufficient", "have": 3, "need": 100, "reason": "3 of 100", "versions": []},
        {"outcome": "not_configured", "versions": []},
        {"versions": []},
    ],
)
def test_a_key_that_is_absent_from_a_model_record_stays_absent(fields):
    assert ModelRecord.model_validate(fields).model_dump(mode="json") == fields


def test_a_version_recorded_before_the_refresh_gate_may_trade_and_a_refused_one_may_not():
    version = ModelVersion(as_of="2020-01-06T00:00:00+00:00", model_id="m")
    assert version.accepted
    refused = {"accepted": False, "reason": "worse"}
    assert not ModelVersion(as_of=version.as_of, model_id="m", refresh=refused).accepted


def test_a_decision_of_the_first_build_is_read_with_defaults():
    recent = json.loads(decision("2020-01-06", "xgboost").model_dump_json())
    younger = ("decided", "faults", "pinned", "operator", "disagreement", "refused_refresh", "former_model_id")
    first = {key: value for key, value in recent.items() if key not in younger}
    read = WeeklyDecision.model_validate(first)
    assert (read.champion, read.faults, read.pinned, read.decided) == ("xgboost", {}, False, None)


def test_a_severity_is_stored_by_its_name(tmp_path):
    store = Store(root=str(tmp_path))
    written = write_record(store, "AAA", "2020-01-06", drift("2020-01-06", "SEVERE"))
    assert json.loads(Path(written.path).read_text())["severity"] == "SEVERE"
    assert read_record(store, DailyDrift, "AAA", "2020-01-06").severity is Severity.SEVERE


def test_what_is_not_stored_is_none(tmp_path):
    store = Store(root=str(tmp_path))
    assert read_record(store, WeeklyDecay, "AAA", "2020-01-06") is None
    assert read_records(store, WeeklyRollout, "AAA") == {}
