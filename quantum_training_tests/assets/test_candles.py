"""The asset `candles` and its quality check: months that are refused, stored and judged again, in runs of Dagster."""

from dataclasses import replace

import dagster as dg
import pandas as pd
import pytest

from quantum_training.definitions import build_defs

MONTHS = ("AAA|2019-09-01", "AAA|2019-11-01")


@pytest.fixture
def recording(build_project, small, tmp_path):
    """A market in a file: its bars, a function that writes other bars into the file, and the project over it."""
    small["symbols"] = {"AAA": small["symbols"]["AAA"]}
    source = build_project(small).settings.symbols["AAA"].source
    start, end, now = (pd.Timestamp(t, tz="UTC") for t in ("2019-09-01", "2019-12-01", "2026-01-01"))
    bars = source.fetch("AAA", "4h", start, end, now)
    path = tmp_path / "AAA.parquet"
    small["symbols"]["AAA"]["source"] = {"kind": "files", "path": str(path)}
    bars.to_parquet(path)
    return bars, lambda changed: changed.to_parquet(path), build_project(small)


def stored_bars(project):
    return {name: data for name, data in project.stored().items() if name.endswith(".parquet")}


def failure(result):
    return str([e.step_failure_data.error for e in result.all_events if e.is_step_failure])


def materialized_partitions(project, asset="candles"):
    records = project.instance.fetch_materializations(dg.AssetKey(asset), limit=100).records
    return sorted(str(r.partition_key) for r in records)


def check_evaluations(project):
    events = project.instance.get_event_records(dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION))
    return [e.event_log_entry.dagster_event.event_specific_data for e in events]


def test_a_bad_month_is_refused_by_name_and_the_good_ones_are_stored(recording):
    bars, write, project = recording
    bar = pd.Timestamp("2019-10-17 08:00", tz="UTC")
    bars.loc[bar, "high"] = bars.loc[bar, "low"] / 2
    write(bars)
    result = project.run("market_data", *MONTHS)
    assert not result.success
    for text in ("AAA", "2019-10-17 08:00", "in_range", "1 of 3 months refused"):
        assert text in failure(result)
    assert project.store.periods("candles", "AAA") == ["2019-09-01", "2019-11-01"]
    assert materialized_partitions(project) == ["AAA|2019-09-01", "AAA|2019-11-01"]
    assert project.store.periods("features", "AAA") == ["2019-09-01", "2019-11-01"]
    assert materialized_partitions(project, "features") == ["AAA|2019-09-01", "AAA|2019-11-01"]
    by_month = {c.partition: c for c in check_evaluations(project) if c.check_name == "quality"}
    assert sorted(by_month) == [f"AAA|2019-{month}-01" for month in ("09", "10", "11")], "good months have results, too"
    failed = by_month["AAA|2019-10-01"]
    errors = [c for c in by_month.values() if not c.passed and c.severity == dg.AssetCheckSeverity.ERROR]
    assert errors == [failed]
    assert "2019-10-17 08:00" in failed.description
    assert "2019-10-17 08:00" in failed.metadata["defects"].value


def test_a_refused_month_leaves_what_was_stored_before(recording):
    bars, write, project = recording
    assert project.run("market_data", "AAA|2019-09-01").success
    before = stored_bars(project)
    bars.iloc[5, 0] = float("nan")
    write(bars)
    refetch = {"ops": {"candles": {"config": {"refetch": True}}}}
    assert not project.run("market_data", "AAA|2019-09-01", run_config=refetch).success
    assert stored_bars(project) == before
    assert project.run("market_data", "AAA|2019-09-01").success, "the bars that were stored before stay in use"


def test_the_check_finds_bytes_that_were_changed_in_the_store(recording):
    *_, project = recording
    assert project.run("market_data", "AAA|2019-09-01").success
    stored = project.store.read_frame("candles", "AAA", "2019-09-01").copy()
    stored.iloc[7, stored.columns.get_loc("low")] = stored["high"].max() * 2
    attributes = project.store.attributes("candles", "AAA", "2019-09-01")
    project.store.write_frame("candles", "AAA", "2019-09-01", stored, {"covered_until": attributes["covered_until"]})
    result = project.run("market_data", "AAA|2019-09-01")
    assert not result.success
    assert stored.index[7].strftime("%Y-%m-%d %H:%M") in failure(result)


def test_metadata_of_a_month_count_its_bars_and_its_complete_feature_rows(recording):
    bars, _, project = recording
    assert project.run("market_data", *MONTHS).success
    (candles,) = project.instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey("candles"), asset_partitions=["AAA|2019-11-01"]), limit=1
    ).records
    metadata = {k: v.value for k, v in candles.asset_materialization.metadata.items()}
    november = bars.loc["2019-11"]
    assert metadata["dagster/row_count"] == len(november) == 180
    assert metadata["close"] == november["close"].iloc[-1]
    assert metadata["warnings"] == 0
    (features,) = project.instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey("features"), asset_partitions=["AAA|2019-11-01"]), limit=1
    ).records
    metadata = {k: v.value for k, v in features.asset_materialization.metadata.items()}
    assert metadata["dagster/row_count"] == metadata["complete_rows"] == 180


@pytest.fixture
def with_negative_price(build_project, small, tmp_path):
    """The `small` settings with a negative price in AAA's November."""
    source = build_project(small).settings.symbols["AAA"].source
    span = (pd.Timestamp(t, tz="UTC") for t in ("2019-09-01", "2019-12-01"))
    bars = source.fetch("AAA", "4h", *span, pd.Timestamp("2026-01-01", tz="UTC"))
    bars.iloc[400, 0] = -37.63
    bars.to_parquet(tmp_path / "AAA.parquet")
    small["symbols"]["AAA"]["source"] = {"kind": "files", "path": str(tmp_path / "AAA.parquet")}
    return small


def test_a_refused_month_of_one_symbol_keeps_no_other_symbol_waiting(build_project, with_negative_price):
    project = build_project(with_negative_price)
    result = project.run("market_data", "AAA|2019-09-01", "BBB|2019-11-01")
    assert "1 of 6 months refused" in failure(result)
    assert "positive_price" in failure(result)
    assert project.store.periods("features", "AAA") == ["2019-09-01", "2019-10-01"]
    assert project.store.periods("features", "BBB") == ["2019-09-01", "2019-10-01", "2019-11-01"]
    assert materialized_partitions(project, "features")[-1] == "BBB|2019-11-01"


def test_a_symbol_whose_source_cannot_be_read_keeps_no_other_symbol_waiting(build_project, small, tmp_path):
    small["symbols"]["AAA"]["source"] = {"kind": "files", "path": str(tmp_path / "gone.csv")}
    project = build_project(small)
    result = project.run("market_data", "AAA|2019-09-01", "BBB|2019-11-01")
    assert not result.success
    assert failure(result).count("gone.csv: no such file") == 1, "the reason stands there once, not for each month"
    assert "in partition AAA|2019-09-01 of candles" in failure(result)
    assert project.store.periods("candles", "AAA") == []
    assert project.store.periods("features", "BBB") == ["2019-09-01", "2019-10-01", "2019-11-01"]
    assert materialized_partitions(project, "features") == [f"BBB|2019-{month}-01" for month in ("09", "10", "11")]


def test_unread_and_refused_months_of_several_symbols_are_one_failure(build_project, with_negative_price, tmp_path):
    with_negative_price["symbols"]["BBB"]["source"] = {"kind": "files", "path": str(tmp_path / "gone.csv")}
    result = build_project(with_negative_price).run("market_data", "AAA|2019-09-01", "BBB|2019-11-01")
    for text in ("1 of 6 months refused", "positive_price", "3 of 6 months could not be read", "gone.csv"):
        assert text in failure(result)
    (error,) = [e.step_failure_data for e in result.all_events if e.is_step_failure]
    assert list(error.user_failure_data.metadata["failed_symbols"].data) == ["BBB"]


def test_features_of_a_refused_month_wait_and_say_for_what(recording):
    bars, write, project = recording
    bars.loc["2019-10-17 08:00", "open"] = -37.63
    write(bars)
    assert not project.run("market_data", *MONTHS).success
    result = project.run("market_data", *MONTHS, asset_selection=[dg.AssetKey("features")])
    for text in ("1 months wait for their candles", "AAA|2019-10-01: AAA 4h", "2019-10-17 08:00"):
        assert text in failure(result)


def test_months_before_a_market_was_listed_are_a_warning(recording):
    bars, write, project = recording
    write(bars.loc["2019-11-05":])
    assert project.run("market_data", *MONTHS).success
    assert materialized_partitions(project) == [f"AAA|2019-{month}-01" for month in ("09", "10", "11")]
    assert materialized_partitions(project, "features") == materialized_partitions(project)
    check = next(c for c in check_evaluations(project) if c.partition == "AAA|2019-09-01")
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "AAA|2019-09-01: no bars: the first bars of the market are of 2019-11-01" in check.description


def test_accepted_bars_are_shown_and_close_the_gap(recording, build_project, small):
    bars, write, project = recording
    bar = pd.Timestamp("2019-10-17 08:00", tz="UTC")
    bars.loc[bar:, ["open", "high", "low", "close"]] /= 2
    write(bars)
    assert not project.run("market_data", *MONTHS).success
    small["symbols"]["AAA"]["accepted_bars"] = [{"bars": [bar.isoformat()], "reason": "a rival failed", "by": "Jane"}]
    accepted = build_project({**small, "store_root": project.store.root})
    accepted = replace(accepted, definitions=build_defs(accepted.settings), store=project.store)
    assert accepted.run("market_data", "AAA|2019-10-01").success
    (candles,) = accepted.instance.fetch_materializations(dg.AssetKey("candles"), limit=9).records
    assert "accepted by Jane: a rival failed" in candles.asset_materialization.metadata["accepted_bars"].value
    assert materialized_partitions(accepted, "features") == ["AAA|2019-10-01", "AAA|2019-11-01"]
    assert project.store.read_frame("features", "AAA", "2019-11-01").notna().all(axis=None)
