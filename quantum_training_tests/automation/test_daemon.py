"""The platform as a user runs it: a backfill sent as the UI sends it and a tick of the schedule, by the real daemon."""

import shutil
import time
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from quantum_training.definitions import build_defs
from quantum_training.lifecycle.evaluation.leakage import skill_record
from quantum_training.partitions import RANGE_TAGS
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings
from quantum_training_tests.support.platforms import LOCATION
from quantum_training_tests.support.processes import wait_for

DAGSTER_YAML = Path(__file__).parents[2] / "dagster_home" / "dagster.yaml"
SYMBOLS = ["SP500", "NASDAQ"]
WEEKS = ["2018-08-27", "2018-09-03", "2018-09-10"]  # more than symbols: Dagster runs over the longer side
MONTHS = ["2016-07-01", "2018-09-01"]
WEEK_GROUP = ["xgboost_model", "lightgbm_model", "shadow_scores", "backtest", "champion", "rollout", "decay_report"]
REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": LOCATION}

LAUNCH_BACKFILL = """
mutation LaunchPartitionBackfill($backfillParams: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $backfillParams) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}"""
START_SCHEDULE = """
mutation StartThisSchedule($scheduleSelector: ScheduleSelector!) {
  startSchedule(scheduleSelector: $scheduleSelector) {
    __typename
    ... on ScheduleStateResult { scheduleState { id } }
    ... on PythonError { message }
  }
}"""
STOP_SCHEDULE = """
mutation StopSchedule($id: String!) {
  stopRunningSchedule(id: $id) { __typename ... on PythonError { message } }
}"""


@pytest.fixture
def settings(small, tmp_path):
    """Two indices whose data end in 2018 and a market that is live."""
    index = {"timeframe": "1d", "calendar": "XNYS", "recipes": ["xgboost", "lightgbm"]}
    symbols = {s: {**index, "source": {"kind": "sample", "dataset": s.lower()}} for s in SYMBOLS}
    began = pd.Timestamp.now("UTC") - pd.Timedelta(days=100)
    live = {"kind": "synthetic", "start": began.strftime("%Y-%m-%d")}
    symbols["LIVE"] = {"source": live, "timeframe": "1h", "recipes": ["xgboost"]}
    return {**small, "start": MONTHS[0], "symbols": symbols}


class PhaseTimer:
    """Prints how long each phase of a test took."""

    def __init__(self):
        self.last = time.monotonic()

    def __call__(self, phase):
        now = time.monotonic()
        print(f"{now - self.last:6.1f} s  {phase}")
        self.last = now


def load(instance, job, first, last):
    """Run a job of the project in force over a range, in this process."""
    tags = dict(zip(RANGE_TAGS, (first, last), strict=True))
    definition = build_defs(load_settings()).resolve_job_def(job)
    assert definition.execute_in_process(instance=instance, tags=tags, raise_on_error=False).success


def weekly_files(root):
    """Every byte of the backfilled symbols' weekly assets by file, but for the reports: one for each run, not week."""
    files = [f for asset in WEEK_GROUP for s in SYMBOLS for f in (root / asset / s).rglob("*")]
    return {str(f.relative_to(root)): f.read_bytes() for f in files if f.suffix != ".html"}


def one_partition_at_a_time(project, source):
    """The weekly files of another project with the same market data that runs week by week."""
    for asset in ("candles", "features"):
        shutil.copytree(source / asset, Path(project.store.root) / asset)
    for symbol in SYMBOLS:
        for week in WEEKS:
            assert project.run("weekly_cycle", f"{symbol}|{week}").success
    return weekly_files(Path(project.store.root))


def check_backfill(instance, backfill_id, home, reference):
    """One run per symbol, nothing outside of the asked partitions, and the bytes of the reference."""
    backfill = instance.get_backfill(backfill_id)
    assert backfill.status == BulkActionStatus.COMPLETED_SUCCESS, backfill.error
    runs = instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill_id}))
    assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
    ranges = sorted(tuple(run.tags[tag] for tag in RANGE_TAGS) for run in runs)
    assert ranges == [(f"{s}|{WEEKS[0]}", f"{s}|{WEEKS[-1]}") for s in sorted(SYMBOLS)]
    requested = {f"{s}|{w}" for s in SYMBOLS for w in WEEKS}
    for asset in WEEK_GROUP:
        done = {k for k in instance.get_materialized_partitions(dg.AssetKey(asset)) if not k.startswith("LIVE|")}
        assert done == requested, asset
    stored = weekly_files(home / "store")
    assert {tuple(Path(name).with_suffix("").parts) for name in stored} == {
        (a, s, w) for a in WEEK_GROUP for s in SYMBOLS for w in WEEKS
    }
    assert stored == reference
    registry = ModelRegistry(tracking_uri=f"sqlite:///{home}/mlflow/mlflow.db")
    for symbol in SYMBOLS:
        versions = registry.client().search_model_versions(f"name = '{symbol}'")
        assert len({v.tags["model_id"] for v in versions}) == len(versions) == 2 * len(WEEKS)


def check_tick(run, home):
    """The live market's run for the week in progress is done."""
    monday = run.tags["dagster/partition/week"]
    assert pd.Timestamp(monday).weekday() == 0
    assert pd.Timedelta(0) <= pd.Timestamp.now() - pd.Timestamp(monday) < pd.Timedelta(days=7, minutes=5)
    assert run.tags["dagster/partition"] == f"LIVE|{monday}"
    assert run.status == dg.DagsterRunStatus.SUCCESS
    store = Store(root=str(home / "store"))
    assert list(store.read_records("champion", "LIVE")) == [monday]
    version, *_ = store.read_record("xgboost_model", "LIVE", monday)["versions"]  # later ticks may have added others
    assert version["as_of"] == f"{monday}T00:00:00+00:00"


@pytest.mark.long
def test_a_backfill_from_the_ui_and_a_tick_of_the_schedule(platform, build_project, settings, monkeypatch):
    clock, home = PhaseTimer(), platform.home
    other = build_project(settings)
    every_minute = {"TRAINING_CRON_SCHEDULE": "* * * * *"}
    names = platform.configure(settings, DAGSTER_YAML.read_text(), monkeypatch, **every_minute)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.get_runs(limit=1)  # three processes must not create the tables at the same time
        platform.start(names)
        clock("code server up")
        for symbol in SYMBOLS:
            load(instance, "market_data", *(f"{symbol}|{month}" for month in MONTHS))
        yesterday = pd.Timestamp.now("UTC") - pd.Timedelta(days=1)
        reach = (yesterday - pd.Timedelta(days=65), yesterday)
        load(instance, "market_data", *(f"LIVE|{day:%Y-%m-01}" for day in reach))
        for name, recipe in other.settings.recipes.items():  # once here instead of once per run
            skill_record(Store(root=str(home / "store")), name, recipe)
        clock("market data of three symbols and the leak sentinel in process")
        platform.ready()
        clock("webserver up")

        selection = [{"path": [asset]} for asset in WEEK_GROUP]
        keys = [f"{symbol}|{week}" for symbol in SYMBOLS for week in WEEKS]
        params = {"tags": [], "assetSelection": selection, "partitionNames": keys, "fromFailure": False}
        launched = platform.query_graphql(LAUNCH_BACKFILL, backfillParams=params)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        selector = {**REPOSITORY, "scheduleName": "weekly_cycle_schedule"}
        started = platform.query_graphql(START_SCHEDULE, scheduleSelector=selector)["startSchedule"]
        assert started["__typename"] == "ScheduleStateResult", started
        reference = one_partition_at_a_time(other, home / "store")
        clock("6 partitions one by one in process, as the reference")

        ticked = dg.RunsFilter(tags={"dagster/schedule_name": "weekly_cycle_schedule", "symbol": "LIVE"})
        wait_for("tick", lambda: instance.get_runs(ticked), 90, platform.log_tails)
        stopped = platform.query_graphql(STOP_SCHEDULE, id=started["scheduleState"]["id"])["stopRunningSchedule"]
        assert stopped["__typename"] == "ScheduleStateResult", stopped
        clock("tick of the schedule")
        running = lambda: [r for r in instance.get_runs() if not r.is_finished]  # noqa: E731
        backfilling = lambda: instance.get_backfill(launched["backfillId"]).status == BulkActionStatus.REQUESTED  # noqa: E731
        wait_for("end of the runs", lambda: not backfilling() and not running(), 150, platform.log_tails)
        clock("rest of the backfill and of the tick's runs")

        check_backfill(instance, launched["backfillId"], home, reference)
        *_, run = instance.get_runs(ticked)  # the first: a later tick of the week trains inside it
        check_tick(run, home)
        assert not [r for r in instance.get_runs() if r.parent_run_id], "a run that failed for want of data was retried"
        clock("checks")
