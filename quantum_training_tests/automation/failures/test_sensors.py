"""The sensors of failures tick by tick: one alert per failure, and what is completed for a run whose process died."""

import json
import time
from contextlib import ExitStack
from types import SimpleNamespace

import dagster as dg
import pandas as pd
import pytest
import yaml
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import DagsterEvent
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from quantum_training.assets.step_retries import first_attempt
from quantum_training.automation.execution.pool_limits import limit_training
from quantum_training.automation.failures import sensors
from quantum_training.automation.failures.dead_runs import (
    PARENT_WAIT_SECONDS,
    RETRY_WAIT_SECONDS,
    fail_trainings,
    is_over,
)
from quantum_training.automation.failures.findings import check_finding
from quantum_training.automation.failures.storage_faults import RESTART_TAG
from quantum_training.automation.run_launcher import WatchfulRunLauncher
from quantum_training.lifecycle import ingestion
from quantum_training.lifecycle.training.events import TrainingJob
from quantum_training.resources.alerts import alert_store
from quantum_training.resources.database import DatabaseError
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.payloads import Event
from quantum_training.resources.run_origin import LAUNCHED_BY
from quantum_training.settings import load_settings
from quantum_training.sources import SourceError

LATER = 10.0**10
LOCATION = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="quantum_training.definitions"))
LAUNCHED = RemoteJobOrigin(RemoteRepositoryOrigin(LOCATION, "__repository__"), "weekly_cycle")
RUNNING = dg.DagsterRunStatus.STARTED


class SensorSetup:
    """An instance, the sensors over it and their cursors. project: runs the jobs of a test."""

    def __init__(self, settings, instance, project=None):
        self.project, self.instance, self.url = project, instance, settings.database_url
        self.bus = EventBus(database_url=self.url)
        self.sensors = {sensor.name: sensor for sensor in sensors.build_failure_sensors(settings)}
        self.cursors = {}
        for name in self.sensors:
            assert self.tick(name).skip_message == sensors.FIRST_TICK

    def tick(self, name=sensors.RUNS_SENSOR):
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursors.get(name), resources={"events": self.bus}
        ) as context:
            data = self.sensors[name].evaluate_tick(context)
        self.cursors[name] = data.cursor
        return data

    def new_alerts(self):
        """The alerts since the last call, after a tick of both sensors."""
        messages = [self.tick(name).skip_message for name in self.sensors]
        due = alert_store.claim(self.url, LATER)
        alert_store.mark_sent(self.url, [one.alert.alert_id for one in due], "webhook")
        assert (messages == ["nothing new"] * 2) <= (not due)
        return [one.alert for one in due]

    def run(self, status=RUNNING, job="weekly_cycle", **fields):
        tags = {"dagster/partition": "AAA|2020-01-06", **fields.pop("tags", {})}
        run = dg.DagsterRun(job_name=job, status=status, tags=tags, **fields)
        self.instance.run_storage.add_run(run)
        return run

    def again(self, run):
        """The run that retries another one, as Dagster's daemon launches it."""
        root = run.root_run_id or run.run_id
        ids = {"root_run_id": root, "parent_run_id": run.run_id}
        tags = {"dagster/retry_number": "1", **{f"dagster/{name}": id_ for name, id_ in ids.items()}}
        again = self.run(remote_job_origin=LAUNCHED, tags=tags, **ids)
        self.instance.add_run_tags(run.run_id, {"dagster/auto_retry_run_id": again.run_id})
        return again

    def events(self):
        return [Event.model_validate_json(d.text) for d in self.bus.outbox.queue().read("test", 1000)]

    def status(self, run):
        return self.instance.get_run_by_id(run.run_id).status


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(sensors, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(sensors, "deliver", lambda *_: 0)
    monkeypatch.setattr(alert_store, "GIVE_UP_SECONDS", 2 * LATER)
    monkeypatch.setattr(alert_store, "RETENTION_SECONDS", 2 * LATER)


@pytest.fixture
def build_setup(small, tmp_path, monkeypatch):
    """`build_setup(instance=None, **settings)`: the sensors of these settings, with alerts to a webhook."""
    with ExitStack() as stack:

        def build_setup(instance=None, **changes):
            settings = {"alerts": {"webhook": True}, "database_url": f"sqlite:///{tmp_path}/alerts.db", **changes}
            (tmp_path / "settings.yaml").write_text(yaml.safe_dump({**small, **settings}))
            monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "settings.yaml"))
            return SensorSetup(load_settings(), instance or stack.enter_context(dg.DagsterInstance.ephemeral()))

        yield build_setup


@pytest.fixture
def failing_project(build_project, small):
    """`failing_project(path)`: the sensors of a project in which that file is the source of AAA."""

    def failing_project(path):
        source = {"kind": "files", "path": str(path)}
        symbols = {**small["symbols"], "AAA": {**small["symbols"]["AAA"], "source": source}}
        project = build_project({**small, "symbols": symbols, "alerts": {"webhook": True}})
        return SensorSetup(project.settings, project.instance, project)

    return failing_project


@pytest.fixture(scope="module")
def retrying():
    """An instance that retries runs whose process died, as with the project's dagster.yaml."""
    retries = {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False}
    with dg.instance_for_test(overrides={"run_retries": retries}) as instance:
        yield instance


def test_a_failing_symbol_is_one_alert_with_cause_and_next_step_and_a_count(failing_project, tmp_path):
    setup = failing_project(tmp_path / "missing.csv")
    for month in ("2019-09-01", "2019-10-01", "2019-11-01"):
        assert not setup.project.run("market_data", f"AAA|{month}").success
    assert setup.project.run("market_data", "BBB|2019-09-01").success
    (alert,) = setup.new_alerts()
    assert (alert.kind, alert.severity, alert.symbol, alert.count) == ("run_failure", "ERROR", "AAA", 3)
    assert alert.place == "candles AAA|2019-09-01"
    assert alert.cause.startswith("SourceError: AAA: source files ")
    assert "missing.csv" in alert.cause
    assert alert.next_step == "Mend source.path or put the file there"
    assert alert.url == f"http://127.0.0.1:3000/runs/{alert.run_id}"
    assert not setup.project.run("market_data", "AAA|2019-12-01").success
    assert setup.new_alerts() == []


def test_refused_bars_are_an_alert_of_their_check_only(failing_project, tmp_path):
    bars = tmp_path / "bars.csv"
    rows = [f"2019-09-{d:02}T{h:02}:00:00Z,100,101,99,100,5" for d in range(1, 31) for h in range(0, 24, 4)]
    rows[50] = rows[50].replace(",101,99,", ",90,99,")
    bars.write_text("\n".join(["open_time,open,high,low,close,volume", *rows]))
    setup = failing_project(bars)
    assert not setup.project.run("market_data", "AAA|2019-09-01").success
    (alert,) = setup.new_alerts()
    assert (alert.kind, alert.symbol, alert.place) == (
        "check_failure",
        "AAA",
        "check quality of candles AAA|2019-09-01",
    )
    assert "AAA" in alert.cause
    assert alert.next_step.startswith("Check the source's column mapping and its adjustment. If this really happened")


@pytest.fixture
def bars_file(tmp_path):
    """A file with 4-hourly bars from September 2019 to January 2020."""
    file = tmp_path / "bars.csv"
    times = pd.date_range("2019-09-01", "2020-02-01", freq="4h", inclusive="left")
    rows = [f"{time:%Y-%m-%dT%H:%M}:00Z,100,101,99,100,5" for time in times]
    file.write_text("\n".join(["open_time,open,high,low,close,volume", *rows]))
    return file


def test_a_failed_nested_run_and_its_surrounding_run_are_one_alert(failing_project, bars_file, monkeypatch):
    setup = failing_project(bars_file)

    def unreadable(*_):
        raise SourceError("AAA", "files", "no such file", "Mend source.path or put the file there")

    monkeypatch.setattr(ingestion, "fetch_month", unreadable)
    job = setup.project.definitions.resolve_job_def("clm_cycle")
    config = {"symbols": ["AAA"], "week": "2020-01-06"}
    job.execute_in_process(
        instance=setup.instance, run_config={"ops": {"run_cycle": {"config": config}}}, raise_on_error=False
    )
    assert [run.status.value for run in setup.instance.get_runs()] == ["FAILURE", "FAILURE"]
    (alert,) = setup.new_alerts()
    assert (alert.symbol, alert.next_step) == ("AAA", "Mend source.path or put the file there")


def test_a_stopped_surrounding_run_is_one_alert_and_its_nested_run_none(failing_project, bars_file, monkeypatch):
    setup = failing_project(bars_file)

    def stopped(*_):
        raise DagsterExecutionInterruptedError

    monkeypatch.setattr(ingestion, "fetch_month", stopped)
    setup.project.definitions.resolve_job_def("clm_cycle").execute_in_process(
        instance=setup.instance,
        run_config={"ops": {"run_cycle": {"config": {"week": "2020-01-06"}}}},
        raise_on_error=False,
    )
    assert [run.status.value for run in setup.instance.get_runs()] == ["FAILURE", "FAILURE"]
    (alert,) = setup.new_alerts()
    assert alert.place.startswith("job clm_cycle")


def test_a_symbol_that_failed_before_its_nested_run_is_an_alert_of_the_surrounding_run(failing_project, tmp_path):
    setup = failing_project(tmp_path / "missing.csv")
    job = setup.project.definitions.resolve_job_def("clm_cycle")
    config = {"symbols": ["AAA"], "week": "2020-01-07"}
    job.execute_in_process(
        instance=setup.instance, run_config={"ops": {"run_cycle": {"config": config}}}, raise_on_error=False
    )
    (around,) = setup.instance.get_runs()
    tags = {"clm/launched_by": around.run_id, "symbol": "AAA"}  # of a nested run that a person executed again
    setup.run(status=dg.DagsterRunStatus.FAILURE, tags=tags, remote_job_origin=LAUNCHED)
    assert {(alert.symbol, alert.run_id) for alert in setup.new_alerts()} == {("AAA", around.run_id)}


def test_a_retried_run_is_an_alert_after_its_last_attempt(build_setup, retrying):
    setup = build_setup(retrying)
    run, alerts = setup.run(remote_job_origin=LAUNCHED), []
    for number in range(3):
        run = setup.again(run) if number else run
        message = f"Run execution process for {run.run_id} was terminated by signal 9 (SIGKILL)."
        retrying.report_engine_event(message, run)
        retrying.report_run_failed(run)
        alerts.append(setup.new_alerts())
    assert alerts[:2] == [[], []]
    (alert,) = alerts[2]
    assert alert.run_id == run.run_id
    assert alert.cause.endswith("was terminated by signal 9 (SIGKILL).")
    assert alert.next_step.startswith("look for the kernel's out-of-memory killer")
    assert json.loads(setup.cursors[sensors.RUNS_SENSOR])["waiting"] == {}


def test_the_wait_for_a_retry_is_bounded(build_setup, retrying):
    setup = build_setup(retrying)
    run = setup.run(remote_job_origin=LAUNCHED)
    retrying.report_run_failed(run, "Exceeded maximum runtime of 3600 seconds.")
    run = retrying.get_run_by_id(run.run_id)
    assert is_over(retrying, run, 1) is None
    assert is_over(retrying, run, RETRY_WAIT_SECONDS + 1) is True
    assert setup.new_alerts() == []
    retrying.add_run_tags(run.run_id, {"dagster/will_retry": "false"})
    (alert,) = setup.new_alerts()
    assert alert.next_step.startswith("raise TRAINING_JOB_TIMEOUT")


def test_a_symbol_whose_storage_failed_is_an_alert_after_the_last_attempt_of_its_batch(build_setup, retrying):
    setup = build_setup(retrying)
    batch = setup.run(remote_job_origin=LAUNCHED, job="weekly_cycle_batch")
    for is_last in (False, True):
        nested = setup.run(tags={RESTART_TAG: "true", LAUNCHED_BY: batch.run_id, "symbol": "AAA"})
        training = TrainingJob(setup.bus, "AAA", "a", f"{nested.run_id}/AAA|2020-01-06/a")
        with training.publish_started("SCHEDULED", "weekly"):
            pass
        retrying.report_run_failed(nested, "too many retries for DB connection")
        assert setup.new_alerts() == [], "the batch has not ended"
        retrying.report_run_failed(batch)
        if not is_last:
            assert setup.new_alerts() == []
            batch = setup.again(batch)
            assert setup.new_alerts() == []
            assert [e.payload.status for e in setup.events() if "completed" in e.type] == ["failed"], "of the first"
    retrying.add_run_tags(batch.run_id, {"dagster/will_retry": "false"})
    assert {alert.run_id for alert in setup.new_alerts()} == {nested.run_id, batch.run_id}


def test_the_wait_for_the_surrounding_run_is_bounded_and_its_restart_is_waited_for_from_its_end(build_setup, retrying):
    setup = build_setup(retrying)
    batch = setup.run(remote_job_origin=LAUNCHED, job="weekly_cycle_batch")
    tags = {RESTART_TAG: "true", LAUNCHED_BY: batch.run_id}
    nested, again = setup.run(tags=tags), setup.run(tags=tags, remote_job_origin=LAUNCHED)
    for run in (nested, again):
        retrying.report_run_failed(run)
    nested, again = (retrying.get_run_by_id(run.run_id) for run in (nested, again))
    assert is_over(retrying, nested, PARENT_WAIT_SECONDS - 1) is None
    assert is_over(retrying, nested, PARENT_WAIT_SECONDS + 1) is True, "nobody may have watched its process"
    retrying.report_run_failed(batch)
    assert is_over(retrying, nested, RETRY_WAIT_SECONDS + 1) is None, "the batch has just ended"
    assert is_over(retrying, again, RETRY_WAIT_SECONDS + 1) is True, "a person executed it again: it is no nested run"


def test_a_dead_training_is_published_as_failed_after_its_last_attempt(build_setup, retrying):
    setup = build_setup(retrying)
    first = setup.run(remote_job_origin=LAUNCHED, tags={"dagster/max_retries": "1"})
    jobs = [TrainingJob(setup.bus, "AAA", recipe, f"{first.run_id}/AAA|2020-01-06/{recipe}") for recipe in ("a", "b")]
    with jobs[0].publish_started("SCHEDULED", "weekly"):
        pass
    jobs[0].publish_succeeded("v1", {}, 1.0)
    other = TrainingJob(setup.bus, "BBB", "a", "another-run/BBB|2020-01-06/a")
    for job in (jobs[1], other):
        with job.publish_started("SCHEDULED", "weekly"):
            pass
    before = setup.events()
    retrying.report_run_failed(first)
    setup.tick()
    assert setup.events() == before
    again = setup.again(first)
    retrying.add_run_tags(again.run_id, {"dagster/max_retries": "1"})
    with jobs[1].publish_started("SCHEDULED", "weekly"):
        pass
    assert setup.events() == before, "the run that tries it again goes on with the same training"
    retrying.report_run_failed(retrying.get_run_by_id(again.run_id))
    assert "1 trainings published as failed" in setup.tick().skip_message
    (ended,) = setup.events()[len(before) :]
    assert (ended.symbol, ended.payload.job_id, ended.payload.status) == ("AAA", jobs[1].job_id, "failed")
    assert (ended.payload.model_version, ended.payload.duration_seconds) == (None, None)
    jobs[1].publish_succeeded("v2", {}, 1.0)
    assert [e.payload.status for e in setup.events()[len(before) :]] == ["failed", "succeeded"]


def test_nested_runs_of_a_dead_run_fail_with_it_as_one_alert(build_setup):
    setup = build_setup()
    parent = setup.run(job="retrain", tags={"symbol": "AAA"})
    inside = setup.run(tags={"clm/launched_by": parent.run_id})
    done = setup.run(status=dg.DagsterRunStatus.SUCCESS, tags={"clm/launched_by": parent.run_id})
    foreign = setup.run(tags={"clm/launched_by": "another"})
    by_person = setup.run(tags={"clm/launched_by": parent.run_id}, remote_job_origin=LAUNCHED)
    training = TrainingJob(setup.bus, "AAA", "a", f"{inside.run_id}/AAA|2020-01-06/a")
    with training.publish_started("MANUAL", "asked"):
        pass
    setup.instance.report_run_failed(parent)
    assert "1 runs ended with the one that ran them" in setup.tick().skip_message
    assert [setup.status(r).value for r in (inside, done)] == ["FAILURE", "SUCCESS"]
    assert [setup.status(r).value for r in (foreign, by_person)] == ["STARTED", "STARTED"]
    (alert,) = setup.new_alerts()
    assert (alert.run_id, alert.symbol, alert.place) == (parent.run_id, "AAA", "job retrain AAA|2020-01-06")
    assert [e.payload.status for e in setup.events() if e.type == "model.training_completed"] == ["failed"]
    assert setup.new_alerts() == []


def test_a_nested_run_that_monitoring_failed_is_no_second_alert(build_setup, monkeypatch):
    setup = build_setup()
    parent = setup.run(job="retrain", tags={"symbol": "AAA"})
    inside = setup.run(tags={"clm/launched_by": parent.run_id})
    setup.instance.report_run_failed(parent)
    launcher = WatchfulRunLauncher()
    launcher.register_instance(setup.instance)
    health = launcher.check_run_worker_health(inside)
    assert health.status == WorkerStatus.FAILED
    assert isinstance(health, CheckRunHealthResult)
    message = f"Detected run worker status {health}. Marking run {inside.run_id} as failed."  # as run_monitoring does
    setup.instance.report_run_failed(inside, message)
    (alert,) = setup.new_alerts()
    assert alert.run_id == parent.run_id


def test_a_manual_reexecution_has_its_own_trainings(build_setup, retrying):
    setup = build_setup(retrying)
    first = setup.run(status=dg.DagsterRunStatus.FAILURE, remote_job_origin=LAUNCHED)
    ids = {"root_run_id": first.run_id, "parent_run_id": first.run_id}
    by_person = setup.run(status=dg.DagsterRunStatus.FAILURE, remote_job_origin=LAUNCHED, **ids)
    again = setup.again(by_person)
    jobs = [f"{first_attempt(retrying, run)}/AAA|2020-01-06/a" for run in (first, by_person, again)]
    assert [job.partition("/")[0] for job in jobs] == [first.run_id, by_person.run_id, by_person.run_id]
    for job in jobs[:2]:
        with TrainingJob(setup.bus, "AAA", "a", job).publish_started("MANUAL", "asked"):
            pass
    (record,) = retrying.get_run_records(dg.RunsFilter(run_ids=[again.run_id]))
    assert fail_trainings(retrying, setup.bus, [record]) == [jobs[1]]


def test_a_cancelled_run_is_no_alert_but_its_training_is_published_as_failed(build_setup):
    setup = build_setup()
    run = setup.run()
    with TrainingJob(setup.bus, "AAA", "a", f"{run.run_id}/AAA|2020-01-06/a").publish_started("MANUAL", "asked"):
        pass
    setup.instance.report_run_canceled(run)
    assert setup.new_alerts() == []
    assert setup.events()[-1].payload.status == "failed"


def test_a_tick_that_cannot_record_its_findings_is_repeated(build_setup, monkeypatch):
    setup = build_setup()
    setup.instance.report_run_failed(setup.run())
    with monkeypatch.context() as patch:

        def down(*_):
            raise DatabaseError("no database")

        patch.setattr(alert_store, "record", down)
        with pytest.raises(DatabaseError):
            setup.tick()
    assert len(setup.new_alerts()) == 1


def report(setup, check, passed, severity, **fields):
    evaluation = AssetCheckEvaluation(
        asset_key=dg.AssetKey(fields.pop("asset", "candles")),
        check_name=check,
        passed=passed,
        severity=severity,
        metadata={},
        **fields,
    )
    setup.instance.report_runless_asset_event(evaluation)


@pytest.mark.parametrize(
    ("warnings", "checks"), [(False, ["leak_free", "no_drift"]), (True, ["leak_free", "no_decay", "no_drift"])]
)
def test_a_failed_check_is_an_alert_although_its_run_succeeded(build_setup, warnings, checks):
    setup = build_setup(alerts={"webhook": True, "warnings": warnings})
    error, warn = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
    report(setup, "quality", True, error)
    report(
        setup, "leak_free", False, error, asset="xgboost_model", description="xgboost AAA|2020-01-06: it looks ahead"
    )
    report(setup, "no_decay", False, warn, asset="decay_report", partition="AAA|2020-01-06", description="DECAYED")
    drifted = {"asset": "drift_report", "partition": "BBB|2020-01-06"}
    report(setup, "no_drift", False, error, description="BBB|2020-01-06 SEVERE: 2 columns", **drifted)
    report(setup, "rsi", False, error, description="BBB|2020-01-06 SEVERE: drift", **drifted)
    alerts = setup.new_alerts()
    assert sorted(alert.place.split()[1] for alert in alerts) == checks
    assert {alert.symbol for alert in alerts if "no_drift" in alert.place} == {"BBB"}
    assert {alert.symbol for alert in alerts if "no_drift" not in alert.place} == {"AAA"}
    assert all(alert.next_step and alert.url is None for alert in alerts)
    assert setup.new_alerts() == []


def test_of_the_weeks_of_a_symbol_that_fail_in_one_run_the_newest_is_an_alert(build_setup):
    setup = build_setup()
    run_id = setup.run().run_id
    for partition in ("AAA|2020-01-13", "AAA|2020-01-20", "AAA|2020-01-06", "BBB|2020-01-06"):
        evaluation = AssetCheckEvaluation(
            asset_key=dg.AssetKey("ppo_model"),
            check_name="agent_finite",
            passed=False,
            metadata={},
            partition=partition,
        )
        kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION.value
        setup.instance.report_dagster_event(DagsterEvent(kind, "weekly_cycle", event_specific_data=evaluation), run_id)
    places = sorted(alert.place for alert in setup.new_alerts())
    assert places == [
        "check agent_finite of ppo_model AAA|2020-01-20",
        "check agent_finite of ppo_model BBB|2020-01-06",
    ]


@pytest.mark.parametrize(("message", "symbol"), [("xgboost BBB|2020-01-06: it looks ahead", "BBB"), ("it looks", None)])
def test_the_alert_of_a_check_over_several_symbols_names_the_one_in_its_description(message, symbol):
    evaluation = AssetCheckEvaluation(
        asset_key=dg.AssetKey("xgboost_model"),
        check_name="leak_free",
        passed=False,
        metadata={},
        severity=dg.AssetCheckSeverity.ERROR,
        description=message,
    )
    ends = {"start": "AAA|2020-01-06", "end": "BBB|2020-01-06"}
    tags = {f"dagster/asset_partition_range_{end}": key for end, key in ends.items()}
    assert check_finding(evaluation, "run", tags).symbol == symbol


def test_events_younger_than_the_settling_time_wait_for_the_next_tick(build_setup, monkeypatch):
    setup = build_setup()
    monkeypatch.setattr(sensors, "SETTLE_SECONDS", 60)
    setup.instance.report_run_failed(setup.run())
    report(setup, "quality", False, dg.AssetCheckSeverity.ERROR, description="AAA|2020-01-01: a gap")
    assert setup.new_alerts() == []
    monkeypatch.setattr(sensors, "SETTLE_SECONDS", 0)
    assert len(setup.new_alerts()) == 2


def test_a_clock_that_was_set_back_does_not_block_the_sensor(build_setup, monkeypatch):
    setup = build_setup()
    setup.instance.report_run_failed(setup.run())
    hour_ago = time.time() - 3600
    monkeypatch.setattr(sensors, "SETTLE_SECONDS", 5)
    monkeypatch.setattr(sensors, "time", SimpleNamespace(time=lambda: hour_ago))
    assert len(setup.new_alerts()) == 1


def test_max_concurrent_training_jobs_becomes_the_limit_of_the_pool(build_setup, retrying, monkeypatch):
    monkeypatch.setenv("MAX_CONCURRENT_TRAINING_JOBS", "7")
    build_setup(retrying)
    assert {pool.name: pool.limit for pool in retrying.event_log_storage.get_pool_limits()} == {"training": 7}
    assert not limit_training(retrying, 7)


def test_both_sensors_are_on_by_default(build_setup):
    sensors = build_setup().sensors
    assert {*sensors} == {"run_failure_sensor", "check_failure_sensor"}
    assert {sensor.default_status for sensor in sensors.values()} == {dg.DefaultSensorStatus.RUNNING}
