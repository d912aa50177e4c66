"""The out-of-sample record of a recipe in MLflow: a run of its own, a step for each week, none of them twice."""

import shutil

import pandas as pd
import pytest

from quantum_training.models.contract import TrainingContext, algorithm
from quantum_training.resources.registry.new_version import NewVersion
from quantum_training.resources.registry.recipe_records import RecordedWeek, log_weeks
from quantum_training.resources.registry.registry import ModelRegistry

WEEKS = pd.date_range("2020-01-06", periods=4, freq="7D", tz="UTC")


@pytest.fixture
def registry(tmp_path, empty_mlflow, make_window, make_features):
    """An MLflow with the versions first and second."""
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    registry = ModelRegistry(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    model = algorithm("xgboost").fit(TrainingContext(make_window(), {"max_rounds": 2}, seed=7))
    for name in ("first", "second"):
        tags = {"model_id": name, "recipe": "trees", "as_of": "2020-01-06T00:00:00+00:00"}
        registry.register("AAA", NewVersion(model, "xgboost", make_features(20), tags, {}, {}, WEEKS[0]))
    return registry


def week(at, model_id, sharpe=1.0):
    return RecordedWeek(WEEKS[at], model_id, {"shadow/bars": 100.0 + at, "shadow/sharpe_ratio": sharpe})


def record_runs(registry):
    client = registry.client()
    return client.search_runs([registry.experiment("AAA").experiment_id], "tags.record_of = 'trees'")


def steps(registry, run_id, metric="shadow/sharpe_ratio"):
    points = registry.client().get_metric_history(run_id, metric)
    return sorted((p.step, p.value, pd.Timestamp(p.timestamp, unit="ms", tz="UTC")) for p in points)


def test_weeks_become_steps_of_the_recipe_s_run_and_of_the_run_of_the_version_that_decided_them(registry):
    log_weeks(registry, "AAA", "trees", [week(0, "first", 0.5), week(1, "first", 0.7)])
    log_weeks(registry, "AAA", "trees", [week(2, "second", 0.9)])
    (record,) = record_runs(registry)
    assert [(step, value) for step, value, _ in steps(registry, record.info.run_id)] == [
        (2609, 0.5), (2610, 0.7), (2611, 0.9),
    ]  # fmt: skip
    assert [time for *_, time in steps(registry, record.info.run_id)] == [*WEEKS[:3]]
    assert (record.info.run_name, record.info.status) == ("trees: out-of-sample record", "FINISHED")
    assert (record.data.tags["symbol"], record.data.tags["week"]) == ("AAA", "2020-01-20")
    assert record.data.metrics == {"shadow/bars": 102.0, "shadow/sharpe_ratio": 0.9}
    of_versions = [[v for _, v, _ in steps(registry, registry.run_id("AAA", name))] for name in ("first", "second")]
    assert of_versions == [[0.5, 0.7], [0.9]]


def test_weeks_that_are_logged_again_or_late_are_there_once_and_as_they_were(registry):
    log_weeks(registry, "AAA", "trees", [week(0, "first", 0.5), week(2, "second", 0.9)])
    log_weeks(registry, "AAA", "trees", [week(0, "first", 0.5), week(1, "first", 0.6), week(2, "second", -3.0)])
    (record,) = record_runs(registry)
    assert [v for _, v, _ in steps(registry, record.info.run_id)] == [0.5, 0.6, 0.9]
    assert record.data.tags["week"] == "2020-01-20"
    assert [v for _, v, _ in steps(registry, registry.run_id("AAA", "second"))] == [0.9]


def test_a_week_costs_the_same_however_long_the_record_is(registry, monkeypatch):
    log_weeks(registry, "AAA", "trees", [week(0, ""), week(1, "")])
    client = registry.client()

    def refuse(*args):
        raise AssertionError("the history of the record was read")

    with monkeypatch.context() as unread:
        unread.setattr(type(client), "get_metric_history", refuse)
        log_weeks(registry, "AAA", "trees", [week(2, "")])
    (record,) = record_runs(registry)
    assert len(steps(registry, record.info.run_id)) == 3


def test_a_deleted_version_and_a_week_without_metrics_are_left_out(registry):
    registry.delete("AAA", "first")
    log_weeks(registry, "AAA", "trees", [week(0, "first"), RecordedWeek(WEEKS[1], "second", {})])
    (record,) = record_runs(registry)
    assert [step for step, *_ in steps(registry, record.info.run_id)] == [2609]
    assert steps(registry, registry.run_id("AAA", "second")) == []


def test_a_record_without_a_week_makes_no_run(registry):
    log_weeks(registry, "AAA", "trees", [RecordedWeek(WEEKS[1], "second", {})])
    assert record_runs(registry) == []
