"""Asset `drift_report` and its checks as Dagster runs them: metadata, events, pages, and nothing that blocks."""

import json
import shutil

import dagster as dg
import pandas as pd
import pytest

from quantum_training.features.indicators import FEATURES
from quantum_training.lifecycle.surveillance import drift_pages
from quantum_training.resources.events.bus import EventBus
from quantum_training_tests.support.drift_market import DAY, change_features, drift_settings, shift_columns
from quantum_training_tests.support.report_pages import opened


@pytest.fixture(scope="module")
def market_data(tmp_path_factory):
    """A folder for the stored months of the market: computed by the first test, copied by the others."""
    return tmp_path_factory.mktemp("months") / "store"


@pytest.fixture
def build(build_project, small, market_data):
    """`build(**drift)`: a project whose candles and features are stored, with these settings of drift."""

    def build(**options):
        settings = drift_settings(small)
        project = build_project(settings | {"drift": settings["drift"] | options})
        if market_data.exists():
            shutil.copytree(market_data, project.store.root)
        else:
            shutil.copytree(project.market_data(first="2019-03-01").store.root, market_data)
        return project

    return build


def report(project, day=DAY, last=None):
    result = project.run("drift", f"AAA|{day}", f"AAA|{last}" if last else None)
    assert result.success
    return project.store.read_record("drift_report", "AAA", last or day), result


def metadata(result):
    return {e.partition: e.materialization.metadata for e in result.get_asset_materialization_events()}


def checks(result):
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


def test_an_ordinary_week_is_shown_and_passes_all_checks(build):
    record, result = report(build())
    metadata_of_day = metadata(result)[f"AAA|{DAY}"]
    for row in record["rows"]:
        assert row["column"] in metadata_of_day["columns"].value
        assert metadata_of_day[f"psi_{row['column']}"].value == pytest.approx(row["psi"], abs=1e-4)
    assert metadata_of_day["severity"].value == "NONE"
    assert "01-30" in metadata_of_day["heat_map"].value
    assert "report" not in metadata_of_day
    by_name = checks(result)
    assert set(by_name) == {"no_drift", *FEATURES, "prediction", "residual"}
    assert all(check.passed and not check.blocking for check in by_name.values())
    assert "not measured: left out: no champion" in by_name["prediction"].description
    (row,) = [row for row in record["rows"] if row["column"] == "rsi_14"]
    figures = by_name["rsi_14"].metadata
    assert [figures[name].value for name in ("psi", "q", "severity_level")] == [row["psi"], row["q"], 0]
    assert by_name["rsi_14"].description.startswith(f"AAA|{DAY} NONE: no drift, PSI ")


@pytest.mark.long
def test_a_range_and_single_days_give_the_same_bytes_and_so_does_running_again(build):
    range_world, single_world = build(), build()
    report(range_world, "2020-02-19", DAY)
    for day in ("2020-02-19", DAY):
        report(single_world, day)
    assert range_world.stored() == single_world.stored()
    stored = range_world.stored()
    report(range_world)
    assert range_world.stored() == stored


@pytest.mark.long
def test_drift_of_many_features_fails_the_checks_without_blocking_and_is_published_once(build):
    project = build()
    change_features(project.store, shift_columns("return_1", "rsi_14", "body_ratio"))
    record, result = report(project)
    assert record["severity"] == "MODERATE"
    assert {row["column"] for row in record["rows"][:3]} == {"return_1", "rsi_14", "body_ratio"}
    by_name = checks(result)
    assert (by_name["no_drift"].passed, by_name["no_drift"].severity) == (False, dg.AssetCheckSeverity.WARN)
    assert not by_name["no_drift"].blocking
    assert "return_1 (PSI" in by_name["no_drift"].description
    persistent = {row["column"] for row in record["rows"] if row["drifted"] and row["drifted_before"]}
    assert "return_1" in persistent
    assert {name for name, check in by_name.items() if not check.passed} == {"no_drift", *persistent}
    assert "MINOR: drift, the week before too, PSI" in by_name["return_1"].description
    first_bad_bar = next(row["first_bad_bar"] for row in record["rows"] if row["column"] == "return_1")
    assert by_name["return_1"].metadata["first_bad_bar"].value == pd.Timestamp(first_bad_bar).timestamp()
    report(project)
    (delivery,) = EventBus(database_url=project.settings.database_url).outbox.queue().read("test", 9)
    message = json.loads(delivery.text)
    assert (message["type"], message["payload"]["severity"]) == ("data.drift_detected", "MODERATE")
    assert message["payload"]["affected_models"] == ["xgboost", "lightgbm"]
    change_features(project.store, lambda f: f + 2 * f.std())
    record, result = report(project)
    assert record["severity"] in ("SEVERE", "CRITICAL")
    check = checks(result)["no_drift"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)


def test_one_check_can_run_alone_and_needs_its_report(build):
    project = build()
    report(project)
    job = project.definitions.resolve_job_def("drift")
    selection = {dg.AssetCheckKey(dg.AssetKey("drift_report"), "rsi_14")}

    def run(day):
        tags = {"dagster/partition": f"AAA|{day}"}
        return job.get_subset(asset_selection=set(), asset_check_selection=selection).execute_in_process(
            instance=project.instance, tags=tags, raise_on_error=False
        )

    assert list(checks(run(DAY))) == ["rsi_14"]
    (failure,) = [e for e in run("2020-02-21").all_events if e.is_step_failure]
    assert "AAA|2020-02-21: nothing is stored; materialise drift_report" in str(failure.step_failure_data.error)


def test_features_that_do_not_reach_the_day_fail_the_run_and_say_what_to_do(build):
    result = build().run("drift", "AAA|2020-03-05")
    assert not result.success
    error = str([e.step_failure_data.error for e in result.all_events if e.is_step_failure])
    assert "features are needed until 2020-03-05" in error
    assert "market_data" in error


@pytest.mark.long
def test_the_pages_of_the_last_day_hold_the_findings_and_evidentlys_report(build):
    project = build(html=True)
    change_features(project.store, shift_columns("return_1", "rsi_14", "body_ratio"))
    record, result = report(project, "2020-02-19", DAY)
    by_day = metadata(result)
    assert "drift_page" not in by_day["AAA|2020-02-19"]
    links = by_day[f"AAA|{DAY}"]
    assert record["reason"] in opened(project, links["drift_page"].value)
    assert "rsi_14" in opened(project, links["evidently_page"].value)
    stored = project.stored()
    report(project)
    assert project.stored() == stored


def test_an_error_of_evidently_is_shown_and_loses_nothing(build, monkeypatch):
    def fail(current, reference):
        raise ImportError("no module named evidently")

    monkeypatch.setattr(drift_pages, "evidently_html", fail)
    project = build(html=True)
    change_features(project.store, shift_columns("return_1", "rsi_14", "body_ratio"))
    record, result = report(project)
    metadata_of_day = metadata(result)[f"AAA|{DAY}"]
    assert metadata_of_day["evidently_failed"].value == "ImportError: no module named evidently"
    assert "evidently_page" not in metadata_of_day
    assert record["reason"] in opened(project, metadata_of_day["drift_page"].value)
    json.dumps(record, allow_nan=False)
