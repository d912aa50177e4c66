"""Asset `backtest`: what a person finds in it, and that its numbers are those of the recorded positions."""

import json
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.trading.simulator import simulate
from quantum_training_tests.support.report_pages import opened

WEEKS = ["2020-01-06", "2020-01-13", "2020-01-20", "2020-01-27"]


@pytest.fixture
def project(cycled_project, small):
    """Four weeks whose backtest is recorded in Dagster, too."""
    project, only = cycled_project(small, WEEKS[0], WEEKS[-1]), [dg.AssetKey("backtest")]
    assert project.run("weekly_cycle", f"AAA|{WEEKS[0]}", f"AAA|{WEEKS[-1]}", asset_selection=only).success
    return project


def metadata(project, week):
    (record,) = project.instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey("backtest"), asset_partitions=[f"AAA|{week}"]), limit=1
    ).records
    return record.asset_materialization.metadata


def test_the_record_is_one_account_over_the_positions_that_the_scores_recorded(project):
    record = project.store.read_record("backtest", "AAA", WEEKS[-1])
    scores = pd.concat(project.store.read_frame("shadow_scores", "AAA", w) for w in WEEKS)
    candles = project.store.read_frames("candles", "AAA", "2019-12-01", "2020-01-01")
    options = project.settings.symbols["AAA"]
    for name in ("xgboost", "buy_and_hold"):
        own = scores.loc[scores["strategy"] == name, "target"].dropna()
        account = simulate(candles.loc[own.index], own, options.costs, options.account)
        assert record["metrics"][name]["total_return"] == pytest.approx(account.equity[-1, 0] / 1e5 - 1, rel=1e-9)
        assert record["metrics"][name]["bars"] == len(own)
    assert record["missing_weeks"] == []
    assert record["first_week"] == WEEKS[0]
    equity = project.store.read_frame("backtest", "AAA", WEEKS[-1])
    assert set(equity) == {"xgboost", "lightgbm", "buy_and_hold", "ma_crossover", "flat"}
    assert equity["buy_and_hold"].iloc[-1] - 1 == pytest.approx(record["metrics"]["buy_and_hold"]["total_return"])


def test_the_metadata_hold_verdict_and_metrics(project):
    metadata_values = metadata(project, WEEKS[-1])
    record = project.store.read_record("backtest", "AAA", WEEKS[-1])
    assert metadata_values["summary"].value == f"{record['verdict']['text']}."
    table = metadata_values["metrics"].value
    for name, values in record["metrics"].items():
        assert name in table
        for number in ("sharpe", "total_return"):
            if values[number] is not None and name not in ("flat", "ma_crossover"):
                assert metadata_values[f"{number}_{name}"].value == pytest.approx(values[number], abs=1e-4)
    pictures = [metadata_values[name].value for name in ("equity", "drawdown", "sharpe_ratio")]
    assert all("](data:image/svg+xml," in picture and len(picture) < 1000 for picture in pictures)
    assert "null" not in str(metadata_values)


def test_the_last_week_of_a_run_has_its_report_in_the_store_and_in_mlflow(project):
    metadata_values = metadata(project, WEEKS[-1])
    html = opened(project, metadata_values["tear_sheet"].value)
    assert project.store.read_record("backtest", "AAA", WEEKS[-1])["verdict"]["text"] in html
    client = project.registry.client()
    for recipe in ("xgboost", "lightgbm"):
        model_id = versions_of(project.store, "AAA", recipe)[-1].model_id
        run_id = project.registry.find("AAA", model_id).run_id
        assert run_id in metadata_values["report_in_mlflow"].value
        assert Path(client.download_artifacts(run_id, f"backtest/{WEEKS[-1]}.html")).read_text() == html
    assert "tear_sheet" not in metadata(project, WEEKS[0])
    assert project.run("weekly_cycle", f"AAA|{WEEKS[0]}").success
    assert "tear_sheet" in metadata(project, WEEKS[0])


@pytest.mark.long
def test_a_week_without_scores_is_refused_and_a_missing_earlier_week_is_named(build_project, small):
    project = build_project(small).market_data()
    for week in (WEEKS[0], WEEKS[1], WEEKS[3]):
        assert project.run("weekly_cycle", f"AAA|{week}").success
    record = project.store.read_record("backtest", "AAA", WEEKS[3])
    assert record["missing_weeks"] == [WEEKS[2]]
    assert record["metrics"]["buy_and_hold"]["bars"] == 4 * 42
    assert record["metrics"]["buy_and_hold"]["bars_without_decision"] == 42
    result = dg.materialize(
        [project.definitions.resolve_assets_def("backtest")],
        instance=project.instance,
        partition_key=f"AAA|{WEEKS[2]}",
        raise_on_error=False,
    )
    assert not result.success
    assert "materialise shadow_scores" in str(
        [e.step_failure_data.error for e in result.all_events if e.is_step_failure]
    )
    assert project.store.read_record("backtest", "AAA", WEEKS[2]) is None


def test_an_account_of_whole_shares_runs_the_weekly_cycle(build_project, small):
    small["symbols"]["AAA"] |= {
        "costs": {"fee_bps": 0, "slippage_bps": 1, "per_share": 0.01, "minimum": 2.5, "cap": 0.01},
        "account": {"capital": 5_000, "whole_units": True},
    }
    project = build_project(small).market_data()
    assert project.run("weekly_cycle", f"AAA|{WEEKS[0]}", f"AAA|{WEEKS[1]}").success
    record = project.store.read_record("backtest", "AAA", WEEKS[1])
    json.dumps(record, allow_nan=False)
    candles = project.store.read_frames("candles", "AAA", "2019-12-01", "2020-01-01")
    price = candles.loc[pd.Timestamp(WEEKS[0], tz="UTC") - pd.Timedelta(days=7), "open"] * 1.0001
    shares = np.floor((5_000 - 2.5) / price)
    assert record["metrics"]["buy_and_hold"]["cost"] == pytest.approx((2.5 + shares * price / 10_001) / 5_000, rel=1e-6)
