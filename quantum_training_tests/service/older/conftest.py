"""The state that clients of older services meet: an agent and a booster that compete for one market."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from quantum_training.models import ppo
from quantum_training_tests.service.conftest import record_more
from quantum_training_tests.support.projects import Project, cycle, measure_skill_on_few_bars, project_builder

WEEKS = ["2020-01-06", "2020-01-13", "2020-01-20", "2020-01-27"]
SYMBOL = "BTC_USDT"
START = "2019-02-01"  # so that a drift report has the 26 weeks of reference that it needs
TINY = {"total_steps": 1500, "environments": 16, "rollout_bars": 16, "batch_size": 64, "network": [8]}


@pytest.fixture(scope="session")
def agent_project(tmp_path_factory, empty_mlflow, market_data_cache, templates, small_settings) -> Iterator[Project]:
    """A project in which xgboost is in office and the agent ppo in the shadow. Tests only read it."""
    with (
        pytest.MonkeyPatch.context() as patch,
        project_builder(tmp_path_factory, patch, empty_mlflow, market_data_cache) as build,
    ):
        project = record_agent(build, tmp_path_factory, templates, small_settings)
        patch.undo()
        yield project


@pytest.fixture
def own_agent_project(build_project, tmp_path_factory, templates, small_settings) -> Project:
    """The same, for one test alone."""
    return record_agent(build_project, tmp_path_factory, templates, small_settings)


def record_agent(build, tmp_path_factory, templates, small_settings) -> Project:
    market = {**small_settings["symbols"]["AAA"], "recipes": ["ppo", "xgboost"]}
    market["source"] = {**market["source"], "start": START}
    agent = {"algorithm": "ppo", "label": {"kind": "forward_return", "horizon": 1}, "window_bars": 200, "params": TINY}
    recipes = {"ppo": agent, "xgboost": small_settings["recipes"]["xgboost"]}
    settings = {**small_settings, "start": START, "symbols": {SYMBOL: market}, "recipes": recipes}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ppo.Model, "traits", replace(ppo.Model.traits, smoke_params={"total_steps": 64}))
        measure_skill_on_few_bars(patch)
        project = cycle(build, tmp_path_factory, templates, settings, WEEKS[0], WEEKS[-1], SYMBOL, START)
        who = {"symbol": SYMBOL, "recipe": "xgboost", "actor": "Ann", "reason": "a test"}
        promote = project.definitions.resolve_job_def("promote")
        config = {"ops": {"promote_champion": {"config": who}}}
        assert promote.execute_in_process(config, instance=project.instance).success
        record_more(project, SYMBOL)
    return project
