"""The loop on a short clock by the real daemon: candles shift, drift is reported, a sensor has the recipe trained.

The training, and in `make soak` daemon and drift run, too, are killed, and what is left in the end is what an
undisturbed project has.
"""

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import psutil
import pytest
import yaml

from quantum_training.definitions import build_defs
from quantum_training.market.schema import as_candles
from quantum_training.partitions import RANGE_TAGS
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.payloads import Event
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings
from quantum_training_tests.support.processes import is_run_worker, wait_for

NOW = pd.Timestamp.now("UTC")
TODAY = NOW.normalize()
NEWEST_BAR = NOW - pd.Timedelta("4h")
"""It opens then or before: in the first hours of a month there is no bar of it yet."""

TRAINED = TODAY - pd.Timedelta(days=28 + TODAY.weekday())
"""The Monday as of which the newest version was trained; the market changes with it."""

FIRST = (TRAINED - pd.Timedelta(days=300)).replace(day=1)
PAUSED_ALGORITHM = '''
import os, time
from pathlib import Path
from quantum_training.models import lightgbm

class Model(lightgbm.Model):
    """LightGBM whose fit says which process it runs in and waits while it is held."""

    @classmethod
    def fit(cls, context):
        held = Path(__file__).parents[1] / "held"
        if held.exists():
            (Path(__file__).parents[1] / "fitting").write_text(str(os.getpid()))
        while held.exists():
            time.sleep(0.1)
        return super().fit(context)
'''


def candles(until):
    """Bars of 4 hours from FIRST to `until`, four times as wild once the version is trained, and rising without rest:
    so many features change that the drift is severe on whatever day this runs.
    """
    index = pd.date_range(FIRST, NOW, freq="4h")
    rng = np.random.default_rng(5)
    wild = np.where(index >= TRAINED, 4.0, 1.0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.004, len(index)) * wild + 0.006 * (wild - 1)))
    open_ = np.r_[100.0, close[:-1]]
    wick = rng.exponential(0.002, (len(index), 2)).T * wild
    high, low = np.maximum(open_, close) * np.exp(wick[0]), np.minimum(open_, close) * np.exp(-wick[1])
    volume = rng.lognormal(3, 0.5, len(index)) * wild
    frame = as_candles(pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": volume}, index))
    return frame.loc[: until - pd.Timedelta("4h")].rename_axis("open_time").reset_index()


@pytest.fixture
def settings(small, platform):
    market = {
        "source": {"kind": "files", "path": str(platform.home / "AAA.parquet")},
        "timeframe": "4h",
        "recipes": ["boost"],
    }
    recipe = {"algorithm": "slow.held", "params": {"max_rounds": 20, "num_leaves": 5}, "window_bars": 150}
    return {
        **small,
        "start": f"{FIRST:%Y-%m-%d}",
        "symbols": {"AAA": market},
        "recipes": {"boost": {**recipe, "label": {"kind": "forward_return", "horizon": 2}}},
        "drift": {"window_days": 7, "reference_weeks": 26, "html": False},
        "drift_cron_schedule": "* * * * *",
    }


class Loop:
    """The platform without its webserver, and what it has done so far."""

    def __init__(self, platform, instance, environment):
        self.platform, self.instance, self.environment = platform, instance, environment
        self.home = platform.home
        self.store = Store(root=str(self.home / "store"))

    def run(self, job, first, last, **options):
        tags = dict(zip(RANGE_TAGS, (f"AAA|{first:%Y-%m-%d}", f"AAA|{last:%Y-%m-%d}"), strict=True))
        definition = build_defs(load_settings()).resolve_job_def(job)
        done = definition.execute_in_process(instance=self.instance, tags=tags, raise_on_error=False, **options)
        assert done.success, [e.step_failure_data.error for e in done.all_events if e.is_step_failure]

    def state(self, name):
        (state,) = [s for s in self.instance.all_instigator_state() if s.instigator_name == name]
        return state.instigator_origin_id, state.selector_id

    def runs(self, **tags):
        return sorted(self.instance.get_runs(dg.RunsFilter(tags=tags)), key=lambda run: self.created(run))

    def created(self, run):
        return self.instance.get_run_record_by_id(run.run_id).create_timestamp

    def until(self, what, ready, seconds=240):
        return wait_for(what, ready, seconds, self.platform.log_tails)

    def kill_daemon(self):
        daemon = self.platform.processes["daemon"]
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait(10)
        self.platform.daemon(self.environment)

    def kill_run_worker(self):
        """SIGKILL to the processes of runs that the code server has launched."""
        server = psutil.Process(self.platform.processes["code-server"].pid)
        workers = [child for child in server.children(recursive=True) if is_run_worker(child)]
        for worker in workers:
            with suppress(psutil.NoSuchProcess):
                worker.kill()
        return bool(workers)

    def report(self):
        days = self.store.read_records("drift_report", "AAA")
        return next((record for record in days.values() if record["severity"] in ("SEVERE", "CRITICAL")), None)


@pytest.mark.parametrize(
    "also_killed",
    [pytest.param("nothing", marks=pytest.mark.long), pytest.param("daemon and drift run", marks=pytest.mark.soak)],
)
def test_a_market_shift_is_detected_and_trained_on_once_although_the_training_is_killed(
    platform, build_project, settings, monkeypatch, also_killed
):
    everything = also_killed != "nothing"
    home = platform.home
    (home / "slow").mkdir()
    (home / "slow" / "held.py").write_text(PAUSED_ALGORITHM)
    monkeypatch.syspath_prepend(str(home))
    other = build_project(settings)
    names = {
        "DAGSTER_HOME": str(home),
        "QUANTUM_TRAINING_CONFIG": str(home / "settings.yaml"),
        "PYTHONPATH": os.pathsep.join([str(home), os.environ.get("PYTHONPATH", "")]),
    }
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    (home / "settings.yaml").write_text(yaml.safe_dump(settings))
    monitoring = {"enabled": True, "poll_interval_seconds": 2, "start_timeout_seconds": 45}
    retries = {"enabled": True, "retry_on_asset_or_op_failure": False}
    (home / "dagster.yaml").write_text(
        yaml.safe_dump({"telemetry": {"enabled": False}, "run_monitoring": monitoring, "run_retries": retries})
    )
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.get_runs(limit=1)
        loop = Loop(platform, instance, names)
        candles(TRAINED).to_parquet(home / "AAA.parquet")
        loop.run("market_data", FIRST, (TRAINED - pd.Timedelta("1ns")).replace(day=1))
        only = {"asset_selection": [dg.AssetKey("boost_model")]}
        loop.run("weekly_cycle", TRAINED, TRAINED, **only)
        candles(NOW).to_parquet(home / "AAA.parquet")
        loop.run("market_data", TRAINED.replace(day=1), NEWEST_BAR.replace(day=1))

        (home / "held").touch()
        platform.code_server(names)
        platform.switch_on(instance, "schedule", "drift_schedule", pd.Timestamp.now("UTC") - pd.Timedelta(minutes=1))
        platform.daemon(names)

        if everything:
            loop.until("drift run", lambda: loop.runs(symbol="AAA") and loop.kill_run_worker())
            loop.kill_daemon()
        loop.until("drift report", loop.report)
        instance.stop_schedule(*loop.state("drift_schedule"), None)
        platform.switch_on(instance, "sensor", "drift_sensor")  # only now: it looks at once, and then every 30 seconds
        training, *_ = loop.until("training", lambda: loop.runs(trigger="DRIFT_DETECTED"))
        if everything:
            loop.kill_daemon()
        fitting = home / "fitting"
        loop.until("fit", fitting.exists)
        os.kill(int(fitting.read_text()), signal.SIGKILL)
        (home / "held").unlink()
        week = training.tags["dagster/partition/week"]
        loop.until("version", lambda: (loop.store.read_record("boost_model", "AAA", week) or {}).get("versions"))
        loop.until("end of the run", lambda: loop.runs(trigger="DRIFT_DETECTED")[-1].is_finished)
        ticks = lambda: len(instance.get_ticks(*loop.state("drift_sensor")))  # noqa: E731
        ticks_before = ticks()
        for asset in ("candles", "features"):
            shutil.copytree(home / "store" / asset, Path(other.store.root) / asset)
        assert other.run("weekly_cycle", f"AAA|{TRAINED:%Y-%m-%d}", **only).success
        trigger = {name: training.tags[name] for name in ("trigger", "reason", "as_of")}
        config = {"ops": {"boost_model": {"config": trigger}}}
        assert other.run("weekly_cycle", f"AAA|{week}", run_config=config, **only).success
        loop.until("another tick", lambda: ticks() > ticks_before)

        *unstarted, killed, again = loop.runs(trigger="DRIFT_DETECTED")  # a daemon may die while it starts a run
        assert {run.status for run in (*unstarted, killed)} == {dg.DagsterRunStatus.FAILURE}
        assert again.status == dg.DagsterRunStatus.SUCCESS
        assert {run.root_run_id or run.run_id for run in (*unstarted, killed, again)} == {again.root_run_id}
        assert trigger == {name: again.tags[name] for name in trigger}
        assert trigger["reason"].startswith(("SEVERE drift on ", "CRITICAL drift on "))
        assert loop.store.read_record("boost_model", "AAA", week) == other.store.read_record("boost_model", "AAA", week)

        (version,) = loop.store.read_record("boost_model", "AAA", week)["versions"]
        registry = ModelRegistry(tracking_uri=f"sqlite:///{home}/mlflow/mlflow.db")
        assert registry.aliases.of("AAA")["shadow-boost"] == registry.find("AAA", version["model_id"]).number
        stored = [v for v in registry.client().search_model_versions("name = 'AAA'") if "model_id" in v.tags]
        assert len(stored) == 2
        (new,) = [v for v in stored if v.tags["model_id"] == version["model_id"]]
        assert trigger.items() <= new.tags.items()

        published = [Event.model_validate_json(d.text) for d in EventBus().outbox.queue().read("test", 100)]
        published = [event for event in published if event.type != "model.promoted"]
        assert [event.type for event in published][2:] == [
            "data.drift_detected",
            "model.training_started",
            "model.training_completed",
        ]
        started, completed = (event.payload for event in published[3:])
        assert started.job_id == completed.job_id
        assert started.job_id.partition("/")[0] == again.root_run_id, "one training, however often it is begun again"
        assert (completed.status, completed.model_version) == ("succeeded", version["model_id"])
