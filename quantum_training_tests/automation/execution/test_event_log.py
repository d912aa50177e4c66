"""The event log that keeps its files open: Dagster's own class reads what it wrote, also after a kill."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from quantum_training.assets.no_io_manager import NoIOManager
from quantum_training.automation.execution.event_log import MAX_OPEN_FILES, OpenEventLog
from quantum_training_tests.support.processes import wait_for

SHIPPED = Path(__file__).parents[3] / "dagster_home" / "dagster.yaml"
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
