"""The trainings of weekly_cycle_schedule: late market data, missed and failed ticks, several ticks a week."""

import dataclasses
import shutil
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from quantum_training.automation import scheduled_training
from quantum_training.automation.scheduled_training import SENSOR, TRAINING_TAG, plan_tick
from quantum_training.definitions import build_defs
from quantum_training.lifecycle.evaluation.leakage import skill_record
from quantum_training.lifecycle.records import write_record
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.market.periods import month_of, week_of
from quantum_training.partitions import RANGE_TAGS, build_partitions
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings
from quantum_training_tests.support.processes import wait_for
from quantum_training_tests.support.records import decay

MONDAY = pd.Timestamp("2020-02-10", tz="UTC")
THREE_A_DAY = "0 2,14,22 * * *"
DONE, FAILED = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE


class Sensor:
    """The sensor over a store that a test fills, after a tick that the test names."""

    def __init__(self, project):
        self.project, self.cursor, self.requests = project, None, []

    def cover(self, symbol, until):
        until = pd.Timestamp(until, tz="UTC")
        bar = until - pd.Timedelta("1ns")
        frame = pd.DataFrame({"a": [1.0]}, pd.DatetimeIndex([bar.normalize()]))
        self.project.store.write_frame("features", symbol, month_of(bar), frame, {"covered_until": until.isoformat()})

    def evaluate(self):
        """One evaluation; its runs are recorded as running."""
        sensor = self.project.definitions.resolve_sensor_def(SENSOR)
        with dg.build_sensor_context(
            instance=self.project.instance,
            cursor=self.cursor,
            repository_def=self.project.definitions.get_repository_def(),
            resources={"store": self.project.store},
        ) as context:
            data = sensor.evaluate_tick(context)
        self.cursor = data.cursor or self.cursor
        for request in data.run_requests:
            run = dg.DagsterRun(job_name="weekly_cycle", tags=dict(request.tags), status=dg.DagsterRunStatus.STARTED)
            self.project.instance.add_run(run)
        return [request.tags[TRAINING_TAG] for request in data.run_requests] or data.skip_message

    def end(self, status):
        """End every running run."""
        for run in self.project.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
            end = dg.DagsterEventType.RUN_SUCCESS if status == DONE else dg.DagsterEventType.RUN_FAILURE
            event = dg.DagsterEvent(end.value, run.job_name)
            self.project.instance.report_dagster_event(event, run.run_id)


@pytest.fixture
def sensor(build_project, small, monkeypatch):
    """The sensor on Monday 02:05, after the tick of 02:00."""
    monkeypatch.setattr(scheduled_training, "utc_now", lambda: MONDAY + pd.Timedelta("2h5min"))
    monkeypatch.setattr(scheduled_training, "_newest_tick", lambda instance: MONDAY + pd.Timedelta("2h"))
    return Sensor(build_project(small))


def test_the_sensor_does_nothing_before_the_schedule_has_ticked(build_project, small, tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        project = dataclasses.replace(build_project(small), instance=instance)
        assert "is off or has not ticked yet" in Sensor(project).evaluate()


def test_a_late_symbol_is_started_once_when_its_data_are_there(sensor):
    week = "2020-02-10T00:00:00+00:00"
    sensor.cover("AAA", "2020-02-10 00:30")
    assert sensor.evaluate() == [f"AAA|{week}"]
    assert "BBB has no features" in sensor.evaluate()
    sensor.end(FAILED)
    sensor.cover("BBB", "2020-02-10 02:04")
    assert sensor.evaluate() == [f"BBB|{week}"], "and not AAA, which failed with its data"
    sensor.evaluate()
    assert sensor.evaluate() == "every training of the tick of 2020-02-10 02:00 was started"


def test_a_week_without_data_fails_aloud_after_a_day(sensor, monkeypatch):
    sensor.cover("AAA", "2020-02-10 00:30")
    sensor.evaluate()
    monkeypatch.setattr(scheduled_training, "utc_now", lambda: MONDAY + pd.Timedelta("1D2h"))
    assert sensor.evaluate() == ["BBB|2020-02-10T00:00:00+00:00 without data"]
    sensor.end(FAILED)
    assert "BBB has no features" in sensor.evaluate()
    sensor.cover("BBB", "2020-02-12")
    assert sensor.evaluate() == ["BBB|2020-02-10T00:00:00+00:00"]


def test_missed_weeks_run_in_order(sensor):
    for symbol in ("AAA", "BBB"):
        sensor.cover(symbol, "2020-02-10 00:30")
        write_record(sensor.project.store, symbol, "2020-01-27", decay("2020-01-27"))
    assert sensor.evaluate() == [f"{s}|2020-02-03T00:00:00+00:00" for s in ("AAA", "BBB")]
    assert "another training of AAA has not ended" in sensor.evaluate()
    sensor.end(DONE)
    assert sensor.evaluate() == [f"{s}|2020-02-10T00:00:00+00:00" for s in ("AAA", "BBB")]


@pytest.mark.long
def test_three_ticks_a_day_give_three_versions_each_scored_from_its_as_of_on(build_project, small, monkeypatch):
    monkeypatch.setenv("TRAINING_CRON_SCHEDULE", THREE_A_DAY)
    del small["symbols"]["BBB"]
    project = build_project(small).market_data()
    grids = build_partitions([*project.settings.symbols], f"{project.settings.start}")

    def run(time):
        """Run what a tick asks for; returns its requests."""
        tick = pd.Timestamp(time, tz="UTC")
        requests = plan_tick(project.settings, grids, project.store, project.instance, tick).requests
        for request in requests:
            project.run(
                "weekly_cycle",
                request.tags["dagster/partition"],
                tags=dict(request.tags),
                run_config=request.run_config,
                asset_selection=request.asset_selection,
            )
        return requests

    ticks = ["2020-02-10 02:00", "2020-02-10 14:00", "2020-02-10 22:00", "2020-02-11 02:00"]
    requests = [run(tick) for tick in ticks]
    assert [len(of_tick) for of_tick in requests] == [1] * 4
    weekly, *inside = [of_tick[0] for of_tick in requests]
    assert weekly.asset_selection is None
    assert {frozenset(key.to_user_string() for key in r.asset_selection) for r in inside} == {
        frozenset({"xgboost_model", "lightgbm_model"})
    }
    for recipe in ("xgboost", "lightgbm"):
        versions = project.store.read_record(f"{recipe}_model", "AAA", "2020-02-10")["versions"]
        as_ofs = [f"{pd.Timestamp(version['as_of']):%m-%d %H}" for version in versions]
        assert as_ofs == ["02-10 00", "02-10 12", "02-10 20", "02-11 00"]
        assert len({version["model_id"] for version in versions}) == 4
    assert list(project.store.read_records("champion", "AAA")) == ["2020-02-10"], "decisions stay weekly"

    before = project.stored()
    assert [run(tick) for tick in ticks] == [[]] * 4
    again = inside[1]
    assert project.run(
        "weekly_cycle",
        again.tags["dagster/partition"],
        run_config=again.run_config,
        asset_selection=again.asset_selection,
    ).success
    assert project.stored() == before, "the same tick gives the same version"

    (next_week,) = run("2020-02-17 02:00")
    assert next_week.asset_selection is None
    scores = project.store.read_frame("shadow_scores", "AAA", "2020-02-17")
    for recipe in ("xgboost", "lightgbm"):
        accepted = versions_of(project.store, "AAA", recipe, "2020-02-10")
        decided = scores.loc[scores["strategy"] == recipe, "model_id"]
        expected = [max((v.as_of, v.model_id) for v in accepted if v.as_of <= bar)[1] for bar in decided.index]
        assert list(decided) == expected
        assert len({*decided}) > 1
    assert list(project.store.read_records("champion", "AAA")) == ["2020-02-10", "2020-02-17"]


@pytest.mark.long
def test_the_daemon_runs_the_week_of_a_late_symbol_as_soon_as_its_data_are_there(
    platform, build_project, small, monkeypatch
):
    home, now = platform.home, pd.Timestamp.now("UTC").floor("min")
    began = now - pd.Timedelta(days=100)
    market = {"timeframe": "1h", "recipes": ["lightgbm"]}
    market["source"] = {"kind": "synthetic", "seed": 3, "start": f"{began:%Y-%m-%d}"}
    settings = {**small, "start": f"{began:%Y-%m-%d}", "symbols": {"AAA": market, "BBB": market}}
    other = build_project(settings)
    cron = f"{now.minute} {now.hour} * * {now.isoweekday() % 7}"
    names = platform.configure(settings, "telemetry: {enabled: false}\n", monkeypatch, TRAINING_CRON_SCHEDULE=cron)
    store, week = Store(root=str(home / "store")), f"{week_of(now):%Y-%m-%d}"
    skill_record(store, "lightgbm", other.settings.recipes["lightgbm"])  # once here instead of in both runs

    with dg.DagsterInstance.from_config(str(home)) as instance:

        def bring_data(symbol):
            months = [f"{symbol}|{day:%Y-%m-01}" for day in (now - pd.Timedelta(days=65), now)]
            job = build_defs(load_settings()).resolve_job_def("market_data")
            tags = dict(zip(RANGE_TAGS, months, strict=True))
            assert job.execute_in_process(instance=instance, tags=tags, raise_on_error=False).success

        def runs(symbol):
            return instance.get_runs(dg.RunsFilter(job_name="weekly_cycle", tags={"symbol": symbol}))

        def ended(symbol):
            return [run for run in runs(symbol) if run.is_finished]

        bring_data("AAA")
        platform.code_server(names)
        platform.switch_on(instance, "schedule", "weekly_cycle_schedule", now - pd.Timedelta("30s"))
        platform.daemon(names)
        wait_for("the week of AAA", lambda: ended("AAA"), 240, platform.log_tails)
        assert runs("BBB") == []

        bring_data("BBB")
        wait_for("the week of BBB", lambda: ended("BBB"), 240, platform.log_tails)
        (state,) = [s for s in instance.all_instigator_state() if s.instigator_name == SENSOR]
        newest = lambda: instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)[0]  # noqa: E731
        wait_for("nothing to do", lambda: "was started" in (newest().skip_reason or ""), 120, platform.log_tails)
        (on_time,), (late,) = runs("AAA"), runs("BBB")
        assert (on_time.status, late.status) == (DONE, DONE)
        assert on_time.tags["dagster/schedule_name"] == "weekly_cycle_schedule"
        assert late.tags["dagster/sensor_name"] == SENSOR
        assert late.tags["as_of"] == on_time.tags["as_of"] == f"{week}T00:00:00+00:00"

    registry = ModelRegistry(tracking_uri=f"sqlite:///{home}/mlflow/mlflow.db")
    for symbol in ("AAA", "BBB"):
        for asset in ("candles", "features"):
            shutil.copytree(home / "store" / asset / symbol, Path(other.store.root) / asset / symbol)
        assert other.run("weekly_cycle", f"{symbol}|{week}").success
        for asset in ("lightgbm_model", "champion", "rollout", "decay_report"):
            assert store.read_record(asset, symbol, week) == other.store.read_record(asset, symbol, week), asset
        assert len(registry.client().search_model_versions(f"name = '{symbol}'")) == 1
