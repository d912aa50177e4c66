"""Jobs `<job>_batch`: schedules start them for many symbols; each symbol keeps its run, its failure and its bytes."""

from math import ceil

import dagster as dg
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.automation import scheduled_training
from quantum_training.automation.failures.findings import run_findings
from quantum_training.automation.jobs import batches
from quantum_training.automation.jobs.asset_jobs import WEEKLY_CYCLE
from quantum_training.automation.jobs.batches import KEY_TAG, LARGEST, in_batches, op_name, starts_batches
from quantum_training.automation.scheduled_training import TRAINING_TAG, plan_tick
from quantum_training.partitions import build_partitions
from quantum_training.resources.run_origin import LAUNCHED_BY
from quantum_training.settings import load_settings

MONDAY = pd.Timestamp("2020-02-10T02:00", tz="UTC")
SUCCESS, FAILURE = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE


@pytest.fixture
def project(build_project, small, monkeypatch, skill_not_measured):
    """Two symbols, and room for one run at a time."""
    monkeypatch.setattr(scheduled_training, "utc_now", lambda: MONDAY)
    return build_project({**small, "max_concurrent_training_jobs": 1})


def batch_of(project, time=MONDAY):
    """The one batch of a tick of `weekly_cycle_schedule`."""
    grids = build_partitions([*project.settings.symbols], f"{project.settings.start}")
    requests = plan_tick(project.settings, grids, project.store, project.instance, time).requests
    (batch,) = in_batches(project.settings, WEEKLY_CYCLE, requests)
    return batch


def launch(project, request):
    job = project.definitions.resolve_job_def("weekly_cycle_batch")
    return job.execute_in_process(
        instance=project.instance, run_config=request.run_config, tags=dict(request.tags), raise_on_error=False
    )


def runs_by_symbol(project):
    return {run.tags["symbol"]: run for run in project.instance.get_runs(dg.RunsFilter(job_name="weekly_cycle"))}


@pytest.mark.long
def test_a_batch_leaves_what_one_run_for_each_symbol_leaves(project, build_project, small):
    for symbol in ("AAA", "BBB"):
        project.market_data(symbol)
    batch = batch_of(project)
    result = launch(project, batch)
    assert result.success
    runs = runs_by_symbol(project)
    assert {symbol: run.status for symbol, run in runs.items()} == {"AAA": SUCCESS, "BBB": SUCCESS}
    assert {run.tags[LAUNCHED_BY] for run in runs.values()} == {result.run_id}
    assert runs["BBB"].tags[TRAINING_TAG] == "BBB|2020-02-10T00:00:00+00:00"
    assert runs["BBB"].tags["reason"] == "weekly refresh"

    one_by_one = build_project(small)
    for symbol in ("AAA", "BBB"):
        assert one_by_one.market_data(symbol).run("weekly_cycle", f"{symbol}|2020-02-10").success
    assert project.stored() == one_by_one.stored()


def test_a_symbol_that_fails_stops_no_other_and_has_its_own_findings(project, monkeypatch):
    for symbol in ("AAA", "BBB"):
        project.market_data(symbol)
    batch = batch_of(project)
    for file in (project.home / "store" / "candles" / "AAA").iterdir():
        file.write_bytes(b"torn")
    result = launch(project, batch)
    assert not result.success
    assert {symbol: run.status for symbol, run in runs_by_symbol(project).items()} == {"AAA": FAILURE, "BBB": SUCCESS}
    records = project.instance.get_run_records(dg.RunsFilter(statuses=[FAILURE]))
    found = [f for record in records for f in run_findings(project.instance, record.dagster_run, "failed")]
    assert {finding.symbol for finding in found} == {"AAA"}, "and none of the batch itself"
    assert not [f for f in found if op_name(WEEKLY_CYCLE) in f.place]

    began = []
    monkeypatch.setattr(batches, "first_attempt", lambda instance, run: result.run_id)
    monkeypatch.setattr(batches, "run_nested", lambda context, job, nested: began.append(nested.symbol))
    assert launch(project, batch).success
    assert began == ["AAA"], "a restarted batch goes on with what did not succeed"


def test_the_symbols_of_a_batch_that_waits_are_not_started_again(project):
    for symbol in ("AAA", "BBB"):
        project.market_data(symbol)
    batch = batch_of(project)
    grids = build_partitions([*project.settings.symbols], f"{project.settings.start}")
    queued = dg.DagsterRun(
        job_name="weekly_cycle_batch", run_config=batch.run_config, status=dg.DagsterRunStatus.STARTING
    )
    project.instance.add_run(queued)
    assert not plan_tick(project.settings, grids, project.store, project.instance, MONDAY).requests
    project.instance.report_run_failed(queued)
    assert batch_of(project) == batch, "what a lost batch did not begin is asked for again"


def test_training_inside_a_week_keeps_its_recipes_and_its_time(project, monkeypatch):
    monkeypatch.setenv("TRAINING_CRON_SCHEDULE", "0 2,14 * * *")
    settings = load_settings()
    project.market_data("AAA")
    assert project.run("weekly_cycle", "AAA|2020-02-10").success
    grids = build_partitions([*settings.symbols], f"{settings.start}")
    monkeypatch.setattr(scheduled_training, "utc_now", lambda: MONDAY + pd.Timedelta("12h"))
    requests = plan_tick(settings, grids, project.store, project.instance, MONDAY + pd.Timedelta("12h")).requests
    assert launch(project, in_batches(settings, WEEKLY_CYCLE, requests)[0]).success
    versions = project.store.read_record("xgboost_model", "AAA", "2020-02-10")["versions"]
    assert [version["as_of"] for version in versions] == ["2020-02-10T00:00:00+00:00", "2020-02-10T12:00:00+00:00"]


def test_an_unknown_symbol_is_refused_before_anything_runs(project):
    run = {"key": "a", "symbol": "CCC"}
    request = dg.RunRequest(run_config={"ops": {op_name(WEEKLY_CYCLE): {"config": {"runs": [run]}}}})
    result = launch(project, request)
    assert not result.success
    assert "unknown symbols CCC" in str([e.step_failure_data for e in result.all_events if e.is_step_failure])


@pytest.mark.parametrize(
    ("changes", "batches_started"),
    [({"max_concurrent_training_jobs": 2}, False), ({"max_concurrent_training_jobs": 1}, True)],
)
def test_schedules_start_batches_if_there_are_more_symbols_than_runs_at_a_time(
    build_project, small, changes, batches_started
):
    project = build_project({**small, **changes})
    assert starts_batches(project.settings, WEEKLY_CYCLE) is batches_started
    repository = project.definitions.get_repository_def()
    for job in ("market_data", "weekly_cycle", "drift", "trading_signals"):
        (schedule,) = (s for s in repository.schedule_defs if s.job_name in (job, f"{job}_batch"))
        assert (schedule.job_name == f"{job}_batch") is batches_started
    assert repository.get_sensor_def("weekly_cycle_sensor").job_name == (
        "weekly_cycle_batch" if batches_started else "weekly_cycle"
    )


@given(
    venues=st.lists(st.sampled_from(["", "binance", "kraken"]), max_size=400),
    workers=st.integers(1, 20),
)
def test_every_symbol_is_in_one_batch_with_others_of_its_venue(venues, workers):
    settings = load_settings()
    market = next(iter(settings.symbols.values()))
    settings = settings.model_copy(
        update={
            "symbols": dict.fromkeys([f"S{n}" for n in range(len(venues))] + [f"T{n}" for n in range(20)], market),
            "max_concurrent_training_jobs": workers,
        }
    )
    requests = [
        dg.RunRequest(
            run_key=f"S{n}@now",
            partition_key=f"S{n}",
            tags={"symbol": f"S{n}", "dagster/priority": "5", **({"exchange": venue} if venue else {})},
        )
        for n, venue in enumerate(venues)
    ]
    made = in_batches(settings, WEEKLY_CYCLE, requests)
    runs = [run for batch in made for run in batch.run_config["ops"][op_name(WEEKLY_CYCLE)]["config"]["runs"]]
    assert sorted(run["key"] for run in runs) == sorted(request.run_key for request in requests)
    assert all(run["tags"]["symbol"] == run["symbol"] == run["first"] or run["first"] == "" for run in runs)
    assert len({batch.run_key for batch in made}) == len(made)
    for batch in made:
        own = batch.run_config["ops"][op_name(WEEKLY_CYCLE)]["config"]["runs"]
        assert len(own) <= min(LARGEST, ceil(len(venues) / workers))
        assert {run["tags"].get("exchange", "") for run in own} == {batch.tags.get("exchange", "")}
        assert batch.tags["dagster/priority"] == "5"
        assert batch.tags["dagster/max_runtime"] == str(settings.training_job_timeout * len(own))
    assert all(KEY_TAG not in batch.tags for batch in made)


@pytest.mark.parametrize(
    ("symbols", "workers", "sizes"),
    [(500, 2, {84, 80}), (101, 1, {51, 50}), (100, 1, {100}), (7, 2, {4, 3}), (1000, 3, {84, 76}), (250, 20, {13, 3})],
)
def test_all_workers_have_the_same_number_of_batches_and_all_but_one_the_same_size(symbols, workers, sizes):
    settings = load_settings()
    market = next(iter(settings.symbols.values()))
    names = [f"S{n}" for n in range(symbols)]
    settings = settings.model_copy(
        update={"symbols": dict.fromkeys(names, market), "max_concurrent_training_jobs": workers}
    )
    requests = [dg.RunRequest(run_key=name, partition_key=name, tags={"symbol": name}) for name in names]
    made = in_batches(settings, WEEKLY_CYCLE, requests)
    found = [len(b.run_config["ops"][op_name(WEEKLY_CYCLE)]["config"]["runs"]) for b in made]
    assert sum(found) == symbols
    assert set(found) == sizes
    assert len(found) % workers == 0
