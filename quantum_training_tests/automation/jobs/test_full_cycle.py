"""Job `clm_cycle`: one nested run per symbol and job, the latest week of the data; a failing symbol stops no other."""

from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
import yaml
from dagster._core.errors import DagsterExecutionInterruptedError

from quantum_training.assets.failed_months import FAILED_SYMBOLS
from quantum_training.automation.jobs.full_cycle import CycleConfig, weeks_of
from quantum_training.automation.jobs.run_tags import NESTS_RUNS
from quantum_training.lifecycle import ingestion
from quantum_training.lifecycle.market_history import first_month_for_week

ROOT = Path(__file__).parents[3]


def launch(project, **config):
    job = project.definitions.resolve_job_def("clm_cycle")
    return job.execute_in_process(
        instance=project.instance, run_config={"ops": {"run_cycle": {"config": config}}}, raise_on_error=False
    )


def runs(project, job):
    return project.instance.get_runs(dg.RunsFilter(job_name=job))


@pytest.mark.long
def test_all_symbols_at_the_latest_week_the_data_allow(build_project, small, capfd):
    project = build_project(small)
    assert launch(project, weeks=2).success
    for symbol in ("AAA", "BBB"):
        assert list(project.store.read_records("champion", symbol)) == ["2020-02-17", "2020-02-24"]
    for job in ("market_data", "weekly_cycle"):
        job_runs = runs(project, job)
        assert sorted({r.tags["symbol"] for r in job_runs}) == ["AAA", "BBB"]
        assert all(r.tags["clm/launched_by"] == runs(project, "clm_cycle")[0].run_id for r in job_runs)
    log = capfd.readouterr().err
    assert "| symbol" in log
    assert "xgboost_model 1/1 BBB|2020-02-24" in log
    stored = project.stored()
    assert {f"drift_report/AAA/2020-02-{day}.json" for day in range(17, 25)} < stored.keys()
    assert {"signals/BBB/latest.json", "week_report/all_symbols/2020-02-24.html"} < stored.keys()
    assert launch(project, weeks=2).success
    assert project.stored() == stored, "a second run changes nothing"


def test_a_failing_symbol_is_named_and_the_others_complete(build_project, small, tmp_path):
    small["symbols"]["AAA"]["source"] = {"kind": "files", "path": str(tmp_path / "gone.csv")}
    project = build_project(small)
    result = launch(project, week="2020-02-24")
    assert not result.success
    message = str([e.step_failure_data.error for e in result.all_events if e.is_step_failure])
    assert "1 of 2 symbols failed" in message
    assert "gone.csv" in message
    assert list(project.store.read_records("champion", "BBB")) == ["2020-02-24"]


@pytest.mark.long
@pytest.mark.usefixtures("skill_not_measured")
def test_every_kind_of_failing_symbol_is_named_in_one_failure(build_project, small, tmp_path, make_candles):
    sound = {**small["symbols"]["AAA"], "recipes": ["xgboost"]}
    honest = make_candles(1200, freq="4h").set_index(pd.date_range("2019-09-01", periods=1200, freq="4h", tz="UTC"))
    honest.index.name = "open_time"
    wrong, lies = honest.copy(), honest.copy()
    wrong.loc["2020-01-15", "high"] = wrong.loc["2020-01-15", "low"] / 2
    lies.loc["2020-01-15":, ["open", "high", "low", "close"]] *= 40
    for name, frame in {"wrong": wrong, "lies": lies}.items():
        frame.to_parquet(tmp_path / f"{name}.parquet")
    unreachable = {"kind": "ccxt", "market": "BTC/USDT", "retries": {"attempts": 1}, "timeout": 1}
    unreachable["options"] = {"urls": {"api": {"public": "http://127.0.0.1:9"}}}
    recipe = small["recipes"]["xgboost"]
    small["recipes"]["misspelt"] = {**recipe, "params": {"max_depht": 3}}
    small["recipes"]["unwritten"] = {**recipe, "algorithm": "my_models.unwritten"}
    small["symbols"] = {
        "BROKEN": {**sound, "source": {"kind": "files", "path": str(tmp_path / "wrong.parquet")}},
        "LYING": {**sound, "source": {"kind": "files", "path": str(tmp_path / "lies.parquet")}},
        "SILENT": {**sound, "source": unreachable},
        "MISSPELT": {**sound, "recipes": ["misspelt"]},
        "UNWRITTEN": {**sound, "recipes": ["unwritten"]},
        "TORN": sound,
        "SOUND": sound,
    }
    project = build_project(small)
    torn = Path(project.store.root) / "champion" / "TORN" / "2020-01-06.json"
    torn.parent.mkdir(parents=True)
    torn.write_text("{")
    result = launch(project, week="2020-02-03")
    assert not result.success
    (event,) = [e for e in result.all_events if e.is_step_failure]
    failure = event.step_failure_data.user_failure_data
    reasons = failure.metadata[FAILED_SYMBOLS].data
    messages = {
        "BROKEN": "high",
        "LYING": "LYING 4h",
        "SILENT": "SILENT: source ccxt binance BTC/USDT: no answer",
        "MISSPELT": "max_depht",
        "UNWRITTEN": "my_models",
        "TORN": "JSONDecodeError",
    }
    assert set(reasons) == {*messages}
    for symbol, part in messages.items():
        assert part in reasons[symbol], (symbol, reasons[symbol])
    assert failure.description.startswith("6 of 7 symbols failed:\n")
    assert all(f"\n{symbol}: " in failure.description for symbol in messages)
    assert list(project.store.read_records("champion", "SOUND")) == ["2020-02-03"]


@pytest.mark.long
@pytest.mark.usefixtures("skill_not_measured")
def test_the_market_data_of_pool_peers_come_first(build_project, small):
    small["recipes"] = {"pooled": {**small["recipes"]["lightgbm"], "algorithm": "pooled_lightgbm"}}
    for symbol in small["symbols"].values():
        symbol["recipes"] = ["pooled"]
    project = build_project(small)
    assert launch(project, symbols=["AAA"]).success
    (version,) = project.store.read_record("pooled_model", "AAA", "2020-02-24")["versions"]
    assert list(project.registry.load("AAA", version["model_id"]).normalisers) == ["AAA", "BBB"]
    assert project.store.periods("features", "BBB")
    assert not project.store.periods("pooled_model", "BBB", "json")


def test_log_level_reaches_the_nested_runs(build_project, small, monkeypatch, capfd):
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    project = build_project(small)
    assert launch(project, symbols=["AAA"]).success
    assert "xgboost_model 1/1" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"symbols": ["ZZZ"]}, "unknown symbols ZZZ"),
        ({"weeks": 0}, "below 1"),
        ({"week": "2020-02-25", "symbols": ["AAA"]}, "AAA: week 2020-02-25 is not a Monday"),
        ({"week": "2020-03-02", "symbols": ["AAA"]}, "its data allow weeks up to 2020-02-24"),
    ],
)
def test_a_wrong_config_is_refused(build_project, small, config, message):
    result = launch(build_project(small), **config)
    assert not result.success
    assert message in str([e.step_failure_data.error for e in result.all_events if e.is_step_failure])


def test_the_latest_week_is_that_of_the_source(build_project, small):
    settings = build_project(small).settings
    assert weeks_of(settings, "AAA", CycleConfig(weeks=3)) == ("2020-02-10", "2020-02-24")
    assert weeks_of(settings, "AAA", CycleConfig(week="2020-01-06")) == ("2020-01-06", "2020-01-06")


def test_the_latest_week_is_not_after_the_end_of_the_settings(build_project, small):
    settings = build_project({**small, "end": "2020-01-25"}).settings
    assert weeks_of(settings, "AAA", CycleConfig()) == ("2020-01-20", "2020-01-20")
    with pytest.raises(ValueError, match=r"up to 2020-01-20, and the settings' end is 2020-01-25"):
        weeks_of(settings, "AAA", CycleConfig(week="2020-01-27"))


def test_data_after_the_end_of_the_settings_are_held_out(build_project, small):
    project = build_project({**small, "end": "2020-01-25"})
    assert launch(project, symbols=["AAA"]).success
    assert list(project.store.read_records("champion", "AAA")) == ["2020-01-20"]
    assert project.store.read_frame("candles", "AAA", "2020-01-01").index[-1].strftime("%m-%d %H") == "01-25 20"


def test_market_data_reach_back_far_enough_for_the_first_fit(build_project, small):
    settings = build_project(small).settings
    week = pd.Timestamp("2020-01-06", tz="UTC")
    month = pd.Timestamp(first_month_for_week(settings, "AAA", "2020-01-06"), tz="UTC")
    assert (week - month) / pd.Timedelta("4h") >= 150 + 360


def test_stopping_a_nested_run_stops_the_surrounding_run(build_project, small, monkeypatch):
    project = build_project(small)

    def stopped(*_):
        raise DagsterExecutionInterruptedError

    monkeypatch.setattr(ingestion, "fetch_month", stopped)
    result = launch(project, week="2020-01-06")
    assert not result.success
    (inside,) = runs(project, "market_data")
    assert (inside.tags["symbol"], inside.tags["dagster/max_runtime"]) == ("AAA", "0"), "its launcher's limit holds"
    (event,) = [e for e in result.all_events if e.is_step_failure]
    assert event.step_failure_data.error.cls_name == "DagsterExecutionInterruptedError"
    assert runs(project, "clm_cycle")[0].tags["dagster/failure_reason"] == "UNEXPECTED_TERMINATION"


def test_the_queue_runs_one_nesting_job_at_a_time(build_project, small):
    project = build_project(small)
    (name,) = NESTS_RUNS
    jobs = {job.name: job.tags for job in project.definitions.resolve_all_job_defs()}
    assert {job for job, tags in jobs.items() if name in tags} == {
        "benchmark",
        "clm_cycle",
        "rebuild_registry",
        "retrain",
    }
    assert jobs["benchmark"]["dagster/max_runtime"] == jobs["clm_cycle"]["dagster/max_runtime"] == str(3600 * 4)
    assert jobs["housekeeping"]["dagster/max_runtime"] == "3600"
    for file in ("docker/dagster.yaml", "dagster_home/dagster.yaml"):
        limits = yaml.safe_load((ROOT / file).read_text())["concurrency"]["runs"]["tag_concurrency_limits"]
        assert {"key": name, "limit": 1} in limits
