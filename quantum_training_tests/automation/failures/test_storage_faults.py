"""Dagster's storage fails while a run writes its events: only such a run is marked for a restart."""

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.events import DagsterEventType
from dagster_postgres.utils import DagsterPostgresException

from quantum_training.automation.failures import storage_faults
from quantum_training.automation.failures.findings import run_findings
from quantum_training.automation.failures.storage_faults import RESTART_TAG, restart_after_storage_fault
from quantum_training.automation.jobs import batches, manual_actions, retrain
from quantum_training.automation.jobs.batches import op_name
from quantum_training.automation.jobs.retrain import RETRAIN, RETRAIN_OP

CONNECTION_LOST = sa.exc.OperationalError("INSERT", {}, Exception("server closed the connection unexpectedly"))
BATCH = {
    "ops": {
        op_name("market_data"): {
            "config": {
                "runs": [
                    {"key": symbol, "symbol": symbol, "first": "2019-09-01", "last": "2019-09-01"}
                    for symbol in ("AAA", "BBB")
                ]
            }
        }
    }
}


def run_batch(project):
    """A batch of the months of AAA and BBB."""
    job = project.definitions.resolve_job_def("market_data_batch")
    return job.execute_in_process(instance=project.instance, run_config=BATCH, raise_on_error=False)


@pytest.fixture
def restartable(monkeypatch):
    """Dagster's daemon watches the runs of this process, as it does those that a code server started."""
    monkeypatch.setattr(storage_faults, "is_restartable", lambda instance, run: True)


def symbols_begun(project):
    """The symbols whose runs have begun, oldest first."""
    runs = project.instance.get_runs(dg.RunsFilter(job_name="market_data"), ascending=True)
    return [run.tags["symbol"] for run in runs]


def fails_once(instance, monkeypatch, error, types=(DagsterEventType.STEP_SUCCESS,)):
    """The storage fails with the first event of each of these types."""
    real, failed_events = instance.handle_new_event, []
    waiting = [*types]

    def handle(event, **options):
        dagster_event = event.dagster_event
        if dagster_event and dagster_event.event_type in waiting and "batch" not in event.job_name:
            waiting.remove(dagster_event.event_type)
            failed_events.append(event)
            raise error
        return real(event, **options)

    monkeypatch.setattr(instance, "handle_new_event", handle)
    return failed_events


@pytest.mark.parametrize("error", [DagsterPostgresException("too many retries for DB connection"), CONNECTION_LOST])
def test_a_run_whose_storage_failed_is_restarted(build_project, small, monkeypatch, error):
    project = build_project(small)
    failed_events = fails_once(project.instance, monkeypatch, error)
    result = project.run("market_data", "AAA|2019-09-01")
    assert failed_events
    assert not result.success
    assert project.instance.get_run_by_id(result.run_id).tags[RESTART_TAG] == "true"


def test_a_run_whose_storage_is_full_is_not_restarted(build_project, small, monkeypatch):
    full = DagsterPostgresException("could not extend file: No space left on device")
    project = build_project(small)
    failed_events = fails_once(project.instance, monkeypatch, full)
    result = project.run("market_data", "AAA|2019-09-01")
    assert failed_events
    assert project.instance.get_run_by_id(result.run_id).tags[RESTART_TAG] == "false"


@pytest.mark.parametrize("inherited", ["false", "true"])
def test_a_run_that_lacks_its_data_is_not_restarted(build_project, small, inherited):
    """A run that was started again after a fault of the storage carries the tag of the one before."""
    project = build_project(small)
    result = project.run("weekly_cycle", "AAA|2020-01-06", tags={RESTART_TAG: inherited})
    run = project.instance.get_run_by_id(result.run_id)
    assert (run.status, run.tags[RESTART_TAG]) == (dg.DagsterRunStatus.FAILURE, "false")


@pytest.mark.parametrize("error", [DagsterPostgresException("too many retries for DB connection"), CONNECTION_LOST])
def test_a_batch_in_which_the_storage_failed_is_restarted_and_does_not_go_on(
    build_project, small, monkeypatch, restartable, error
):
    project = build_project(small)
    failed_events = fails_once(project.instance, monkeypatch, error)
    result = run_batch(project)
    assert failed_events
    assert not result.success
    assert project.instance.get_run_by_id(result.run_id).tags[RESTART_TAG] == "true"
    assert symbols_begun(project) == ["AAA"], "the others are left to the batch that is started again"


@pytest.mark.parametrize("type_", [DagsterEventType.RESOURCE_INIT_STARTED, DagsterEventType.STEP_START])
def test_so_is_one_whose_storage_takes_no_failure_of_the_step_either(
    build_project, small, monkeypatch, restartable, type_
):
    project = build_project(small)
    failed_events = fails_once(project.instance, monkeypatch, CONNECTION_LOST, [type_, DagsterEventType.STEP_FAILURE])
    result = run_batch(project)
    assert failed_events
    assert project.instance.get_run_by_id(result.run_id).tags[RESTART_TAG] == "true"
    assert symbols_begun(project) == ["AAA"]
    (nested,) = project.instance.get_runs(dg.RunsFilter(job_name="market_data"))
    assert nested.tags[RESTART_TAG] == "true"


def test_a_batch_that_cannot_be_started_again_goes_on(build_project, small, monkeypatch):
    project = build_project(small)
    fails_once(project.instance, monkeypatch, CONNECTION_LOST)
    result = run_batch(project)
    assert not result.success
    assert symbols_begun(project) == ["AAA", "BBB"]


def test_what_a_batch_left_undone_is_an_alert_if_it_is_not_restarted(build_project, small, monkeypatch, restartable):
    project = build_project(small)
    fails_once(project.instance, monkeypatch, CONNECTION_LOST)
    result = run_batch(project)
    batch = project.instance.get_run_by_id(result.run_id)
    (finding,) = run_findings(project.instance, batch, "failed")
    assert finding.place.startswith("market_data_of_symbols")
    assert "connection unexpectedly" in finding.cause


def test_a_batch_whose_storage_failed_between_two_runs_is_restarted(build_project, small, monkeypatch, restartable):
    project = build_project(small)
    monkeypatch.setattr(batches, "run_nested", _raise(CONNECTION_LOST))
    result = run_batch(project)
    assert project.instance.get_run_by_id(result.run_id).tags[RESTART_TAG] == "true"


def test_a_batch_with_a_symbol_that_failed_by_itself_is_not_restarted(build_project, small, monkeypatch):
    project = build_project(small)
    monkeypatch.setattr(batches, "run_nested", _raise(RuntimeError("no bars")))
    result = run_batch(project)
    assert not result.success
    assert project.instance.get_run_by_id(result.run_id).tags[RESTART_TAG] == "false"


def test_every_job_is_restarted_after_such_a_fault(build_project, small):
    definitions = build_project(small).definitions
    jobs = [definitions.resolve_job_def(job.name) for job in definitions.jobs]
    assert len(jobs) > 15
    assert [job.name for job in jobs if restart_after_storage_fault not in job.hook_defs] == []


def test_a_cycle_whose_storage_failed_is_restarted_and_does_not_go_on(build_project, small, monkeypatch, restartable):
    project = build_project(small)
    failed_events = fails_once(project.instance, monkeypatch, CONNECTION_LOST)
    config = {"ops": {"run_cycle": {"config": {"week": "2020-01-06"}}}}
    cycle = project.definitions.resolve_job_def("clm_cycle")
    result = cycle.execute_in_process(instance=project.instance, run_config=config, raise_on_error=False)
    assert failed_events
    assert project.instance.get_run_by_id(result.run_id).tags[RESTART_TAG] == "true"
    assert symbols_begun(project) == ["AAA"]


ACTIONS = [("demote", "demote_champion", manual_actions), (RETRAIN, RETRAIN_OP, retrain)]


@pytest.mark.parametrize(("job", "op", "module"), ACTIONS)
def test_an_action_whose_storage_failed_is_restarted(build_project, small, monkeypatch, job, op, module):
    project = build_project(small).market_data()
    monkeypatch.setattr(manual_actions, "record_action", lambda *arguments: "2020-01-06")
    monkeypatch.setattr(module, "run_nested", _raise(CONNECTION_LOST))
    config = {"ops": {op: {"config": {"symbol": "AAA", "actor": "ann", "reason": "a test"}}}}
    action = project.definitions.resolve_job_def(job)
    result = action.execute_in_process(instance=project.instance, run_config=config, raise_on_error=False)
    assert "connection unexpectedly" in str([e.step_failure_data for e in result.all_events if e.is_step_failure])
    assert project.instance.get_run_by_id(result.run_id).tags[RESTART_TAG] == "true"


def _raise(error):
    def run_nested(*arguments):
        raise error

    return run_nested
