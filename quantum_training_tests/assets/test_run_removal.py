"""Old runs go and Dagster still knows the state of every partition and check: SQLite and Postgres, by Dagster's API."""

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa
from dagster._core.events import DagsterEventType
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.storage.dagster_run import DagsterRunStatus
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from dagster._core.storage.runs.schema import RunTagsTable
from dagster._core.test_utils import create_run_for_test

from quantum_training.assets.run_removal import SHORTENED, remove_runs, remove_ticks
from quantum_training.automation.retraining.planning import read_budget
from quantum_training.resources.cleanup.removal_count import RemovalCount
from quantum_training.settings.retraining import RetrainingPolicy

PARTS = dg.StaticPartitionsDefinition(["a", "b", "c"])
KINDS = (
    DagsterEventType.ASSET_MATERIALIZATION,
    DagsterEventType.ASSET_OBSERVATION,
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
)


@dg.asset(partitions_def=PARTS, backfill_policy=dg.BackfillPolicy.single_run())
def weekly(context: dg.AssetExecutionContext) -> None:
    context.log.info("working")
    if context.run.tags.get("broken"):
        raise ValueError("broken on purpose")
    for part in context.partition_keys:
        context.add_asset_metadata({"run": context.run.run_id}, partition_key=part)


@dg.asset_check(asset=weekly)
def sound(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed="unsound" not in context.run.tags)


@dg.asset
def latest(context: dg.AssetExecutionContext) -> None:
    context.log_event(dg.AssetObservation("seen"))


DEFS = dg.Definitions([weekly, latest], asset_checks=[sound], executor=dg.in_process_executor)
JOB = DEFS.resolve_implicit_global_asset_job_def()


@pytest.fixture(params=["sqlite", "postgres"])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that keeps runs and events in files, or in Postgres."""
    overrides = {}
    if request.param == "postgres":
        overrides = {"storage": {"postgres": {"postgres_url": request.getfixturevalue("postgres_url")}}}
    with dg.instance_for_test(temp_dir=str(tmp_path), overrides=overrides) as temporary:
        yield temporary


def run(instance, assets, partition="", **tags):
    if ".." in partition:
        bounds = partition.split("..")
        names = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
        tags |= dict(zip(names, bounds, strict=True))
    elif partition:
        tags["dagster/partition"] = partition
    selection = [dg.AssetKey(name) for name in assets]
    done = JOB.execute_in_process(instance=instance, tags=tags, asset_selection=selection, raise_on_error=False)
    return done.run_id


def state(instance):
    """Dagster's state of partitions, assets and checks."""
    states = {}
    for asset, grid in ((weekly, PARTS), (latest, None)):
        key = asset.key
        if not (records := instance.get_asset_records([key])):
            continue
        entry = records[0].asset_entry
        instance.wipe_asset_cached_status([key])
        cached = get_and_update_asset_status_cache_value(instance, key, grid)
        subsets = []
        if grid:
            subsets = [
                sorted(subset.get_partition_keys())
                for subset in (
                    cached.deserialize_materialized_partition_subsets(grid),
                    cached.deserialize_failed_partition_subsets(grid),
                    cached.deserialize_in_progress_partition_subsets(grid),
                )
            ]
        states[key] = (
            instance.get_materialized_partitions(key),
            [instance.get_latest_storage_id_by_partition(key, kind) for kind in KINDS],
            entry.last_run_id,
            entry.last_materialization_storage_id,
            str(instance.get_latest_materialization_event(key)),
            subsets,
            [
                str(instance.fetch_materializations(dg.AssetRecordsFilter(key, asset_partitions=[part]), 1).records)
                for part in (grid.get_partition_keys() if grid else [])
            ],
        )
    key = next(iter(sound.check_keys))
    newest = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    return states, (newest.run_id, newest.status, str(newest.event))


def rows(instance):
    """Rows of the tables that hold runs' events, results of checks and tags."""
    with instance.event_log_storage.index_connection() as events, instance.run_storage.connect() as runs:
        counted = [(events, SqlEventLogStorageTable), (events, AssetCheckExecutionsTable), (runs, RunTagsTable)]
        return [c.execute(sa.select(sa.func.count()).select_from(table)).scalar() for c, table in counted]


def clean(instance, dry_run=False, now=None):
    before = pd.Timestamp.now("UTC") + pd.Timedelta(seconds=1)  # as if all that has ended were old
    return remove_runs(instance, before, now or before, dry_run)


@pytest.mark.long
def test_old_runs_are_removed_and_the_state_of_partitions_and_checks_stays(instance):
    complete = run(instance, ["weekly"], "a..c")
    again = run(instance, ["weekly"], "b")
    failed = run(instance, ["weekly"], "c", broken="yes", unsound="yes")
    first, second = (run(instance, ["latest"]) for _ in range(2))
    before, counted = state(instance), rows(instance)
    counts = clean(instance, dry_run=True)
    assert (state(instance), rows(instance), len(instance.get_runs())) == (before, counted, 5), "dry run"
    assert clean(instance) == counts
    assert {r.run_id for r in instance.get_runs()} == {complete, again, failed, second}
    assert counts["runs"].number == 1
    assert counts["shortened_logs"].number == 4
    assert counts["shortened_logs"].size > 1000
    assert state(instance) == before
    assert instance.get_records_for_run(first).records == []
    remaining = [r.event_log_entry for r in instance.get_records_for_run(complete).records]
    assert DagsterEventType.ASSET_MATERIALIZATION in {e.dagster_event_type for e in remaining}
    assert not any("working" in e.user_message for e in remaining)
    assert "broken on purpose" in str(instance.get_records_for_run(failed).records)
    assert SHORTENED in instance.get_run_by_id(complete).tags
    assert clean(instance) == {"runs": RemovalCount(), "shortened_logs": RemovalCount()}
    run(instance, ["weekly"], "a..c")
    clean(instance)
    assert len(instance.get_runs()) == 2, "the shortened runs hold no newest event any more"


def test_of_repeated_materializations_only_the_last_one_stays(instance):
    run(instance, ["latest"])
    clean(instance)
    once = rows(instance)
    for _ in range(2):
        run(instance, ["latest"])
    assert rows(instance) != once
    clean(instance)
    assert rows(instance) == once
    storage = instance.event_log_storage
    if hasattr(storage, "get_all_run_ids"):
        assert storage.get_all_run_ids() == [r.run_id for r in instance.get_runs()], "files of SQLite"


def test_young_runs_runs_in_progress_and_those_of_an_unfinished_backfill_stay(instance):
    filled = run(instance, ["latest"], **{"dagster/backfill": "going-on"})
    run(instance, ["latest"], **{"dagster/backfill": "over"})
    for name, status in (("going-on", BulkActionStatus.REQUESTED), ("over", BulkActionStatus.COMPLETED_SUCCESS)):
        instance.add_backfill(
            PartitionBackfill(name, status, from_failure=False, tags={}, backfill_timestamp=time.time())
        )
    started = create_run_for_test(instance, job_name="latest", status=DagsterRunStatus.STARTED).run_id
    waiting = create_run_for_test(instance, job_name="latest", status=DagsterRunStatus.NOT_STARTED).run_id
    time.sleep(0.05)
    before = pd.Timestamp.now("UTC")
    young = run(instance, ["latest"])
    assert remove_runs(instance, before, before, dry_run=False)["runs"].number == 1
    assert {r.run_id for r in instance.get_runs()} == {filled, started, waiting, young}


def test_runs_that_the_sensors_count_stay_for_the_longest_cool_down(instance):
    for symbol in ("AAA", "BBB"):
        run(instance, ["latest"], trigger="DRIFT_DETECTED", symbol=symbol)
    run(instance, ["latest"])
    policy, now = RetrainingPolicy(cool_down_hours=24 * 28), pd.Timestamp.now("UTC")
    counted = read_budget(instance, policy, now)
    assert set(counted.last_started) == {"AAA", "BBB"}
    clean(instance)
    assert read_budget(instance, policy, now) == counted
    clean(instance, now=now + pd.Timedelta(days=30))
    assert read_budget(instance, policy, now).last_started == {}


@pytest.mark.long
def test_after_a_kill_in_the_middle_the_next_removal_finishes(instance, monkeypatch):
    run(instance, ["weekly"], "a", unsound="yes")
    run(instance, ["weekly"], "a")
    before = state(instance)

    def killed(*args):
        raise KeyboardInterrupt

    for place, name in ((instance.event_log_storage, "delete_events"), (instance.run_storage, "delete_run")):
        with monkeypatch.context() as patch:
            patch.setattr(type(place), name, killed)
            with pytest.raises(KeyboardInterrupt):
                clean(instance)
        assert state(instance) == before
    assert clean(instance)["runs"].number == 1
    assert state(instance) == before
    assert rows(instance)[1:] == [1, len(instance.get_runs()[0].tags)]


def test_files_of_deleted_runs_are_removed(instance):
    storage = instance.event_log_storage
    if not hasattr(storage, "get_all_run_ids"):
        pytest.skip("Postgres keeps no file per run")
    lost = run(instance, ["latest"])
    existing = run(instance, ["latest"])
    instance.run_storage.delete_run(lost)
    assert {lost, existing} == {*storage.get_all_run_ids()}
    clean(instance)
    assert storage.get_all_run_ids() == [existing]


def test_old_ticks_are_removed_except_the_newest_of_each(instance):
    now = pd.Timestamp.now("UTC")
    for name in ("signals_schedule", "drift_sensor"):
        kind = InstigatorType.SENSOR if "sensor" in name else InstigatorType.SCHEDULE
        origin = create_origin(name)
        data = SensorInstigatorData() if kind == InstigatorType.SENSOR else ScheduleInstigatorData("0 * * * *")
        instance.add_instigator_state(InstigatorState(origin, kind, InstigatorStatus.RUNNING, data))
        identity = origin.get_id(), origin.get_selector().get_id()
        for days in (70, 50, 40) if kind == InstigatorType.SENSOR else (50, 3):
            stamp = (now - pd.Timedelta(days=days)).timestamp()
            fields = {"run_ids": [], "selector_id": identity[1]}
            instance.create_tick(TickData(identity[0], name, kind, TickStatus.SUCCESS, stamp, **fields))
    states = instance.all_instigator_state()

    def ticks():
        return {
            s.instigator_name: [
                round((now.timestamp() - t.timestamp) / 86400)
                for t in instance.get_ticks(s.instigator_origin_id, s.selector_id)
            ]
            for s in states
        }

    before = now - pd.Timedelta(days=30)
    assert ticks() == {"signals_schedule": [3, 50], "drift_sensor": [40, 50, 70]}
    assert remove_ticks(instance, before, dry_run=True) == RemovalCount(3)
    assert remove_ticks(instance, before, dry_run=False) == RemovalCount(3)
    assert ticks() == {"signals_schedule": [3], "drift_sensor": [40]}


def create_origin(name):
    from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin

    return RemoteInstigatorOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("code"), "repository"), name)
