"""Removing versions from MLflow: killed in the middle, beside moved aliases and runs of people, and old reports."""

import shutil

import pandas as pd
import pytest

from quantum_training.models.contract import TrainingContext, algorithm
from quantum_training.resources.cleanup.removal_count import RemovalCount
from quantum_training.resources.registry import removal
from quantum_training.resources.registry.new_version import NewVersion
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.registry.removal import registered
from quantum_training.selection.retention import removable

WEEKS = [f"{week:%Y-%m-%d}" for week in pd.date_range("2020-01-06", periods=4, freq="7D")]
LATER = pd.Timedelta(days=31)


@pytest.fixture
def registry_with_versions(tmp_path, empty_mlflow, make_window, make_features):
    """Four versions of one model, as four weeks would register them, the newest with an alias."""
    shutil.copy(empty_mlflow, tmp_path)
    registry = ModelRegistry(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    model = algorithm("xgboost").fit(TrainingContext(make_window(), {"max_rounds": 2}, seed=7))
    for week in WEEKS:
        tags = {"model_id": f"version-{week}", "recipe": "xgboost", "as_of": f"{week}T00:00:00+00:00"}
        started = pd.Timestamp.now("UTC")
        registry.register(
            "AAA",
            NewVersion(
                model, "xgboost", make_features(20), tags=tags, params={}, metrics={"loss": 0.5}, started=started
            ),
        )
    registry.aliases.move("AAA", {"shadow-xgboost": f"version-{WEEKS[3]}"})
    return registry, registered(registry, "AAA")


def test_after_a_kill_between_any_two_removals_the_next_one_removes_the_rest(registry_with_versions, monkeypatch):
    registry, versions = registry_with_versions
    going, later = versions[:3], pd.Timestamp.now("UTC") + LATER
    client = registry.client()
    steps = [
        (type(client), "delete_model_version_tag"),
        (type(client), "delete_model_version"),
        (removal._Artefacts, "remove"),
        (removal, "_delete_run"),
    ]
    for place, name in steps:
        original, calls = getattr(place, name), []

        def killed(*args, original=original, calls=calls, **options):
            if calls:
                raise KeyboardInterrupt
            calls.append(args)
            return original(*args, **options)

        left = [v for v in going if v in registered(registry, "AAA")]
        with monkeypatch.context() as patch:
            patch.setattr(place, name, killed)
            with pytest.raises(KeyboardInterrupt):
                removal.remove(registry, "AAA", left, later, dry_run=False)
        for version in registered(registry, "AAA"):  # whatever is still registered is complete
            registry.load("AAA", version.model_id)
    left = [v for v in going if v in registered(registry, "AAA")]
    removal.remove(registry, "AAA", left, later, dry_run=False)
    (only,) = registered(registry, "AAA")
    assert only == versions[3]
    experiment = client.get_experiment_by_name("AAA").experiment_id
    assert [run.info.run_id for run in client.search_runs([experiment], run_view_type=3)] == [only.run_id]
    assert [model.source_run_id for model in client.search_logged_models([experiment])] == [only.run_id]
    folders = registry.artifacts_folder() / "AAA"
    assert [f.name for f in folders.iterdir() if f.name != "models"] in ([only.run_id], [])
    assert len([*(folders / "models").iterdir()]) == 1


def test_versions_with_an_alias_by_now_and_runs_of_people_stay(registry_with_versions):
    registry, versions = registry_with_versions
    client = registry.client()
    experiment = client.get_experiment_by_name("AAA").experiment_id
    by_hand = client.create_run(experiment, start_time=0).info.run_id
    killed = client.create_run(experiment, start_time=0, tags={"model_id": "never registered"}).info.run_id
    of_person = client.create_run(experiment, start_time=0)
    client.create_model_version("AAA", f"{of_person.info.artifact_uri}/model", of_person.info.run_id)
    registry.aliases.move("AAA", {"kept": versions[0].model_id})
    later = pd.Timestamp.now("UTC") + LATER
    for dry_run in (True, False):
        counts = removal.remove(registry, "AAA", versions[:2], later, dry_run)
        assert counts["versions"].number == (2 if dry_run else 1)
        assert counts["unregistered_runs"].number == 1
    remaining = registered(registry, "AAA")
    assert ids(remaining) == ids(versions) - {versions[1].model_id} | {""}
    assert [(v.recipe, v.run_id) for v in removable(remaining, {}, later)] == [
        ("xgboost", v.run_id) for v in remaining[:-1]
    ]
    runs = {run.info.run_id for run in client.search_runs([experiment], run_view_type=3)}
    assert {by_hand, of_person.info.run_id} <= runs
    assert killed not in runs
    registry.load("AAA", versions[0].model_id)


def test_old_reports_of_retained_versions_are_removed(registry_with_versions):
    registry, versions = registry_with_versions
    later = pd.Timestamp.now("UTC") + LATER
    for week in ("2020-01-06", "2020-01-13", f"{later:%Y-%m-%d}"):
        registry.log_report("AAA", versions[0].model_id, f"backtest/{week}.html", "<p>")
    registry.log_report("AAA", versions[3].model_id, "backtest/2020-01-27.html", "<p>")
    assert removal.remove(registry, "AAA", [], later, dry_run=True)["reports_in_mlflow"] == RemovalCount(2, 6)
    assert removal.remove(registry, "AAA", [], later, dry_run=False)["reports_in_mlflow"] == RemovalCount(2, 6)
    client = registry.client()
    remaining = [f.path for v in (versions[0], versions[3]) for f in client.list_artifacts(v.run_id, "backtest")]
    assert remaining == [f"backtest/{later:%Y-%m-%d}.html", "backtest/2020-01-27.html"], (
        "the newest version keeps its report"
    )


def ids(versions):
    return {version.model_id for version in versions}
