"""The job `search` with a real store, MLflow and Optuna: what it shows, stores and logs, and that it is made once."""

import pandas as pd
import pytest
import yaml

from quantum_training.settings.schema import Recipe
from quantum_training_tests.lifecycle.search.conftest import SEARCH


@pytest.fixture
def project(build_project, small):
    small["recipes"]["xgboost"]["search"] = {**SEARCH, "trials": 4, "bars": 240}
    return build_project(small).market_data()


def launch(project, **config):
    return project.definitions.resolve_job_def("search").execute_in_process(
        instance=project.instance, run_config={"ops": {"search_recipe": {"config": config}}}, raise_on_error=False
    )


def shown(result):
    (event,) = (event for event in result.all_events if event.event_type_value == "STEP_OUTPUT")
    return {name: value.value for name, value in event.event_specific_data.metadata.items()}


@pytest.mark.long
def test_the_job_stores_its_record_shows_pictures_and_logs_a_run_for_each_trial(project):
    result = launch(project, recipe="xgboost", symbol="AAA")
    assert result.success
    metadata = shown(result)
    (search_id,) = project.store.periods("searches", "AAA", "json")
    record = project.store.read_record("searches", "AAA", search_id)
    assert record["as_of"] == "2020-02-24T00:00:00+00:00"  # the newest Monday with stored bars
    assert metadata["summary"].startswith("4 trials of xgboost for AAA as of 2020-02-24 00:00")
    assert metadata["history"].startswith("![Sharpe ratio per bar over the trials](data:image/svg+xml,")
    assert metadata["search_id"] == search_id
    assert f"found_by: {search_id}" in metadata["challenger"]
    assert "params.max_depth" in metadata["importance"]
    assert metadata["optuna_dashboard"] == f"optuna-dashboard sqlite:///{project.home}/searches.db"
    page = project.store.read_text("searches", "AAA", search_id, "html")
    assert all(f'id="{figure}"' in page for figure in ("history", "importance", "slices"))
    assert record["challenger"] in page

    client = project.registry.client()
    experiment = client.get_experiment_by_name("AAA").experiment_id
    (parent,) = client.search_runs([experiment], f"tags.search_id = '{search_id}'")
    assert parent.data.metrics["sharpe_per_bar"] == pytest.approx(record["best_score"])
    trials = client.search_runs([experiment], f"tags.trial_of = '{search_id}'")
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}
    assert sorted(run.data.tags["trial"] for run in trials) == ["0", "1", "2", "3"]
    assert max(run.data.metrics["sharpe_per_bar"] for run in trials) == record["best_score"]
    assert {run.info.status for run in [parent, *trials]} == {"FINISHED"}

    stored = project.stored()
    again = launch(project, recipe="xgboost", symbol="AAA", as_of="2020-02-24")
    assert again.success
    assert project.stored() == stored
    assert len(client.search_runs([experiment])) == 5
    assert shown(again) == metadata


def test_what_cannot_be_searched_fails_with_what_to_do(project):
    for config, message in (
        ({"recipe": "lightgbm", "symbol": "AAA"}, "the recipe has no search; give recipes.lightgbm.search a space"),
        ({"recipe": "oracle", "symbol": "AAA"}, "no such recipe or symbol; recipes: "),
        ({"recipe": "xgboost", "symbol": "BBB"}, "BBB: no features are stored; run the job market_data first"),
    ):
        result = launch(project, **config)
        assert not result.success
        (failure,) = [e.step_failure_data for e in result.all_events if e.is_step_failure]
        assert message in failure.user_failure_data.description


def test_the_step_waits_in_the_pool_of_trainings(project):
    assert project.definitions.resolve_job_def("search").nodes[0].definition.pool == "training"


def test_the_challengers_yaml_is_a_recipe(project):
    assert launch(project, recipe="xgboost", symbol="AAA").success
    (search_id,) = project.store.periods("searches", "AAA", "json")
    record = project.store.read_record("searches", "AAA", search_id)
    ((name, fields),) = yaml.safe_load(record["challenger_yaml"])["recipes"].items()
    assert name == record["challenger"]
    expected = project.settings.recipes["xgboost"].with_values(record["best_values"])
    assert Recipe.model_validate(fields) == expected.model_copy(update={"found_by": search_id})
    assert pd.Timestamp(record["as_of"]).dayofweek == 0


@pytest.mark.long
def test_a_search_may_choose_feature_sets_and_the_market_data_job_stores_them(build_project, small):
    module = "quantum_training_tests.support.feature_modules"
    small["features"] = {"past": {"module": module, "params": {"function": "honest"}}}
    space = {"features": {"choices": [["default"], ["default", "past"], ["past"]]}}
    small["recipes"]["xgboost"]["search"] = {"space": space, "trials": 8, "bars": 240, "folds": 2, "sampler": "random"}
    project = build_project(small)
    assert project.run("market_data", "AAA|2019-09-01", "AAA|2020-02-01").success
    result = launch(project, recipe="xgboost", symbol="AAA")
    assert result.success
    (search_id,) = project.store.periods("searches", "AAA", "json")
    record = project.store.read_record("searches", "AAA", search_id)
    assert record["best_values"]["features"] in space["features"]["choices"]
    assert record["failed"] == record["failures"].get("no_variance", 0)
    assert record["effective_trials"] <= 3, "equal trials count once"
    client = project.registry.client()
    trials = client.search_runs([client.get_experiment_by_name("AAA").experiment_id], f"tags.trial_of = '{search_id}'")
    assert "['default', 'past']" in {run.data.params["features"] for run in trials}
