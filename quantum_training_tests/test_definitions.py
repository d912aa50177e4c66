"""The definitions: cheap to import, complete, with the operator's limits. The layers: test_architecture.py."""

import ast
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.execution.asset_backfill import AssetBackfillData

import quantum_training
from quantum_training.definitions import build_defs, defs
from quantum_training.settings import load_settings

PACKAGE = Path(quantum_training.__file__).parent
HEAVY = (
    "torch",
    "mlflow",
    "xgboost",
    "lightgbm",
    "stable_baselines3",
    "gymnasium",
    "safetensors",
    "neuralforecast",
    "pytorch_lightning",
    "ray",
    "dagster_ray",
    "sklearn",
    "evidently",
    "optuna",
    "ccxt",
    "yfinance",
    "arch",
    "numba",
    "plotly",
)


def test_importing_the_definitions_loads_nothing_heavy():
    code = f"import sys; import quantum_training.definitions; print([m for m in {HEAVY} if m in sys.modules])"
    command = [sys.executable, "-W", "ignore", "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_loading_the_definitions_warns_of_nothing_that_users_cannot_change():
    code = "from quantum_training.definitions import defs; defs.get_repository_def().load_all_definitions()"
    ignored = ["-W", "ignore::DeprecationWarning", "-W", "ignore::FutureWarning"]
    command = [sys.executable, *ignored, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stderr == ""


def test_definitions_load_and_every_asset_is_described():
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    names = {key.to_user_string() for key in graph.get_all_asset_keys()}
    evidence = {"shadow_scores", "backtest", "champion", "rollout", "decay_report"}
    others = {"candles", "features", "xgboost_model", "lightgbm_model", "drift_report", "signals"}
    assert names - evidence == others | {"housekeeping_report", "week_report"}
    assert evidence < names
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.owners, key
        assert node.kinds, key
        assert node.backfill_policy == dg.BackfillPolicy.single_run(), key


def test_owners_and_tags_of_the_settings_are_those_of_every_asset():
    ours = {"owners": ["team:crypto", "desk@example.com"], "tags": {"desk": "crypto"}}
    graph = build_defs(load_settings().model_copy(update=ours)).resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        assert graph.get(key).owners == ours["owners"], key
        assert graph.get(key).tags["desk"] == "crypto", key
        assert graph.get(key).kinds, key


def test_jobs_and_schedules_are_those_promised_and_schedules_are_off():
    repository = defs.get_repository_def()
    jobs = {"market_data", "weekly_cycle", "drift", "decay", "trading_signals", "clm_cycle", "housekeeping", "doctor"}
    jobs |= {"freshness", "weekly_report", "search"}
    assert jobs <= set(repository.job_names)
    schedules = {s.name: s for s in repository.schedule_defs}
    assert schedules["weekly_cycle_schedule"].cron_schedule == "0 2 * * 1"
    assert schedules["drift_schedule"].cron_schedule == "0 1 * * *"
    assert schedules["signals_schedule"].cron_schedule == "5 * * * *"
    assert schedules["doctor_schedule"].cron_schedule == "30 0 * * *"
    assert schedules["housekeeping_schedule"].cron_schedule == "0 4 * * 6"
    assert all(s.default_status == dg.DefaultScheduleStatus.STOPPED for s in schedules.values())
    assert all(s.execution_timezone == "UTC" for s in schedules.values())


def test_limits_of_the_operator_reach_the_run(monkeypatch):
    monkeypatch.setenv("TRAINING_JOB_TIMEOUT", "77")
    monkeypatch.setenv("TRAINING_RETRY_ATTEMPTS", "1")
    tags = build_defs(load_settings()).resolve_job_def("weekly_cycle").tags
    assert (tags["dagster/max_runtime"], tags["dagster/max_retries"]) == ("77", "1")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_module_imports_a_serialiser_that_runs_code(path):
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module.split(".")[0])
    assert not modules & {"pickle", "joblib", "cloudpickle"}


def test_months_of_candles_select_the_weeks_that_they_touch():
    """What docs/tasks/run_it.md says of one selection of everything, as Dagster resolves it for a backfill."""
    chain = (
        "candles",
        "features",
        "xgboost_model",
        "lightgbm_model",
        "shadow_scores",
        "backtest",
        "champion",
        "rollout",
    )
    with dg.DagsterInstance.ephemeral() as instance, partition_loading_context(dynamic_partitions_store=instance):
        backfill = AssetBackfillData.from_asset_partitions(
            asset_graph=defs.resolve_asset_graph(),
            partition_names=["SP500|2018-11-01", "SP500|2018-12-01"],
            asset_selection=[dg.AssetKey(asset) for asset in chain],
            dynamic_partitions_store=instance,
            backfill_start_timestamp=pd.Timestamp("2019-01-07", tz="UTC").timestamp(),
            all_partitions=False,
        )
        keys = {
            asset: sorted(backfill.target_subset.get_asset_subset(dg.AssetKey(asset)).value.get_partition_keys())
            for asset in chain
        }
    mondays = pd.date_range("2018-10-29", "2018-12-31", freq="7D").strftime("SP500|%Y-%m-%d")
    assert keys["candles"] == keys["features"] == ["SP500|2018-11-01", "SP500|2018-12-01"]
    assert all(keys[asset] == [*mondays] for asset in chain[2:])
