"""A batch of the weekly schedule whose process is killed on the real platform: it goes on with what is missing."""

import os
import shutil
import signal
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from quantum_training.definitions import build_defs
from quantum_training.lifecycle.evaluation.leakage import skill_record
from quantum_training.market.periods import week_of
from quantum_training.partitions import RANGE_TAGS
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings
from quantum_training_tests.support.processes import wait_for

pytestmark = pytest.mark.soak

DAGSTER_YAML = Path(__file__).parents[2] / "dagster_home" / "dagster.yaml"
SYMBOLS = ("AAA", "BBB", "CCC")
DONE = dg.DagsterRunStatus.SUCCESS


def test_a_killed_batch_is_restarted_for_the_symbols_that_are_missing(platform, build_project, small, monkeypatch):
    home, now = platform.home, pd.Timestamp.now("UTC").floor("min")
    began = now - pd.Timedelta(days=100)
    market = {"timeframe": "1h", "recipes": ["lightgbm"]}
    market["source"] = {"kind": "synthetic", "seed": 3, "start": f"{began:%Y-%m-%d}"}
    settings = {
        **small,
        "start": f"{began:%Y-%m-%d}",
        "symbols": dict.fromkeys(SYMBOLS, market),
        "max_concurrent_training_jobs": 1,
    }
    other = build_project(settings)
    cron = f"{now.minute} {now.hour} * * {now.isoweekday() % 7}"
    names = platform.configure(settings, DAGSTER_YAML.read_text(), monkeypatch, TRAINING_CRON_SCHEDULE=cron)
    store, week = Store(root=str(home / "store")), f"{week_of(now):%Y-%m-%d}"
    skill_record(store, "lightgbm", other.settings.recipes["lightgbm"])

    with dg.DagsterInstance.from_config(str(home)) as instance:
        job = build_defs(load_settings()).resolve_job_def("market_data")
        for symbol in SYMBOLS:
            months = [f"{symbol}|{day:%Y-%m-01}" for day in (now - pd.Timedelta(days=65), now)]
            tags = dict(zip(RANGE_TAGS, months, strict=True))
            assert job.execute_in_process(instance=instance, tags=tags, raise_on_error=False).success

        def succeeded(job_name="weekly_cycle"):
            runs = instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=[DONE]))
            return sorted(run.tags.get("symbol", "") for run in runs)

        platform.code_server(names)
        platform.switch_on(instance, "schedule", "weekly_cycle_schedule", now - pd.Timedelta("30s"))
        platform.daemon(names)
        wait_for("the first symbol", succeeded, 240, platform.log_tails)
        (batch,) = instance.get_runs(dg.RunsFilter(job_name="weekly_cycle_batch"))
        (step,) = instance.all_logs(batch.run_id, of_type=dg.DagsterEventType.STEP_START)
        pid = step.dagster_event.pid
        assert "forkserver" in Path(f"/proc/{pid}/cmdline").read_text(), "it began with the libraries loaded"
        os.kill(pid, signal.SIGKILL)
        before = len(succeeded())
        wait_for("the restarted batch", lambda: succeeded("weekly_cycle_batch"), 300, platform.log_tails)
        assert before < len(SYMBOLS)
        assert succeeded() == [*SYMBOLS], "each symbol once"
        first, second = instance.get_runs(dg.RunsFilter(job_name="weekly_cycle_batch"), ascending=True)
        assert (first.status, second.parent_run_id) == (dg.DagsterRunStatus.FAILURE, first.run_id)
        assert first.tags["dagster/schedule_name"] == "weekly_cycle_schedule"

    for symbol in SYMBOLS:
        for asset in ("candles", "features"):
            shutil.copytree(home / "store" / asset / symbol, Path(other.store.root) / asset / symbol)
        assert other.run("weekly_cycle", f"{symbol}|{week}").success
        for asset in ("lightgbm_model", "champion", "rollout", "decay_report"):
            assert store.read_record(asset, symbol, week) == other.store.read_record(asset, symbol, week), asset
