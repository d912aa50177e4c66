"""The out-of-sample record in MLflow as a weekly cycle leaves it: the metrics of the backtests, week by week."""

import dagster as dg
import pytest

WEEKS = ["2020-01-06", "2020-01-13", "2020-01-20", "2020-01-27"]


@pytest.fixture
def project(cycled_project, small):
    return cycled_project(small, WEEKS[0], WEEKS[-1])


def history(client, run_id, metric):
    return sorted((point.step, point.value) for point in client.get_metric_history(run_id, metric))


def test_each_recipe_has_the_metrics_of_its_backtests_and_each_version_those_of_its_weeks(project):
    registry, client = project.registry, project.registry.client()
    runs = client.search_runs([registry.experiment("AAA").experiment_id], "tags.record_of != ''")
    by_recipe = {run.data.tags["record_of"]: run.info.run_id for run in runs}
    assert {*by_recipe} == {"xgboost", "lightgbm"}
    records = {week: project.store.read_record("backtest", "AAA", week)["metrics"] for week in WEEKS}
    for recipe, run_id in by_recipe.items():
        expected = [record[recipe]["bars"] for record in records.values() if recipe in record]
        assert [value for _, value in history(client, run_id, "shadow/bars")] == expected
        sharpe = [r[recipe]["sharpe"] for r in records.values() if recipe in r and r[recipe]["sharpe"] is not None]
        assert [value for _, value in history(client, run_id, "shadow/sharpe_ratio")] == sharpe
        (version,) = project.store.read_record(f"{recipe}_model", "AAA", WEEKS[0])["versions"]
        of_version = history(client, registry.run_id("AAA", version["model_id"]), "shadow/bars")
        assert [value for _, value in of_version] == [records[WEEKS[1]][recipe]["bars"]]
        (newest,) = project.store.read_record(f"{recipe}_model", "AAA", WEEKS[-1])["versions"]
        assert history(client, registry.run_id("AAA", newest["model_id"]), "shadow/bars") == []


def test_running_the_backtests_again_adds_no_step(project):
    client = project.registry.client()
    experiment = [project.registry.experiment("AAA").experiment_id]

    def steps():
        runs = client.search_runs(experiment)
        return {run.info.run_id: history(client, run.info.run_id, "shadow/bars") for run in runs}

    before = steps()
    only = [dg.AssetKey("backtest")]
    assert project.run("weekly_cycle", f"AAA|{WEEKS[1]}", f"AAA|{WEEKS[-1]}", asset_selection=only).success
    assert steps() == before
