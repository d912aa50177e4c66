"""A walk-forward over a gap in the candles: the weeks in it say so, the others go on, and nothing spans it."""

import dagster as dg
import pandas as pd
import pytest

from quantum_training.lifecycle.records import ModelRecord, WeeklyDecision, read_record, read_records

FIRST, LAST = "AAA|2019-10-28", "AAA|2019-12-16"


@pytest.fixture
def project(build_project, small, tmp_path):
    """A market whose November 2019 has a broken bar, brought from May to December, with one recipe."""
    small["start"] = "2019-05-01"
    small["recipes"] = {"xgboost": {**small["recipes"]["xgboost"], "window_bars": 300}}
    market = {**small["symbols"]["AAA"], "recipes": ["xgboost"]}
    market["source"]["start"] = "2019-05-01"
    small["symbols"] = {"AAA": market}
    source = build_project(small).settings.symbols["AAA"].source
    span = (pd.Timestamp(t, tz="UTC") for t in ("2019-05-01", "2020-01-01"))
    bars = source.fetch("AAA", "4h", *span, pd.Timestamp("2026-01-01", tz="UTC"))
    bars.loc["2019-11-12 08:00", "open"] = -37.63
    bars.to_parquet(tmp_path / "AAA.parquet")
    market["source"] = {"kind": "files", "path": str(tmp_path / "AAA.parquet")}
    project = build_project(small)
    assert not project.run("market_data", "AAA|2019-05-01", "AAA|2019-12-01").success
    return project


def outcomes(project, asset):
    records = project.instance.fetch_materializations(dg.AssetKey(asset), limit=20).records
    metadata = {r.partition_key.partition("|")[2]: r.asset_materialization.metadata for r in records}
    return {week: values["outcome"].value for week, values in sorted(metadata.items()) if "outcome" in values}


@pytest.mark.long
def test_weeks_in_a_gap_say_so_and_the_others_go_on(project):
    assert project.run("weekly_cycle", FIRST, LAST).success
    in_gap = dict.fromkeys(("2019-11-04", "2019-11-11", "2019-11-18", "2019-11-25"), "gap")
    trained = dict.fromkeys(("2019-10-28", "2019-12-02", "2019-12-09", "2019-12-16"), "trained")
    assert outcomes(project, "xgboost_model") == in_gap | trained
    not_scored = in_gap | {"2019-12-02": "gap"}
    for asset in ("shadow_scores", "backtest", "champion", "rollout", "decay_report"):
        found = outcomes(project, asset)
        assert {week for week, outcome in found.items() if outcome == "gap"} == {*not_scored}, asset
    assert list(read_records(project.store, WeeklyDecision, "AAA")) == ["2019-10-28", "2019-12-09", "2019-12-16"]
    scores = project.store.read_frame("shadow_scores", "AAA", "2019-12-09")
    assert scores.loc[scores["strategy"] == "xgboost", "target"].isna().all(), "features need their warm-up"
    assert scores.loc[scores["strategy"] == "buy_and_hold", "target"].notna().all()


@pytest.mark.long
def test_a_window_that_lacks_a_month_says_so_in_record_check_and_table(project, capfd):
    assert project.run("weekly_cycle", "AAA|2019-12-16").success
    record = read_record(project.store, ModelRecord, "AAA", "2019-12-16", "xgboost_model")
    assert record.versions[-1].missing_months == ("2019-11-01",)
    events = project.instance.get_event_records(dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION))
    checks = [e.event_log_entry.dagster_event.event_specific_data for e in events]
    (check,) = [c for c in checks if c.check_name == "complete_window"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "without the months 2019-11-01" in check.description
    job = project.definitions.resolve_job_def("clm_cycle")
    config = {"ops": {"run_cycle": {"config": {"week": "2019-12-16"}}}}
    result = job.execute_in_process(instance=project.instance, run_config=config, raise_on_error=False)
    assert not result.success, "a month is refused until a person accepts it or mends the source"
    log = capfd.readouterr().err
    assert "| AAA" in log
    assert "without the months 2019-11-01" in log
