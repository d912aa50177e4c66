"""What a run finds before it trains: a registry that was lost, swapped or renamed, an old backup, one version gone."""

import shutil
from pathlib import Path

import pandas as pd

from quantum_training.lifecycle.consistency.registry import newest_versions, registry_inconsistencies

WEEKS = ("2020-01-13", "2020-01-20", "2020-01-27")
MONDAYS = [pd.Timestamp(week, tz="UTC") for week in WEEKS]


def finding(services, trained=()):
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


def test_a_registry_with_all_recorded_versions_is_consistent(trained):
    assert [v.week for v in newest_versions(trained, "AAA")] == [WEEKS[2], WEEKS[1]] * 2
    assert finding(trained) is None
    assert finding(trained, MONDAYS[2:]) is None


def test_a_symbol_without_records_may_begin_with_an_empty_registry(lost_registry):
    assert registry_inconsistencies(lost_registry, "BBB") == []


def test_a_lost_registry_is_named_with_its_versions_and_both_ways_back(lost_registry):
    problem, remedy = finding(lost_registry)
    assert problem.startswith(
        f"4 of 4 recorded versions are missing together from MLflow at {lost_registry.registry.uri}: "
    )
    assert f"xgboost of {WEEKS[2]} ({newest(lost_registry, 'xgboost')[0]})" in problem
    assert "QUANTUM_TRAINING_MLFLOW_TRACKING_URI" in remedy
    assert "rebuild_registry" in remedy
    assert finding(lost_registry, [MONDAYS[2] + pd.Timedelta("7D")]) == (problem, remedy)
    assert "2 of 2" in finding(lost_registry, MONDAYS[2:])[0], "the run does the newest week again"


def test_versions_that_the_run_trains_itself_are_not_missed_unless_older_ones_would_stay_lost(lost_registry):
    assert finding(lost_registry, MONDAYS) is None
    assert "2 of 2 recorded versions" in finding(lost_registry, MONDAYS[1:])[0]


def test_an_older_backup_lacks_the_newest_versions_and_their_runs(trained):
    newest_ids = [newest(trained, recipe)[0] for recipe in ("xgboost", "lightgbm")]
    delete(trained, *newest_ids, with_run=True)
    assert "2 of 4 recorded versions" in finding(trained)[0]


def test_one_version_without_a_run_was_not_deleted_by_a_person(trained):
    delete(trained, newest(trained, "xgboost")[0], with_run=True)
    assert "1 of 4 recorded versions" in finding(trained)[0]


def test_one_deleted_version_or_one_broken_artefact_concerns_its_recipe_only(trained):
    one, other = newest(trained, "xgboost")
    delete(trained, one)
    assert finding(trained) is None
    shutil.rmtree(artefact(trained, other))
    assert "2 of 4 recorded versions" in finding(trained)[0]


def test_lost_artefacts_are_missed_although_mlflow_knows_their_versions(trained):
    folder = artefact(trained, newest(trained, "xgboost")[0])
    (folder / "MLmodel").write_text("swapped")
    assert finding(trained) is None
    shutil.rmtree(folder.parents[2])
    problem, _ = finding(trained)
    assert "4 of 4 recorded versions" in problem
    assert f"its artefact is not in {folder.parents[1]}" in problem


def test_artefacts_that_were_exchanged_are_missed_by_their_hashes(trained):
    first, second = (artefact(trained, newest(trained, recipe)[0]) for recipe in ("xgboost", "lightgbm"))
    first.rename(kept := first.with_name("kept"))
    second.rename(first)
    kept.rename(second)
    assert "2 of 4 recorded versions" in finding(trained)[0]


def test_an_older_backup_of_the_artefacts_lacks_the_newest_ones(trained):
    for recipe in ("xgboost", "lightgbm"):
        shutil.rmtree(artefact(trained, newest(trained, recipe)[0]).parent)
    assert "2 of 4 recorded versions" in finding(trained)[0]


def test_an_older_backup_of_the_artefacts_may_lack_a_single_version(trained):
    newest_artefact = artefact(trained, newest(trained, "xgboost")[0])
    assert trained.registry.find("AAA", newest(trained, "xgboost")[0]).number == 6, "registered last"
    shutil.rmtree(newest_artefact.parent)
    problem, remedy = finding(trained)
    assert "1 of 4 recorded versions" in problem
    assert f"its artefact is not in {newest_artefact}" in problem
    assert "rebuild_registry" in remedy


def test_an_artefact_that_is_gone_beside_newer_ones_concerns_its_recipe_only(trained):
    shutil.rmtree(artefact(trained, newest(trained, "lightgbm")[0]).parent)
    assert finding(trained) is None


def test_the_registry_of_another_home_is_not_taken_for_this_one(trained, lost_registry):
    lost_registry.registry.create_model("AAA")
    for recipe in ("xgboost", "lightgbm"):
        lost_registry.registry.client().create_model_version(
            "AAA", "file:///elsewhere", tags={"model_id": f"{recipe} elsewhere"}
        )
    assert "4 of 4 recorded versions" in finding(lost_registry)[0]


def test_versions_that_somebody_registered_without_a_run_or_artefact_do_not_count(lost_registry):
    client = lost_registry.registry.client()
    client.create_registered_model("AAA")
    for version in newest_versions(lost_registry, "AAA"):
        client.create_model_version("AAA", "file:///elsewhere", tags={"model_id": version.model_id})
    assert "4 of 4 recorded versions" in finding(lost_registry)[0]


def test_a_renamed_or_deleted_registered_model_is_named(trained):
    client = trained.registry.client()
    client.rename_registered_model("AAA", "AAA_old")
    problem = "the registered model AAA was renamed to AAA_old in MLflow"
    assert finding(trained, MONDAYS) == (problem, "Rename it back to AAA in MLflow's UI")
    client.rename_registered_model("AAA_old", "AAA")
    assert finding(trained) is None
    client.delete_registered_model("AAA")
    assert "4 of 4 recorded versions" in finding(trained)[0]


def test_a_renamed_or_deleted_experiment_is_named_with_the_way_back(trained):
    client, number = trained.registry.client(), trained.registry.experiment("AAA").experiment_id
    client.rename_experiment(number, "AAA_old")
    problem = "the experiment AAA was renamed to AAA_old in MLflow"
    assert finding(trained) == (problem, "Rename it back to AAA in MLflow's UI")
    client.rename_experiment(number, "AAA")
    client.delete_experiment(number)
    problem, remedy = finding(trained, MONDAYS)
    assert problem == "the experiment AAA was deleted and is in MLflow's trash, where its name stays taken"
    assert remedy == f"Restore it there, or with `mlflow experiments restore --experiment-id {number}`"
    client.restore_experiment(number)
    assert finding(trained) is None
