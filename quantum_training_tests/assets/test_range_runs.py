"""A run over a range of partitions, as Dagster shows it: oldest first, and each partition with its own check result."""

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable

from quantum_training.assets.metadata.tables import CONTENT_HASH
from quantum_training.assets.no_io_manager import OldestFirst
from quantum_training.assets.partition_runner import data_version
from quantum_training.market.periods import Key
from quantum_training.partitions import RANGE_TAGS

MONTHS = ["2019-09-01", "2019-10-01", "2019-11-01", "2019-12-01", "2020-01-01", "2020-02-01"]


RANGE = dict(zip(RANGE_TAGS, (f"AAA|{MONTHS[0]}", f"BBB|{MONTHS[1]}"), strict=True))


@pytest.fixture(scope="module")
def keys():
    return [f"{symbol}|{month}" for month in MONTHS for symbol in ("AAA", "BBB")]


def recorded(project, asset):
    events = project.instance.fetch_materializations(dg.AssetKey(asset), limit=100).records
    return [event.partition_key for event in reversed(events)]


def test_events_are_recorded_oldest_first_so_that_the_newest_month_is_the_latest(build_project, small, keys):
    project = build_project(small)
    assert project.run("market_data", f"AAA|{MONTHS[0]}", f"BBB|{MONTHS[-1]}").success
    for asset in ("candles", "features"):
        assert recorded(project, asset) == keys
        latest = project.instance.get_latest_materialization_event(dg.AssetKey(asset))
        assert latest.asset_materialization.partition == keys[-1]


def test_every_planned_evaluation_of_a_check_gets_its_result(build_project, small, keys):
    project = build_project(small)
    assert project.run("market_data", f"AAA|{MONTHS[0]}", f"BBB|{MONTHS[-1]}").success
    table = AssetCheckExecutionsTable.c
    with project.instance.event_log_storage.index_connection() as connection:
        columns = (table.check_name, table.partition, table.execution_status, table.materialization_event_storage_id)
        rows = connection.execute(sa.select(*columns)).fetchall()
    assert "PLANNED" not in {row.execution_status for row in rows}
    assert sorted(row.partition for row in rows if row.check_name == "quality") == sorted(keys)
    assert [row.partition for row in rows if row.check_name == "causal"] == [None]
    assert all(row.materialization_event_storage_id for row in rows), "a check counts for the bytes that it saw"


def test_a_month_that_fails_its_check_holds_back_itself_alone(build_project, small):
    project = build_project(small)
    assert project.run("market_data", f"AAA|{MONTHS[0]}", f"BBB|{MONTHS[1]}").success
    stored = project.store.read_frame("candles", "AAA", MONTHS[0]).copy()
    stored.iloc[7, stored.columns.get_loc("low")] = stored["high"].max() * 2
    attributes = project.store.attributes("candles", "AAA", MONTHS[0])
    project.store.write_frame("candles", "AAA", MONTHS[0], stored, attributes)
    checks, features = [dg.AssetCheckKey(dg.AssetKey("candles"), "quality")], [dg.AssetKey("features")]
    job = project.definitions.resolve_job_def("market_data").get_subset(
        asset_selection={*features}, asset_check_selection={*checks}
    )
    again = job.execute_in_process(instance=project.instance, tags=RANGE, raise_on_error=False)
    assert not again.success, "a month that is held back is said"
    failed = [c.partition for c in again.get_asset_check_evaluations() if not c.passed]
    assert failed == [f"AAA|{MONTHS[0]}"]
    assert recorded(project, "features")[4:] == [f"BBB|{MONTHS[0]}", f"AAA|{MONTHS[1]}", f"BBB|{MONTHS[1]}"]


def test_months_made_again_as_they_are_make_nothing_stale(build_project, small):
    project = build_project(small)
    months = f"AAA|{MONTHS[0]}", f"AAA|{MONTHS[1]}"

    def status(month):
        context = LoadingContextForTest(project.instance)
        graph = project.definitions.resolve_asset_graph()
        resolver = CachingStaleStatusResolver(project.instance, graph, context)
        return resolver.get_status(dg.AssetKey("features"), month)

    assert project.run("market_data", *months).success
    candles = project.definitions.resolve_job_def("market_data").get_subset(asset_selection={dg.AssetKey("candles")})
    tags = dict(zip(RANGE_TAGS, months, strict=True))
    assert candles.execute_in_process(instance=project.instance, tags=tags).success
    assert [status(month) for month in months] == [StaleStatus.FRESH, StaleStatus.FRESH]


def test_other_content_is_another_data_version_and_unknown_content_is_left_to_dagster():
    first, second = (Key(symbol, pd.Timestamp(MONTHS[0])) for symbol in ("AAA", "BBB"))
    contents = {first: {CONTENT_HASH: "1"}, second: {CONTENT_HASH: "2"}}
    version = data_version(contents)
    assert version == data_version({second: {CONTENT_HASH: "2"}, first: {CONTENT_HASH: "1"}})
    assert version != data_version({**contents, second: {CONTENT_HASH: "3"}})
    assert data_version({**contents, second: {}}) is None


def test_partitions_without_a_period_are_in_order_of_their_names():
    assert OldestFirst({"B", "C", "A"}).get_partition_keys() == ["A", "B", "C"]
