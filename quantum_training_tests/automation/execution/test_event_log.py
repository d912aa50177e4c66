"""The event log that keeps its files open: Dagster's own class reads what it wrote, also after a kill."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from quantum_training.assets.no_io_manager import NoIOManager
from quantum_training.automation.execution.event_log import MAX_OPEN_FILES, OpenEventLog
from quantum_training_tests.support.processes import wait_for

SHIPPED = Path(__file__).parents[3] / "dagster_home" / "dagster.yaml"
PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
DAYS = dg.StaticPartitionsDefinition(["monday", "tuesday"])


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def bars(context):
    for day in context.partition_keys:
        context.add_asset_metadata({"day": day}, partition_key=day)
    return dg.MaterializeResult(value=None)


@dg.asset_check(asset=bars)
def whole():
    return dg.AssetCheckResult(passed=True)


KILLED = """
import os, signal
import dagster as dg
with dg.DagsterInstance.get() as instance:
    instance.report_runless_asset_event(dg.AssetMaterialization("bars", partition="monday"))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    shutil.copy(SHIPPED, tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


def materialize(instance):
    tags = {"dagster/asset_partition_range_start": "monday", "dagster/asset_partition_range_end": "tuesday"}
    resources = {"io_manager": NoIOManager()}
    return dg.materialize([bars, whole], resources=resources, instance=instance, tags=tags).run_id


def open_files(home):
    targets = [Path(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    names = [os.readlink(target) for target in targets if target.is_symlink()]
    return {name for name in names if name.startswith(str(home / "history" / "runs")) and name.endswith(".db")}


def test_dagsters_own_class_reads_the_events_the_materialisations_and_the_checks(home):
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.event_log_storage, OpenEventLog)
        run_id = materialize(instance)
        events = [record.event_log_entry for record in instance.event_log_storage.get_records_for_run(run_id).records]
    (home / "dagster.yaml").unlink()
    with dg.DagsterInstance.get() as instance:
        storage = instance.event_log_storage
        assert type(storage) is SqliteEventLogStorage
        assert [record.event_log_entry for record in storage.get_records_for_run(run_id).records] == events
        assert storage.get_materialized_partitions(bars.key) == {"monday", "tuesday"}
        assert instance.get_latest_materialization_event(bars.key).run_id == run_id
        (check,) = storage.get_asset_check_execution_history(next(iter(whole.check_keys)), limit=5)
        assert check.status.value == "SUCCEEDED"


def tables(file):
    """What the tables of a SQLite file are, the version of its migrations, and how it keeps its log."""
    with closing(sqlite3.connect(file)) as connection:
        made = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()
        version = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        return made, version, connection.execute("PRAGMA journal_mode").fetchone()


@pytest.mark.parametrize("has_links", [True, False])
def test_the_file_of_a_run_is_made_as_dagsters_own_class_makes_it(home, tmp_path, monkeypatch, has_links):
    if not has_links:
        monkeypatch.setattr(os, "link", Mock(side_effect=PermissionError("this file system has no links")))
    with dg.DagsterInstance.get() as instance:
        run_id = materialize(instance)
    (tmp_path / "own").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "own")) as own:
        its_run_id = materialize(own)
    runs = home / "history" / "runs"
    its_runs = tmp_path / "own" / "history" / "runs"
    assert tables(runs / f"{run_id}.db") == tables(its_runs / f"{its_run_id}.db")
    assert stat.S_IMODE((runs / f"{run_id}.db").stat().st_mode) == stat.S_IMODE((runs / "index.db").stat().st_mode)
    assert {file.name for file in runs.iterdir()} == {"index.db", f"{run_id}.db"}


def test_the_partitions_that_a_run_plans_are_stored_together_or_not_at_all(home, monkeypatch):
    with dg.DagsterInstance.get() as instance:
        storage = instance.event_log_storage
        stored = Mock(wraps=storage.store_event_batch)
        monkeypatch.setattr(storage, "store_event_batch", stored)
        materialize(instance)
        planned, made = ([event for (events,), _ in stored.call_args_list for event in events if is_of(event, kind)]
                         for kind in ("ASSET_MATERIALIZATION_PLANNED", "ASSET_MATERIALIZATION"))  # fmt: skip
        assert sorted(event.dagster_event.partition for event in planned) == ["monday", "tuesday"]
        assert sorted(event.dagster_event.partition for event in made) == ["monday", "tuesday"]

        run_id = instance.create_run_for_job(dg.GraphDefinition("nothing").to_job()).run_id
        events = [event._replace(run_id=run_id) for event in planned]
        monkeypatch.setattr(storage, "_event_to_row", fail_at_second(storage._event_to_row))
        with pytest.raises(OSError, match="the disk is full"):
            storage.store_event_batch(events)
        monkeypatch.undo()
        stored_planned = instance.get_records_for_run(run_id, of_type=PLANNED).records
        in_index = instance.get_event_records(dg.EventRecordsFilter(PLANNED, asset_key=bars.key))
        assert not stored_planned
        assert not [record for record in in_index if record.run_id == run_id]


def is_of(event, kind):
    return event.dagster_event.event_type_value == kind


def fail_at_second(to_row):
    calls = []

    def convert(event):
        calls.append(event)
        if len(calls) == 2:
            raise OSError("the disk is full")
        return to_row(event)

    return convert


def test_what_a_killed_process_has_reported_is_stored(home):
    subprocess.run([sys.executable, "-c", KILLED], check=False, timeout=120)
    with dg.DagsterInstance.get() as instance:
        assert instance.event_log_storage.get_materialized_partitions(bars.key) == {"monday"}


def test_the_page_of_a_run_is_told_of_each_event_that_another_process_stores(home):
    with dg.DagsterInstance.get() as page, dg.DagsterInstance.from_ref(page.get_ref()) as worker:
        run = worker.create_run_for_job(dg.GraphDefinition("nothing").to_job())
        told = []
        page.event_log_storage.watch(run.run_id, None, lambda event, cursor: told.append(event.message))
        for message in ("first", "second"):
            worker.report_engine_event(message, run)
            wait_for(message, lambda message=message: any(message in line for line in told), seconds=30)


def test_a_bounded_number_of_files_is_open_and_none_after_the_end(home):
    with dg.DagsterInstance.get() as instance:
        job = dg.GraphDefinition("nothing").to_job()
        for _ in range(MAX_OPEN_FILES + 2):
            instance.report_engine_event("stored", instance.create_run_for_job(job))
        assert len(open_files(home)) == MAX_OPEN_FILES
    assert not open_files(home)


def test_a_file_that_was_replaced_or_removed_is_opened_anew(home):
    with dg.DagsterInstance.get() as instance:
        storage = instance.event_log_storage
        run_id = materialize(instance)
        index = home / "history" / "runs" / "index.db"
        with storage.index_connection() as connection:
            connection.exec_driver_sql("VACUUM INTO ?", (str(index.with_suffix(".copy")),))
        materialize(instance)
        for part in ("-wal", "-shm"):
            index.with_name(index.name + part).unlink(missing_ok=True)
        index.with_suffix(".copy").replace(index)
        assert instance.get_latest_materialization_event(bars.key).run_id == run_id
        for file in index.parent.glob(f"{run_id}.db*"):
            file.unlink()
        assert not storage.get_records_for_run(run_id).records
