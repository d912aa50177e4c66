"""MLflow's SQLite file that was moved with its artefacts: versions load there, and nothing appears in the old place."""

import shutil

import mlflow
import pandas as pd
import pytest

from quantum_training.models.contract import TrainingContext, algorithm
from quantum_training.resources.registry.new_version import NewVersion
from quantum_training.resources.registry.registry import ModelRegistry


@pytest.fixture
def old(tmp_path, empty_mlflow):
    """A folder whose name needs escapes, with an MLflow database."""
    folder = tmp_path / "old place #1"
    folder.mkdir()
    shutil.copy(empty_mlflow, folder / "mlflow.db")
    return folder


@pytest.fixture
def register(make_window, make_features):
    """`register(registry, model_id)`"""
    model = algorithm("xgboost").fit(TrainingContext(make_window(), {"max_rounds": 2}, seed=7))

    def register(registry, model_id):
        tags = {"model_id": model_id, "recipe": "xgboost", "as_of": "2020-01-06T00:00:00+00:00"}
        new = NewVersion(model, "xgboost", make_features(20), tags, {}, {}, pd.Timestamp.now("UTC"))
        registry.register("AAA", new)

    return register


def over(folder):
    return ModelRegistry(tracking_uri=f"sqlite:///{folder}/mlflow.db")


def test_moved_versions_load_and_new_ones_are_written_beside_them(old, tmp_path, register, make_features):
    register(over(old), "first")
    new = tmp_path / "new"
    old.rename(new)
    registry, features = over(new), make_features(20)

    loaded = registry.load("AAA", "first")
    register(registry, "second")
    registry.log_report("AAA", "first", "backtest/2020-01-06.html", "<p>")

    assert not old.exists()
    registry.load("AAA", "second")
    served = mlflow.pyfunc.load_model("models:/AAA/1").predict(features)
    assert served.equals(loaded.positions(features))
    assert [file.name for file in new.rglob("*.html")] == ["2020-01-06.html"]


def test_a_copy_writes_nothing_into_the_original(old, tmp_path, register):
    register(over(old), "first")
    copy = shutil.copytree(old, tmp_path / "copy")
    before = sorted(old.rglob("*"))

    register(over(copy), "second")

    assert sorted(old.rglob("*")) == before
    assert len([*copy.rglob("MLmodel")]) == 2
    over(old).load("AAA", "first")


def test_artefacts_that_stayed_where_they_were_are_used_there(old, tmp_path, register):
    register(over(old), "first")
    new = tmp_path / "new"
    new.mkdir()
    shutil.move(old / "mlflow.db", new)

    over(new).load("AAA", "first")

    assert not (new / "artifacts").exists()
