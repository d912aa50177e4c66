"""The events of a training, through Dagster: start and end, each published once, also if the run fails or dies."""

import json
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from quantum_training.lifecycle.training import train_version
from quantum_training.lifecycle.training.events import TrainingJob, reward_metrics
from quantum_training.lifecycle.training.versions import recorded_versions
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.outbox import EventOutbox
from quantum_training.resources.events.payloads import Event

FIRST, SECOND = "AAA|2020-01-06", "AAA|2020-01-13"


@pytest.fixture
def one(build_project, small):
    """`one(**params)`: a project with one symbol and one recipe, its market data in store."""

    def build(**params):
        recipe = small["recipes"]["xgboost"]
        recipes = {"xgboost": {**recipe, "params": {**recipe["params"], **params}}}
        symbols = {"AAA": {**small["symbols"]["AAA"], "recipes": ["xgboost"]}}
        return build_project({**small, "symbols": symbols, "recipes": recipes}).market_data()

    return build


def published_events(project):
    bus = EventBus(database_url=project.settings.database_url)
    return [Event.model_validate_json(d.text) for d in bus.outbox.queue().read("test", 100)]


def train(project, week):
    return project.run("weekly_cycle", week, asset_selection=[dg.AssetKey("xgboost_model")])


def test_start_and_version_are_published_once_even_if_the_run_dies_between_them(one, monkeypatch):
    project = one()
    result = train(project, FIRST)
    assert result.success
    started, completed = published_events(project)
    assert (started.type, completed.type) == ("model.training_started", "model.training_completed")
    assert started.symbol == completed.symbol == "AAA"
    assert started.payload.job_id == completed.payload.job_id == f"{result.run_id}/{FIRST}/xgboost"
    assert (started.payload.model_type, started.payload.trigger) == ("xgboost", "SCHEDULED")
    (version,) = project.store.read_record("xgboost_model", "AAA", FIRST[4:])["versions"]
    assert (completed.payload.status, completed.payload.model_version) == ("succeeded", version["model_id"])
    metrics = project.registry.client().get_run(project.registry.find("AAA", version["model_id"]).run_id).data.metrics
    assert completed.payload.duration_seconds == metrics.pop("fit_seconds")
    assert completed.payload.metrics == {k: v for k, v in metrics.items() if not k.startswith("in_sample/")}
    assert completed.payload.completed_at >= started.payload.started_at
    assert train(project, FIRST).success
    assert published_events(project) == [started, completed]

    with monkeypatch.context() as patch:
        patch.setattr(TrainingJob, "publish_succeeded", None)
        assert not train(project, SECOND).success
    assert [e.type for e in published_events(project)[2:]] == ["model.training_started"]
    assert train(project, SECOND).success
    late = published_events(project)[-1].payload
    (version,) = project.store.read_record("xgboost_model", "AAA", SECOND[4:])["versions"]
    assert (late.status, late.model_version, late.duration_seconds) == ("succeeded", version["model_id"], None)


def test_a_training_that_raises_is_published_as_failed(one):
    project = one(max_depth=-5)
    assert not train(project, FIRST).success
    started, completed = published_events(project)
    assert (completed.payload.status, completed.payload.model_version) == ("failed", None)
    assert completed.payload.job_id == started.payload.job_id
    assert (completed.payload.metrics, completed.payload.duration_seconds >= 0) == ({}, True)


@pytest.mark.parametrize("restarted", [True, False])
def test_a_training_that_was_stopped_has_failed_unless_dagster_may_start_it_again(one, monkeypatch, restarted):
    project = one()

    def stopped(*_):
        if restarted:  # as in a run that the daemon has launched
            monkeypatch.setattr(dg.DagsterRun, "remote_job_origin", "here")
            monkeypatch.setattr(type(project.instance), "run_retries_enabled", True)
        raise DagsterExecutionInterruptedError

    monkeypatch.setattr(train_version, "fit_seeds", stopped)
    assert not train(project, FIRST).success
    ended = [e.payload.status for e in published_events(project) if e.type == "model.training_completed"]
    assert ended == ([] if restarted else ["failed"])


def test_an_undefined_metric_is_null_and_the_error_stays_if_the_bus_fails_too(tmp_path):
    bus = EventBus(database_url=f"sqlite:///{tmp_path}/a.db")
    job = TrainingJob(bus, "AAA", "xgboost", "job")
    job.publish_succeeded("v1", {"loss": float("nan"), "gain": float("inf"), "rounds": 3.0}, 1.0)
    (delivery,) = bus.outbox.queue().read("test", 10)
    assert json.loads(delivery.text)["payload"]["metrics"] == {"loss": None, "gain": None, "rounds": 3.0}

    class BrokenOutbox(EventOutbox):
        def publish(self, events):
            events = list(events)
            if events[0].type == "model.training_completed":
                raise RuntimeError("no database")

    broken = TrainingJob(SimpleNamespace(outbox=BrokenOutbox()), "AAA", "xgboost", "job")
    with pytest.raises(ZeroDivisionError) as caught, broken.publish_started("MANUAL", "asked"):
        _ = 1 / 0
    assert caught.value.__notes__ == ["that the training failed could not be published: no database"]


def test_the_rewards_of_an_agent_are_the_mean_of_its_curve_and_its_last_point():
    curves = [{"step": 1, "policy_loss": 0.1}, {"step": 2, "mean_reward": 1.0}, {"step": 3, "mean_reward": 4.0}]
    assert reward_metrics(curves) == {"avg_reward": 2.5, "final_reward": 4.0}
    assert reward_metrics(curves[:1]) == reward_metrics([]) == {}


def test_who_reads_that_a_training_succeeded_finds_its_version_recorded(one, monkeypatch):
    project, recorded = one(), []
    publish = EventOutbox.publish

    def publish_and_look(self, events):
        events = list(events)
        for sent in events:
            if sent.type == "model.training_completed":
                versions = recorded_versions(project.store, "AAA", "xgboost")
                recorded.append(sent.payload.model_version in [version.model_id for version in versions])
        publish(self, events)

    monkeypatch.setattr(EventOutbox, "publish", publish_and_look)
    assert train(project, FIRST).success
    assert recorded == [True]
