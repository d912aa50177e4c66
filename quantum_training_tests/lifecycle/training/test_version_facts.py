"""What MLflow shows of a version: a sentence, its data, its metrics in sample, and a picture."""

import json

import mlflow
import numpy as np
import pandas as pd
import pytest

from quantum_training.lifecycle.training import version_facts
from quantum_training.lifecycle.training.train_week import train_week
from quantum_training.market.periods import Key

KEY = Key("AAA", pd.Timestamp("2020-01-06", tz="UTC"))


@pytest.fixture
def services(market, small):
    small["symbols"]["AAA"]["recipes"] = ["lightgbm"]
    small["symbols"]["BBB"]["recipes"] = ["xgboost"]
    return market(small)


@pytest.fixture
def trained(services):
    """The result of a week, its run and its version in MLflow."""
    result = train_week(services, "lightgbm", KEY).result
    client = services.registry.client()
    version = client.get_model_version("AAA", str(result.registered.number))
    return result, client.get_run(version.run_id), version


def test_run_version_model_and_experiment_say_in_a_sentence_what_they_are(services, trained):
    result, run, version = trained
    rows = len(result.inputs.window.full_y)
    assert version.description.startswith(
        f"Recipe lightgbm (lightgbm) for AAA, trained as of 2020-01-06 00:00 UTC on {rows} bars from "
    )
    assert version.description.endswith("Why: weekly refresh.")
    assert run.data.tags["mlflow.note.content"] == version.description
    assert run.info.run_name == "lightgbm 2020-01-06"
    client = services.registry.client()
    assert "champion" in client.get_registered_model("AAA").description
    experiment = client.get_experiment(run.info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert experiment.tags["mlflow.note.content"].endswith("of AAA.")


def test_runs_are_found_by_symbol_week_and_recipe(services, trained):
    _, run, _ = trained
    client = services.registry.client()
    same = "tags.symbol = 'AAA' and tags.week = '2020-01-06' and tags.recipe = 'lightgbm'"
    assert [r.info.run_id for r in client.search_runs([run.info.experiment_id], same)] == [run.info.run_id]


def test_the_page_of_a_version_has_no_long_hash_but_that_of_its_files(trained):
    _, run, version = trained
    assert {name for name, value in version.tags.items() if len(value) > 40} == {"artifact_files", "artefact_hash"}
    assert max(map(len, version.tags.values())) == 64
    assert len(run.data.tags["data_hash"]) == 64


def test_the_training_data_are_a_dataset_with_their_hash(trained):
    result, run, _ = trained
    window = result.inputs.window
    (data,) = run.inputs.dataset_inputs
    assert [(tag.key, tag.value) for tag in data.tags] == [("mlflow.data.context", "training")]
    assert data.dataset.name.startswith("AAA ")
    assert window.content_hash.startswith(data.dataset.digest)
    profile = json.loads(data.dataset.profile)
    assert (profile["sha256"], profile["num_rows"]) == (window.content_hash, len(window.full_y))
    assert [c["name"] for c in json.loads(data.dataset.schema)["mlflow_colspec"]] == [*window.columns]


def test_the_metrics_in_sample_are_those_of_the_account_that_trades_the_fitted_bars(trained):
    result, run, _ = trained
    shown = {k.removeprefix("in_sample/"): v for k, v in run.data.metrics.items() if k.startswith("in_sample/")}
    assert {"bars", "max_drawdown", "total_return", "turnover"} <= shown.keys()
    assert np.isfinite([*shown.values()]).all()
    assert shown["bars"] >= len(result.inputs.window.full_y) - 1
    if "sharpe_ratio" in shown:
        assert shown["sharpe_ratio_lower"] < shown["sharpe_ratio"] < shown["sharpe_ratio_upper"]


def test_the_importance_of_the_features_is_a_picture_of_the_run(trained):
    result, run, _ = trained
    picture = mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/feature_importance.svg")
    best = max(result.fit.model.importance, key=result.fit.model.importance.get)
    assert picture.startswith("<svg ")
    assert best in picture


def test_a_version_whose_metrics_in_sample_are_no_numbers_is_registered_without_them(services, monkeypatch):
    def refuse(*args):
        raise ValueError("net return 3 of 9 takes equity beyond 1e+100")

    monkeypatch.setattr(version_facts, "in_sample_metrics", refuse)
    registered = train_week(services, "lightgbm", KEY).result.registered
    metrics = services.registry.client().get_run(registered.run_id).data.metrics
    assert [name for name in metrics if name.startswith("in_sample/")] == []
