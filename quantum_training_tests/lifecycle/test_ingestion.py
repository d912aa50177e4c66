"""The door: what `candles` stores, refuses, completes, and says."""

import dagster as dg
import pandas as pd
import pytest

MONTHS = ["2019-09-01", "2019-10-01", "2019-11-01"]


@pytest.fixture
def recording(project, small, tmp_path):
    """A market in a file that a test may break, and a function that builds the project over it."""
    small["symbols"] = {"AAA": small["symbols"]["AAA"]}
    source = project(small).settings.symbols["AAA"].source
    start, end, now = (pd.Timestamp(t, tz="UTC") for t in ("2019-09-01", "2019-12-01", "2026-01-01"))
    frame = source.fetch("AAA", "4h", start, end, now)
    path = tmp_path / "AAA.parquet"
    small["symbols"]["AAA"]["source"] = {"kind": "files", "path": str(path)}

    def write(frame):
        frame.to_parquet(path)

    write(frame)
    return frame, write, project(small)


def failure(result):
    return str([e.step_failure_data.error for e in result.all_events if e.is_step_failure])


def materialised(world, asset="candles"):
    records = world.instance.fetch_materializations(dg.AssetKey(asset), limit=100).records
    return sorted(str(r.partition_key) for r in records)


def checks(world):
    events = world.instance.get_event_records(dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION))
    return [e.event_log_entry.dagster_event.event_specific_data for e in events]


def test_a_bad_month_is_refused_by_name_and_the_good_ones_go_on(recording):
    frame, write, world = recording
    bar = pd.Timestamp("2019-10-17 08:00", tz="UTC")
    frame.loc[bar, "high"] = frame.loc[bar, "low"] / 2
    write(frame)
    result = world.run("market_data", "AAA|2019-09-01", "AAA|2019-11-01")
    assert not result.success
    for said in ("AAA", "2019-10-17 08:00", "in_range", "1 of 3 months refused"):
        assert said in failure(result)
    assert world.store.periods("candles", "AAA") == ["2019-09-01", "2019-11-01"]
    assert materialised(world) == ["AAA|2019-09-01", "AAA|2019-11-01"]
    assert world.store.periods("features", "AAA") == []
    (refused,) = [c for c in checks(world) if not c.passed]
    assert (refused.partition, refused.severity, refused.blocking) == (
        "AAA|2019-10-01",
        dg.AssetCheckSeverity.ERROR,
        True,
    )
    assert "2019-10-17 08:00" in refused.description


def test_a_refused_month_leaves_what_was_stored_before(recording):
    frame, write, world = recording
    assert world.run("market_data", "AAA|2019-09-01").success
    before = world.stored()
    frame.iloc[5, 0] = float("nan")
    write(frame)
    refetch = {"ops": {"candles": {"config": {"refetch": True}}}}
    assert not world.run("market_data", "AAA|2019-09-01", run_config=refetch).success
    assert world.stored() == before


def test_a_month_in_progress_is_completed_and_features_of_the_same_bars_keep_their_bytes(recording):
    frame, write, world = recording
    write(frame.loc[: pd.Timestamp("2019-11-14 20:00", tz="UTC")])
    assert world.run("market_data", "AAA|2019-09-01", "AAA|2019-11-01").success
    early = world.store.read_frame("features", "AAA", "2019-11-01")
    assert world.store.attributes("candles", "AAA", "2019-11-01")["covered_until"] == "2019-11-15T00:00:00+00:00"
    write(frame)
    assert world.run("market_data", "AAA|2019-11-01").success
    late = world.store.read_frame("features", "AAA", "2019-11-01")
    assert len(late) == 180
    pd.testing.assert_frame_equal(late.loc[early.index], early, check_exact=True)
    assert world.store.read_frame("candles", "AAA", "2019-11-01").equals(frame.loc["2019-11"])


def test_revised_history_is_refused_with_the_way_out(recording):
    frame, write, world = recording
    write(frame.loc[: pd.Timestamp("2019-11-14 20:00", tz="UTC")])
    assert world.run("market_data", "AAA|2019-09-01", "AAA|2019-11-01").success
    frame.loc[:, ["open", "high", "low", "close"]] *= 0.995
    write(frame)
    result = world.run("market_data", "AAA|2019-11-01")
    assert not result.success
    assert "revised_history" in failure(result)
    assert "refetch: true" in failure(result)
    refetch = {"ops": {"candles": {"config": {"refetch": True}}}}
    assert world.run("market_data", "AAA|2019-09-01", "AAA|2019-11-01", run_config=refetch).success


def test_a_month_the_source_does_not_have_is_an_error_that_says_where_it_ends(recording):
    *_, world = recording
    result = world.run("market_data", "AAA|2020-01-01")
    assert not result.success
    assert "its data end at 2019-12-01" in failure(result)


def test_a_missing_month_in_the_middle_is_named_by_what_needs_it(recording):
    *_, world = recording
    assert world.run("market_data", "AAA|2019-09-01").success
    result = world.run("market_data", "AAA|2019-11-01")
    assert "2019-10-01" in failure(result)


def test_the_check_reads_the_stored_bytes(recording):
    """A month tampered with in the store is found when the check runs, though the door let it pass."""
    *_, world = recording
    assert world.run("market_data", "AAA|2019-09-01").success
    stored = world.store.read_frame("candles", "AAA", "2019-09-01").copy()
    stored.iloc[7, stored.columns.get_loc("low")] = stored["high"].max() * 2
    attributes = world.store.attributes("candles", "AAA", "2019-09-01")
    world.store.write_frame("candles", "AAA", "2019-09-01", stored, {"covered_until": attributes["covered_until"]})
    result = world.run("market_data", "AAA|2019-09-01")
    assert not result.success
    assert stored.index[7].strftime("%Y-%m-%d %H:%M") in failure(result)
