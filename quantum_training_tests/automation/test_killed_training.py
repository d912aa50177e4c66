"""A training whose process is killed on the real platform: what is told, what is ended, and that nothing stays open."""

import os
import shutil
import signal
from pathlib import Path

import dagster as dg
import pytest
import yaml

from quantum_training.definitions import build_defs
from quantum_training.partitions import RANGE_TAGS
from quantum_training.resources.alerts.message import AlertMessage
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.payloads import Event
from quantum_training.settings import load_settings
from quantum_training_tests.support.platforms import LOCATION, launch
from quantum_training_tests.support.processes import wait_for
from quantum_training_tests.support.servers import WebServer

pytestmark = pytest.mark.soak

DAGSTER_YAML = Path(__file__).parents[2] / "dagster_home" / "dagster.yaml"
RETRAIN = {"symbol": "AAA", "actor": "ann", "reason": "the market changed"}


@pytest.fixture
def webhook():
    """A webhook that is down at first."""
    server = WebServer(503, 503, 503, 200)
    yield server
    server.stop()


@pytest.fixture
def settings(small):
    """An agent that would learn for minutes, and no second try."""
    params = {"total_steps": 4_000_000, "environments": 16, "rollout_bars": 16, "batch_size": 256, "network": [16]}
    label = {"kind": "forward_return", "horizon": 2}
    recipes = {"ppo": {"algorithm": "ppo", "params": params, "label": label, "window_bars": 150}}
    market = {**small["symbols"]["AAA"], "recipes": ["ppo"]}
    return {
        **small,
        "symbols": {"AAA": market},
        "recipes": recipes,
        "alerts": {"webhook": True},
        "training_retry_attempts": 0,
    }


def test_a_killed_retraining_is_one_alert_and_no_run_stays_open(platform, settings, webhook, monkeypatch):
    home = platform.home
    shutil.copy(DAGSTER_YAML, home)
    (home / "settings.yaml").write_text(yaml.safe_dump(settings))
    names = {
        "DAGSTER_HOME": str(home),
        "QUANTUM_TRAINING_CONFIG": str(home / "settings.yaml"),
        "ALERT_WEBHOOK_URL": webhook.url,
    }
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.get_runs(limit=1)
        platform.start(names)
        tags = dict(zip(RANGE_TAGS, ("AAA|2019-09-01", "AAA|2020-02-01"), strict=True))
        market_data = build_defs(load_settings()).resolve_job_def("market_data")
        assert market_data.execute_in_process(instance=instance, tags=tags, raise_on_error=False).success
        platform.ready()
        sensors = lambda: [s for s in instance.all_instigator_state() if s.instigator_data]  # noqa: E731
        cursors = lambda: [s for s in sensors() if getattr(s.instigator_data, "cursor", None)]  # noqa: E731
        wait_for("first tick of both sensors", lambda: len(cursors()) >= 2, 120, platform.log_tails)
        bus = EventBus(database_url=f"sqlite:///{home}/quantum_training.db")
        events = lambda: [Event.model_validate_json(d.text) for d in bus.outbox.queue().read("test", 100)]  # noqa: E731

        config = {"ops": {"retrain_recipes": {"config": RETRAIN}}}
        run_id = launch(platform.url, LOCATION, "retrain", config, {})
        wait_for("start of the training", events, 180, platform.log_tails)
        (started,) = events()
        (nested,) = instance.get_runs(dg.RunsFilter(tags={"clm/launched_by": run_id}))
        (step,) = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_START)
        os.kill(step.dagster_event.pid, signal.SIGKILL)

        wait_for("message", lambda: len(webhook.bodies) > 3, 300, platform.log_tails)
        wait_for("end of the training", lambda: len(events()) > 1, 60, platform.log_tails)
        messages = {AlertMessage.model_validate_json(body) for body in webhook.bodies}
        (alert,) = {alert for message in messages for alert in message.alerts}
        assert (alert.kind, alert.run_id, alert.count) == ("run_failure", run_id, 1)
        assert "terminated by signal 9" in alert.cause
        assert alert.next_step.startswith("look for the kernel's out-of-memory killer")
        assert {instance.get_run_by_id(id_).status for id_ in (run_id, nested.run_id)} == {dg.DagsterRunStatus.FAILURE}
        (_, ended) = events()
        assert (ended.type, ended.payload.status) == ("model.training_completed", "failed")
        assert ended.payload.job_id == started.payload.job_id == f"{nested.run_id}/AAA|2020-02-24/ppo"
        assert not [run for run in instance.get_runs() if not run.is_finished]
