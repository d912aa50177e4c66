"""What a run finds before it trains: a registry that was lost, swapped or renamed, an old backup, one version gone."""

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from quantum_training.lifecycle.consistency.registry import newest_versions, registry_inconsistencies
from quantum_training.resources.registry.registry import ModelRegistry

WEEKS = ("2020-01-13", "2020-01-20", "2020-01-27")
MONDAYS = [pd.Timestamp(week, tz="UTC") for week in WEEKS]


@pytest.fixture
def services(trained):
    """AAA with three weeks of versions of two recipes, and a champion."""
    return trained


@pytest.fixture
def lost(services, empty_mlflow, tmp_path):
    """The same state over an MLflow without versions."""
    (tmp_path / "empty").mkdir()
    shutil.copy(empty_mlflow, tmp_path / "empty")
    return replace(services, registry=ModelRegistry(tracking_uri=f"sqlite:///{tmp_path}/empty/mlflow.db"))


def found(services, trained=()):
    """The problem that was found and its remedy, or None."""
    inconsistencies = registry_inconsistencies(services, "AAA", trained)
    assert len(inconsistencies) < 2
    for inconsistency in inconsistencies:
        assert (inconsistency.symbol, inconsistency.subject) == ("AAA", "registry")
        return inconsistency.problem, inconsistency.remedy
    return None


def delete(services, *model_ids, with_run=False):
    client = services.registry.client()
    for model_id in model_ids:
        version = services.registry.find("AAA", model_id)
        client.delete_model_version("AAA", str(version.number))
        if with_run:
            client._tracking_client.store._hard_delete_run(version.run_id)


def artefact(services, model_id):
    number = services.registry.find("AAA", model_id).number
    return Path(services.registry.client().get_model_version_download_uri("AAA", str(number)).removeprefix("file://"))


def newest(services, recipe):
    """Model ids of a recipe's newest versions, newest first."""
    return [v.model_id for v in newest_versions(services, "AAA") if v.recipe == recipe]


def test_a_registry_with_all_recorded_versions_is_consistent(services):
    assert [v.week for v in newest_versions(services, "AAA")] == [WEEKS[2], WEEKS[1]] * 2
    assert found(services) is None
    assert found(services, MONDAYS[2:]) is None


def test_a_symbol_without_records_may_begin_with_an_empty_registry(lost):
    assert registry_inconsistencies(lost, "BBB") == []


def test_a_lost_registry_is_named_with_its_versions_and_both_ways_back(lost):
    problem, remedy = found(lost)
    assert problem.startswith(f"4 of 4 recorded versions are missing together from MLflow at {lost.registry.uri}: ")
    assert f"xgboost of {WEEKS[2]} ({newest(lost, 'xgboost')[0]})" in problem
    assert "QUANTUM_TRAINING_MLFLOW_TRACKING_URI" in remedy
    assert "rebuild_registry" in remedy
    assert found(lost, [MONDAYS[2] + pd.Timedelta("7D")]) == (problem, remedy)
    assert "2 of 2" in found(lost, MONDAYS[2:])[0], "the run does the newest week again"


def test_versions_that_the_run_trains_itself_are_not_missed_unless_older_ones_would_stay_lost(lost):
    assert found(lost, MONDAYS) is None
    assert "2 of 2 recorded versions" in found(lost, MONDAYS[1:])[0]


def test_an_older_backup_lacks_the_newest_versions_and_their_runs(services):
    newest_ids = [newest(services, recipe)[0] for recipe in ("xgboost", "lightgbm")]
    delete(services, *newest_ids, with_run=True)
    assert "2 of 4 recorded versions" in found(services)[0]


def test_one_version_without_a_run_was_not_deleted_by_a_person(services):
    delete(services, newest(services, "xgboost")[0], with_run=True)
    assert "1 of 4 recorded versions" in found(services)[0]


def test_one_deleted_version_or_one_broken_artefact_concerns_its_recipe_only(services):
    one, other = newest(services, "xgboost")
    delete(services, one)
    assert found(services) is None
    shutil.rmtree(artefact(services, other))
    assert "2 of 4 recorded versions" in found(services)[0]


def test_lost_artefacts_are_missed_although_mlflow_knows_their_versions(services):
    folder = artefact(services, newest(services, "xgboost")[0])
    (folder / "MLmodel").write_text("swapped")
    assert found(services) is None
    shutil.rmtree(folder.parents[2])
    problem, _ = found(services)
    assert "4 of 4 recorded versions" in problem
    assert f"its artefact is not in {folder.parents[1]}" in problem


def test_artefacts_that_were_exchanged_are_missed_by_their_hashes(services):
    first, second = (artefact(services, newest(services, recipe)[0]) for recipe in ("xgboost", "lightgbm"))
    first.rename(kept := first.with_name("kept"))
    second.rename(first)
    kept.rename(second)
    assert "2 of 4 recorded versions" in found(services)[0]


def test_an_older_backup_of_the_artefacts_lacks_the_newest_ones(services):
    for recipe in ("xgboost", "lightgbm"):
        shutil.rmtree(artefact(services, newest(services, recipe)[0]).parent)
    assert "2 of 4 recorded versions" in found(services)[0]


def test_the_registry_of_another_home_is_not_taken_for_this_one(services, lost):
    lost.registry.prepare("AAA")
    for recipe in ("xgboost", "lightgbm"):
        lost.registry.client().create_model_version(
            "AAA", "file:///elsewhere", tags={"model_id": f"{recipe} elsewhere"}
        )
    assert "4 of 4 recorded versions" in found(lost)[0]


def test_a_renamed_or_deleted_registered_model_is_named(services):
    client = services.registry.client()
    client.rename_registered_model("AAA", "AAA_old")
    problem = "the registered model AAA was renamed to AAA_old in MLflow"
    assert found(services, MONDAYS) == (problem, "Rename it back to AAA in MLflow's UI")
    client.rename_registered_model("AAA_old", "AAA")
    assert found(services) is None
    client.delete_registered_model("AAA")
    assert "4 of 4 recorded versions" in found(services)[0]


def test_a_renamed_or_deleted_experiment_is_named_with_the_way_back(services):
    client, number = services.registry.client(), services.registry.experiment("AAA").experiment_id
    client.rename_experiment(number, "AAA_old")
    problem = "the experiment AAA was renamed to AAA_old in MLflow"
    assert found(services) == (problem, "Rename it back to AAA in MLflow's UI")
    client.rename_experiment(number, "AAA")
    client.delete_experiment(number)
    problem, remedy = found(services, MONDAYS)
    assert problem == "the experiment AAA was deleted and is in MLflow's trash, where its name stays taken"
    assert remedy == f"Restore it there, or with `mlflow experiments restore --experiment-id {number}`"
    client.restore_experiment(number)
    assert found(services) is None
