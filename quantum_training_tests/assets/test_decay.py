"""Asset `decay_report` as Dagster runs it: records, metadata, and a check that warns without blocking."""

import dagster as dg
import pytest

from quantum_training.partitions import RANGE_TAGS
from quantum_training_tests.support.decay_market import LAST, TOOK_OFFICE, WEEKS, write_decaying_champion


@pytest.fixture
def project(build_project, small):
    """A project in whose store the champion of AAA takes office in the eighth of 16 weeks and then decays."""
    project = build_project(small)
    write_decaying_champion(project.store)
    return project


def run(project, first, last=None):
    tags = dict(zip(RANGE_TAGS, (f"AAA|{first}", f"AAA|{last or first}"), strict=True))
    job = project.definitions.resolve_job_def("decay")
    return job.execute_in_process(instance=project.instance, tags=tags, raise_on_error=False)


def test_decay_is_recorded_shown_and_warned_of_without_blocking(project):
    result = run(project, TOOK_OFFICE, LAST)
    assert result.success
    records = project.store.read_records("decay_report", "AAA")
    assert list(records) == WEEKS[7:]
    newest = records[LAST]
    materializations = {e.partition: e.materialization.metadata for e in result.get_asset_materialization_events()}
    metadata = materializations[f"AAA|{LAST}"]
    trends = {name: metadata[name].value for name in ("cusum", "limit", "sharpe_live", "sharpe_baseline")}
    expected = (newest["statistic"], newest["limit"], newest["live"]["sharpe"], newest["baseline"]["sharpe"])
    assert tuple(trends.values()) == expected
    assert metadata["status"].value == "DECAYED"
    assert metadata["summary"].value.endswith(f"has decayed: {newest['reason']}.")
    assert "before office" in metadata["records"].value
    checks = {check.partition: check for check in result.get_asset_check_evaluations()}
    assert list(checks) == [f"AAA|{week}" for week in records], "each week has a result"
    check = checks[f"AAA|{LAST}"]
    assert (check.check_name, check.passed, check.severity, check.blocking) == (
        "no_decay",
        False,
        dg.AssetCheckSeverity.WARN,
        False,
    )
    assert check.description == f"DECAYED: {newest['reason']}"


def test_a_range_single_weeks_and_running_again_give_the_same_bytes(project):
    weeks = [TOOK_OFFICE, WEEKS[10], LAST]
    passed = [run(project, week).get_asset_check_evaluations()[0].passed for week in weeks]
    assert passed == [True, True, False]
    stored = {file: data for file, data in project.stored().items() if file.startswith("decay_report")}
    assert len(stored) == 3
    assert run(project, TOOK_OFFICE, LAST).success
    assert {file: project.stored()[file] for file in stored} == stored


def test_a_week_without_a_decision_fails_the_run_and_says_what_to_do(project):
    result = run(project, "2020-02-03")
    assert not result.success
    error = str([e.step_failure_data.error for e in result.all_events if e.is_step_failure])
    assert "AAA|2020-02-03 has no champion record; materialise champion of this week first" in error
