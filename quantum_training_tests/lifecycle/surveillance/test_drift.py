"""The drift of a day without Dagster: what is compared with which reference; faults are findings, not errors."""

import pandas as pd
import pytest

from quantum_training.features.indicators import compute_features
from quantum_training.lifecycle.records import ModelVersion, write_record
from quantum_training.lifecycle.surveillance.drift import drift_event, measure_drift
from quantum_training.market.periods import Key
from quantum_training.monitoring.severity import Severity
from quantum_training.resources.store.store import StoreError
from quantum_training.sources import source_from
from quantum_training_tests.support.drift_market import (
    DAY,
    END,
    WEEK,
    change_features,
    drift_settings,
    shift_columns,
    write_champions,
    write_predictions,
)
from quantum_training_tests.support.records import decision, harm, model_record

MONDAY = "2020-02-17"


@pytest.fixture(scope="module")
def features(small_settings):
    """The features of a year of 4h bars."""
    source = source_from(drift_settings(small_settings)["symbols"]["AAA"]["source"])
    start, end = (pd.Timestamp(day, tz="UTC") for day in ("2019-03-01", "2020-03-01"))
    candles = source.fetch("AAA", "4h", start, end, pd.Timestamp("2026-01-01", tz="UTC"))
    return compute_features(candles, start)


@pytest.fixture
def project(workspace, small, features):
    """A workspace whose store holds the features by month."""
    project = workspace(drift_settings(small))
    for first in pd.date_range(features.index[0].normalize(), features.index[-1], freq="MS"):
        end = first + pd.DateOffset(months=1)
        month = features[(features.index >= first) & (features.index < end)]
        project.store.write_frame("features", "AAA", f"{first:%Y-%m-%d}", month, {"covered_until": end.isoformat()})
    return project


def report(project, day=DAY):
    return measure_drift(project.store, project.settings, Key("AAA", pd.Timestamp(day, tz="UTC"))).record


def row_of(record, column):
    return next(row for row in record.rows if row.column == column)


def test_an_ordinary_week_does_not_drift_and_the_record_says_what_was_compared(project):
    record = report(project)
    assert (record.severity, record.outcome, record.tested) == (Severity.NONE, "measured", 24)
    assert record.window.model_dump() == {
        "bars": 42,
        "first_bar": "2020-02-13T00:00:00+00:00",
        "last_bar": "2020-02-19T20:00:00+00:00",
        "end": "2020-02-20T00:00:00+00:00",
    }
    assert record.reference.last_bar == "2020-02-05T20:00:00+00:00"
    assert record.reference.bars == 30 * 42
    assert "no version yet" in record.reference.why
    assert record.predictions.reason.startswith("left out: no champion")


def test_bars_from_the_day_on_and_that_days_decision_do_not_change_the_report(project):
    write_champions(project.store, {"2020-02-10": "xgboost"})
    before = report(project, MONDAY)
    change_features(project.store, lambda f: f + 9, pd.Timestamp(MONDAY, tz="UTC"))
    write_champions(project.store, {MONDAY: "lightgbm"})
    write_predictions(project.store, MONDAY, MONDAY)
    assert report(project, MONDAY) == before


def test_moderate_drift_is_severe_if_the_champion_does_harm(project):
    change_features(project.store, shift_columns("return_1", "rsi_14", "body_ratio"))
    for z, severity in ((0.9, Severity.MODERATE), (1.0, Severity.SEVERE)):
        write_record(project.store, "AAA", MONDAY, decision(MONDAY, None, harm=harm(z)))
        assert report(project).severity == severity


@pytest.mark.parametrize(
    ("fault", "since", "change"),
    [
        ("missing_column", "2019-12-01", lambda f: f.drop(columns="rsi_14")),
        ("missing_column", "2020-02-01", lambda f: f.drop(columns="rsi_14")),
        ("not_numeric", "2020-02-01", lambda f: f.assign(rsi_14="?")),
        ("all_missing", "2020-02-13", lambda f: f.assign(rsi_14=float("nan"))),
        ("constant", "2020-02-13", lambda f: f.assign(rsi_14=0.1)),
    ],
)
def test_broken_features_are_a_critical_report_not_an_error(project, fault, since, change):
    change_features(project.store, change, pd.Timestamp(since, tz="UTC"))
    record = report(project)
    assert record.severity == Severity.CRITICAL
    assert (record.rows[0].column, record.rows[0].fault) == ("rsi_14", fault)


def test_one_week_of_drift_is_minor(project):
    change_features(project.store, lambda f: f.assign(return_1=f["return_1"] + 4 * f["return_1"].std()), END - WEEK)
    record = report(project)
    assert record.severity == Severity.MINOR
    assert (row_of(record, "return_1").drifted, row_of(record, "return_1").drifted_before) == (True, False)


def test_the_reference_ends_where_the_champion_took_office(project):
    weeks = ("2019-12-02", "2019-12-09", "2019-12-23", "2020-01-06")
    write_champions(project.store, dict(zip(weeks, (None, "lightgbm", "xgboost", "xgboost"), strict=True)))
    record = report(project)
    assert record.reference.end == "2019-12-23T00:00:00+00:00"
    assert record.reference.last_bar == "2019-12-22T20:00:00+00:00"
    assert "the champion xgboost took office on 2019-12-23" in record.reference.why
    assert "shadow_scores of 2020-02-17 are not stored" in record.predictions.reason
    write_champions(project.store, {"2020-02-10": "lightgbm"})
    record = report(project)
    assert record.reference.end == "2020-02-06T00:00:00+00:00"
    assert "two windows that are tested left out" in record.reference.why


@pytest.mark.parametrize(("champion", "tested"), [(None, 24), ("lightgbm", 24), ("xgboost", 2)])
def test_what_the_champion_learns_from_is_tested(workspace, small, project, champion, tested):
    settings = drift_settings(small)
    settings["recipes"]["xgboost"]["features"] = ["rsi_14", "atr_14"]
    other = workspace(settings)  # in the same folder, so over the same store
    write_champions(other.store, {"2019-12-02": champion, "2020-02-17": champion})
    columns = [row.column for row in report(other).rows if row.kind == "feature"]
    assert len(columns) == tested
    assert {"rsi_14", "atr_14"} <= {*columns}


def test_without_a_champion_the_newest_version_before_the_window_ends_the_reference(project):
    for week in ("2020-01-27", "2020-02-17"):
        version = ModelVersion(as_of=f"{week}T00:00:00+00:00", model_id=week)
        write_record(project.store, "AAA", week, model_record(version), "xgboost_model")
    record = report(project)
    assert record.reference.end == "2020-01-27T00:00:00+00:00"
    assert "no champion; the newest version is as of 2020-01-27" in record.reference.why


@pytest.mark.parametrize(("shift_from", "drifted"), [(None, False), ("2020-02-10", True)])
def test_the_champions_predictions_and_residuals_are_monitored(project, shift_from, drifted):
    write_champions(project.store, {"2020-01-20": "xgboost"})
    write_predictions(project.store, "2019-06-03", "2020-02-17", shift_from)
    record = report(project)
    rows = {row.kind: row for row in record.rows if row.kind != "feature"}
    assert set(rows) == {"prediction", "residual"}
    assert rows["prediction"].drifted is drifted
    assert rows["residual"].drifted is False
    assert record.predictions.end == "2020-02-17T00:00:00+00:00"
    assert record.predictions.reference.bars == 30 * 42


def test_too_little_history_is_insufficient_with_a_reason(project):
    record = report(project, "2019-10-20")
    assert (record.outcome, record.severity, record.need) == ("insufficient", Severity.NONE, 26)
    assert 0 < record.have < 26
    assert record.reason == f"insufficient: {record.have} of 26 windows of reference"


def test_features_that_do_not_reach_the_day_are_an_error_that_says_what_to_do(project):
    with pytest.raises(StoreError, match=r"features are needed until 2020-03-05 .* run the job market_data"):
        report(project, "2020-03-05")


def test_the_event_of_a_day_names_severity_kinds_and_the_largest_psi(project):
    change_features(project.store, shift_columns("return_1", "rsi_14", "body_ratio"))
    record, key = report(project), Key("AAA", END)
    event = drift_event(key, record, ("xgboost", "lightgbm"))
    assert event.payload.severity == "MODERATE"
    assert event.payload.drift_type == "feature"
    assert event.payload.affected_models == ("xgboost", "lightgbm")
    assert event.payload.psi_score == max(row.psi for row in record.rows[:3])
    assert drift_event(key, record, ("xgboost", "lightgbm")).event_id == event.event_id
