"""PPO and SAC through the weekly cycle: their inputs, what is stored and shown, and their checks."""

import json
from dataclasses import replace
from functools import partial
from unittest.mock import Mock

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from quantum_training.checks.agents import is_agent
from quantum_training.lifecycle.market_history import Bars, lookback_bars
from quantum_training.lifecycle.stored_months import read_bars
from quantum_training.lifecycle.training.inputs import (
    SHADOW,
    InputSources,
    TrainingTarget,
    build_training_inputs,
    historical_positions,
)
from quantum_training.lifecycle.training.train_version import TrainingResult
from quantum_training.lifecycle.training.training_window import training_window
from quantum_training.lifecycle.training.versions import recorded_versions, versions_of
from quantum_training.models import ppo, sac
from quantum_training.models.training_callback import TrainingCallback
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.payloads import Event, TrainingCompleted
from quantum_training.trading.scoring import by_strategy
from quantum_training_tests.support.projects import measure_skill_on_few_bars

WEEKS = ["2020-01-20", "2020-01-27"]
FIRST, LAST = WEEKS[0], WEEKS[-1]
TINY = {
    "ppo": {"total_steps": 1500, "environments": 16, "rollout_bars": 16, "batch_size": 64, "network": [8]},
    "sac": {
        "total_steps": 300,
        "environments": 8,
        "batch_size": 32,
        "network": [8],
        "learning_starts": 80,
        "gradient_steps": 1,
    },
}


@pytest.fixture
def agents(small, monkeypatch):
    """Settings with ppo, two seeds of it, and sac, warm and with replay, made small; so is the leak sentinel."""
    for module in (ppo, sac):
        traits = replace(module.Model.traits, smoke_params={"total_steps": 64})
        monkeypatch.setattr(module.Model, "traits", traits)
    measure_skill_on_few_bars(monkeypatch)
    base = {"label": {"kind": "forward_return", "horizon": 1}, "window_bars": 200}
    small["recipes"] = {
        "ppo": {**base, "algorithm": "ppo", "params": TINY["ppo"], "seeds": 3},
        "sac": {**base, "algorithm": "sac", "params": TINY["sac"], "warm_start": True, "replay": True},
    }
    small["symbols"]["AAA"]["recipes"] = ["ppo", "sac"]
    small["refresh"] = {"max_change": 0.001}
    del small["symbols"]["BBB"]
    return small


def versions(project):
    return [v.version for v in project.registry.client().search_model_versions("name = 'AAA'")]


@pytest.mark.long
def test_agents_are_recipes_like_any_other(build_project, agents):
    """A range and single weeks give the same bytes, and running again changes nothing."""
    range_, single = build_project(agents).market_data(), build_project(agents).market_data()
    result = range_.run("weekly_cycle", f"AAA|{FIRST}", f"AAA|{LAST}")
    assert result.success
    for week in WEEKS:
        assert single.run("weekly_cycle", f"AAA|{week}").success
    ours, theirs = range_.stored(), single.stored()
    assert {f: d for f, d in theirs.items() if ".html" not in f} == {f: d for f, d in ours.items() if ".html" not in f}
    registered = versions(range_)
    assert len(registered) == 2 * len(WEEKS)
    assert range_.run("weekly_cycle", f"AAA|{FIRST}", f"AAA|{LAST}").success
    assert range_.stored() == ours
    assert versions(range_) == registered
    scores = range_.store.read_frame("shadow_scores", "AAA", LAST)
    for recipe in ("ppo", "sac"):
        own = scores[scores["strategy"] == recipe]
        assert own["target"].notna().all()
        versions_then = versions_of(range_.store, "AAA", recipe, WEEKS[-2])
        assert set(own["model_id"]) == {versions_then[-1].model_id}
    assert not list((range_.home / "training_state").glob("*")), "what is registered needs no state any more"
    refreshes = [v.refresh for name in ("ppo", "sac") for v in recorded_versions(range_.store, "AAA", name)]
    assert max(refresh.change or 0 for refresh in refreshes) > range_.settings.refresh.max_change
    assert all(refresh.accepted or "position changes" not in refresh.reason for refresh in refreshes)
    shown_metadata = metadata(result, "ppo_model", LAST)
    assert shown_metadata["mean_reward_curve"].value.startswith("![mean reward")
    assert {"turnover", "action_entropy", "steps_per_second", "last_explained_variance"} <= shown_metadata.keys()
    assert {"hold", "buy", "sell"} <= set(shown_metadata["actions"].value.replace("|", " ").split())
    assert shown_metadata["seeds"].value.count("yes") == 1
    checks = {e.check_name: e for e in result.get_asset_check_evaluations() if e.asset_key.path[-1] == "ppo_model"}
    assert checks["agent_finite"].passed
    assert checks["leak_free"].blocking
    assert "turnover" in checks["agent_behaviour"].metadata
    curve = history(range_, shown_metadata["model_id"].value, "training/policy_loss")
    assert [point.step for point in curve] == sorted({point.step for point in curve})
    assert len(curve) > 2


def sac_inputs(project, as_of, previous_versions):
    load = partial(project.registry.load, "AAA")
    sources = InputSources(project.store, project.settings, previous_versions, load, {})
    return build_training_inputs(sources, TrainingTarget("AAA", "sac", as_of))


def metadata(result, asset, week):
    (event,) = [e for e in result.asset_materializations_for_node(asset) if e.partition == f"AAA|{week}"]
    return event.metadata


def history(project, model_id, name):
    version = project.registry.find("AAA", model_id)
    return project.registry.client().get_metric_history(version.run_id, name)


@pytest.mark.long
def test_a_replay_equals_the_shadow_scores_and_a_warm_start_is_part_of_the_identity(build_project, agents):
    project = build_project(agents).market_data()
    assert project.run("weekly_cycle", f"AAA|{FIRST}", f"AAA|{LAST}").success
    as_of = pd.Timestamp(LAST, tz="UTC")
    previous = [v for v in versions_of(project.store, "AAA", "sac") if v.as_of < as_of]
    window = training_window(project.store, project.settings, "AAA", project.settings.recipes["sac"], as_of)
    candles, features = (read_bars(project.store, a, "AAA", "2019-09-01", as_of) for a in ("candles", "features"))

    def load(model_id):
        return project.registry.load("AAA", model_id)

    replayed = historical_positions(Bars(candles, features), window, previous, load)[SHADOW].dropna()
    recorded = pd.concat(
        [by_strategy(project.store.read_frame("shadow_scores", "AAA", week), "target") for week in WEEKS[1:]]
    )["sac"].dropna()
    assert replayed.index[0] <= recorded.index[0]
    pd.testing.assert_series_equal(replayed.loc[recorded.index], recorded, check_names=False, check_freq=False)
    inputs = sac_inputs(project, as_of, previous)
    assert inputs.identity_inputs["newest"] == previous[-1].model_id
    assert inputs.context.warm_start_from.state.keys() == load(previous[-1].model_id).state.keys()
    first = sac_inputs(project, as_of, ())
    assert first.context.warm_start_from is None
    assert SHADOW not in first.context.replay


def test_an_option_that_the_algorithm_does_not_support_is_refused_by_name(build_project, agents):
    agents["recipes"]["ppo"]["replay"] = True
    project = build_project(agents).market_data()
    result = project.run("weekly_cycle", f"AAA|{FIRST}", asset_selection=[key("ppo_model")])
    assert "recipes.ppo: ppo knows no replay" in str(result.all_events)


def key(name):
    import dagster as dg

    return dg.AssetKey(name)


@pytest.mark.long
def test_a_sensor_may_give_a_training_its_budget_in_episodes(build_project, agents):
    project = build_project(agents).market_data()
    config = {"ops": {"ppo_model": {"config": {"episodes": 7}}, "sac_model": {"config": {"episodes": 1}}}}
    only = [key("ppo_model"), key("sac_model")]
    assert project.run("weekly_cycle", f"AAA|{FIRST}", asset_selection=only, run_config=config).success
    steps = {}
    for recipe in ("ppo", "sac"):
        (version,) = versions_of(project.store, "AAA", recipe)
        steps[recipe] = project.registry.load("AAA", version.model_id).options.total_steps
    assert steps == {"ppo": 7 * 300, "sac": 300}, "an episode lasts 120 to 480 bars"


@pytest.mark.long
def test_a_killed_training_continues_from_its_checkpoint(build_project, agents, monkeypatch):
    agents["recipes"]["ppo"] |= {"seeds": 1, "params": {**TINY["ppo"], "save_seconds": 1e-6}}
    calm, broken = build_project(agents).market_data(), build_project(agents).market_data()
    only = [key("ppo_model")]
    assert calm.run("weekly_cycle", f"AAA|{FIRST}", asset_selection=only).success
    step, steps = TrainingCallback._on_step, []

    def die(self):
        steps.append(self.num_timesteps)
        if self.num_timesteps > 700:
            raise KeyboardInterrupt
        return step(self)

    with monkeypatch.context() as dying:
        dying.setattr(TrainingCallback, "_on_step", die)
        assert not broken.run("weekly_cycle", f"AAA|{FIRST}", asset_selection=only).success
    (state,) = (broken.home / "training_state").rglob("*.safetensors")
    result = broken.run("weekly_cycle", f"AAA|{FIRST}", asset_selection=only)
    assert result.success
    assert not state.exists()
    assert broken.stored() == calm.stored()
    (model_id,) = [v.model_id for v in versions_of(broken.store, "AAA", "ppo")]
    weights = [project.registry.load("AAA", model_id).state for project in (calm, broken)]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


@pytest.mark.long
def test_an_agent_of_nan_decides_nothing_and_stops_nobody_else(build_project, agents, monkeypatch):
    agents["recipes"]["ppo"]["seeds"] = 1
    project = build_project(agents).market_data()
    fit = ppo.Model.fit.__func__

    def poisoned(cls, *args):
        model = fit(cls, *args)
        state = {name: value * np.float32("nan") for name, value in model.state.items()}
        return cls(state, model.view, model.options, model.costs, model.account, model.report)

    monkeypatch.setattr(ppo.Model, "fit", classmethod(poisoned))
    result = project.run("weekly_cycle", f"AAA|{FIRST}")
    assert result.success
    evaluations = {e.check_name: e for e in result.get_asset_check_evaluations() if e.asset_key.path[-1] == "ppo_model"}
    finite = evaluations["agent_finite"]
    assert (finite.passed, finite.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "NaN or infinite" in finite.description
    scores = project.store.read_frame("shadow_scores", "AAA", FIRST)
    decided = scores["target"].notna().groupby(scores["strategy"]).any()
    assert not decided["ppo"]
    assert decided.drop("ppo").any(), "the other recipes and the baselines are scored"
    assert json.loads(project.stored()[f"ppo_model/AAA/{FIRST}.json"])["versions"]


def test_an_algorithm_that_cannot_be_imported_stops_no_other_recipe(build_project, small, tmp_path, monkeypatch):
    (tmp_path / "torn.py").write_text("def")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, module in (("missing", "missing.module"), ("torn", "torn"), ("other", "os.path")):
        small["recipes"][name] = {
            **small["recipes"]["xgboost"],
            "algorithm": module if "." in module else f"{module}.x",
        }
    small["symbols"]["AAA"]["recipes"] = [*small["recipes"]]
    project = build_project(small)
    assert lookback_bars(project.settings, "AAA") == 0
    assert not any(is_agent(recipe.algorithm) for recipe in project.settings.recipes.values())


def test_an_agent_is_trained_without_the_versions_that_cannot_be_loaded(build_project, agents):
    project = build_project(agents).market_data()
    assert project.run("weekly_cycle", f"AAA|{FIRST}", asset_selection=[key("sac_model")]).success
    as_of = pd.Timestamp(LAST, tz="UTC")
    (sound,) = versions_of(project.store, "AAA", "sac")
    deleted = sound._replace(model_id="deleted")
    inputs = sac_inputs(project, as_of, (sound, deleted))
    assert inputs.identity_inputs["newest"] == sound.model_id
    assert SHADOW in inputs.context.replay


@pytest.mark.long
def test_a_run_that_dies_before_it_tells_an_agents_rewards_tells_them_later(build_project, agents, monkeypatch):
    agents["recipes"]["ppo"] |= {"seeds": 1}
    calm, broken = build_project(agents).market_data(), build_project(agents).market_data()

    def train(project):
        return project.run("weekly_cycle", f"AAA|{FIRST}", asset_selection=[key("ppo_model")]).success

    def metrics(project):
        (delivery,) = EventBus(project.settings.database_url).outbox.newest(9, [TrainingCompleted.type])
        return Event.model_validate_json(delivery.text).payload.metrics

    assert train(calm)
    with monkeypatch.context() as dying:
        dying.setattr(TrainingResult, "publish", Mock(side_effect=KeyboardInterrupt))
        assert not train(broken)
    assert train(broken)
    assert metrics(broken) == metrics(calm)
    assert metrics(calm)["final_reward"] is not None
