"""A week over a registry that was lost decides nothing; after `rebuild_registry` it is as if nothing had happened."""

from dataclasses import replace

import pytest

from quantum_training.definitions import build_defs
from quantum_training.resources.registry.registry import ModelRegistry

WEEKS, NEXT = ("2020-01-13", "2020-01-20"), "2020-01-27"


def over(project, registry):
    """The project with another MLflow."""
    definitions = build_defs(project.settings, {"store": project.store, "registry": registry})
    return replace(project, definitions=definitions, registry=registry)


def errors(result):
    return [e.step_failure_data.error.cause.message for e in result.all_events if e.is_step_failure]


def state(project):
    """What a week leaves: store, ledger, and whose version has which alias."""
    found = project.registry.client().search_model_versions("name = 'AAA'")
    versions = {int(version.version): version.tags["model_id"] for version in found}
    aliases = {alias: versions[number] for alias, number in project.registry.aliases.of("AAA").items()}
    rows = [(row.kind, row.payload) for row in project.ledger.rows("AAA")]
    return project.stored(), rows, aliases


def launch(project, job, op, **config):
    """Run a job that is no partition's, with this config of its op."""
    return project.definitions.resolve_job_def(job).execute_in_process(
        instance=project.instance, run_config={"ops": {op: {"config": config}}}, raise_on_error=False
    )


@pytest.mark.long
def test_a_week_stops_before_its_fit_and_after_the_rebuild_nothing_is_missed(cycled_project, small):
    small["promotion"] = {"rule": "evidence"}
    person = {"symbol": "AAA", "actor": "a", "reason": "r"}
    undisturbed, disturbed = cycled_project(small, *WEEKS), cycled_project(small, *WEEKS)
    for project in (undisturbed, disturbed):
        assert launch(project, "promote", "promote_champion", recipe="xgboost", **person).success
    lost = over(disturbed, ModelRegistry(tracking_uri=f"sqlite:///{disturbed.home}/other/mlflow.db"))
    before = state(disturbed)

    result = lost.run("weekly_cycle", f"AAA|{NEXT}")

    assert not result.success
    first = errors(result)[0]
    assert "InconsistentStateError: AAA: registry: 4 of 4 recorded versions are missing together" in first
    assert not launch(lost, "retrain", "retrain_recipes", **person).success
    assert not launch(lost, "promote", "promote_champion", recipe="lightgbm", **person).success
    assert lost.registry.client().search_experiments(filter_string="name = 'AAA'") == []
    assert state(disturbed) == before

    assert launch(lost, "rebuild_registry", "rebuild_versions_of_symbols").success
    for project in (undisturbed, lost):
        assert project.run("weekly_cycle", f"AAA|{NEXT}").success
    assert state(lost) == state(undisturbed)
    assert lost.store.read_record("champion", "AAA", NEXT)["champion"] == "xgboost"


@pytest.mark.long
def test_a_version_that_cannot_be_rebuilt_fails_the_run_with_its_reason(cycled_project, small):
    project = cycled_project(small, *WEEKS)
    changed = project.settings.recipes["xgboost"].model_copy(update={"seed": 99})
    settings = project.settings.model_copy(update={"recipes": {**project.settings.recipes, "xgboost": changed}})
    lost = over(replace(project, settings=settings), ModelRegistry(tracking_uri=f"sqlite:///{project.home}/new.db"))
    result = launch(lost, "rebuild_registry", "rebuild_versions_of_symbols", symbols=["AAA"])
    assert not result.success
    (failure,) = [e.step_failure_data for e in result.all_events if e.is_step_failure]
    assert f"xgboost of {WEEKS[0]}" in failure.user_failure_data.description
    assert "the settings of its recipe" in failure.user_failure_data.description
    assert len(lost.registry.client().search_model_versions("name = 'AAA'")) == 2
