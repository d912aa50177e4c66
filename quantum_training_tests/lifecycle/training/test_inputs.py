"""The inputs of a fit: the window alone, the market around it, a warm start, a replay, and recipes that are refused."""

import pandas as pd
import pytest

from quantum_training.lifecycle.training.inputs import (
    SHADOW,
    InputSources,
    TrainingTarget,
    _memberships,
    build_training_inputs,
)
from quantum_training.market.universe import Universe
from quantum_training.resources.registry.errors import RegistryError, RegistryOutage, VersionDeleted
from quantum_training.resources.store.store import content_hash
from quantum_training.trading.cross_section_label import CrossSection
from quantum_training.trading.scoring import Version

AS_OF = pd.Timestamp("2020-01-20", tz="UTC")
PREVIOUS = tuple(Version(pd.Timestamp(day, tz="UTC"), day) for day in ("2020-01-06", "2020-01-13"))


class Flat:
    """Decides to hold nothing."""

    lookback_bars, has_account = 0, False

    def positions(self, features):
        return pd.Series(0.0, features.index)


@pytest.fixture
def services(small, market):
    """A market with a booster, and an agent that starts from its previous version and learns from a replay."""
    base = {"label": {"kind": "forward_return", "horizon": 1}, "window_bars": 200}
    small["recipes"]["sac"] = {**base, "algorithm": "sac", "warm_start": True, "replay": True}
    small["symbols"]["AAA"]["recipes"] = ["xgboost", "sac"]
    del small["symbols"]["BBB"]
    return market(small)


def inputs_of(services, recipe, previous=(), load=lambda model_id: Flat()):
    sources = InputSources(services.store, services.settings, previous, load, {})
    return build_training_inputs(sources, TrainingTarget("AAA", recipe, AS_OF))


def test_a_booster_is_fitted_on_the_window_alone(services):
    inputs = inputs_of(services, "xgboost", PREVIOUS)
    assert (inputs.context.market, inputs.identity_inputs, inputs.deleted_versions) == (None, {}, ())
    assert inputs.window.full_times[-1] < AS_OF
    assert len(inputs.example_rows) == len(inputs.window.full_y) == 150


def test_who_was_a_member_counts_from_the_first_bar_that_a_fit_sees(services, tmp_path):
    """An agent sees ranks of bars before its window, too."""
    booster, agent = inputs_of(services, "xgboost").context, inputs_of(services, "sac").context
    label = CrossSection(kind="cross_section", within="top", horizon=1)
    recipe = services.settings.recipes["sac"].model_copy(update={"label": label})

    def hashed(context, before_window):
        first = context.window.full_times[0] - before_window
        (tmp_path / "members.csv").write_text(f"symbol,from,to\nAAA,2019-01-01,\nBBB,{first:%Y-%m-%d},\n")
        universes = {"top": Universe(path=str(tmp_path / "members.csv"))}
        return _memberships(services.settings.model_copy(update={"universes": universes}), recipe, context)

    week, fortnight = pd.Timedelta("7D"), pd.Timedelta("14D")
    assert hashed(booster, week) == hashed(booster, fortnight)
    assert agent.features.index[0] < agent.window.full_times[0] - week
    assert hashed(agent, week) != hashed(agent, fortnight)


def test_an_agent_is_given_the_market_up_to_as_of_its_newest_version_and_what_was_held(services):
    model = Flat()
    inputs = inputs_of(services, "sac", PREVIOUS, lambda model_id: model)
    candles = inputs.context.market.candles
    assert candles.index[-1] == AS_OF - pd.Timedelta("4h")
    assert candles.index[0] < inputs.window.full_times[0] - pd.Timedelta(days=7)
    assert inputs.context.warm_start_from is model
    assert (inputs.context.replay[SHADOW].loc[PREVIOUS[0].as_of :] == 0.0).all()
    assert inputs.identity_inputs["newest"] == PREVIOUS[-1].model_id
    assert inputs.identity_inputs["replay"] == content_hash(inputs.context.replay)
    assert inputs.identity_inputs["market"] == content_hash(candles[["open", "close"]])
    assert SHADOW not in inputs_of(services, "sac").context.replay


def test_versions_that_cannot_be_loaded_are_left_out_and_deleted_ones_are_named(services):
    def load(model_id):
        raise VersionDeleted(model_id) if model_id == PREVIOUS[0].model_id else RegistryError(model_id)

    inputs = inputs_of(services, "sac", PREVIOUS, load)
    assert (inputs.context.warm_start_from, inputs.identity_inputs["newest"]) == (None, None)
    assert inputs.deleted_versions == (PREVIOUS[0].model_id,)


def test_an_outage_of_mlflow_is_raised(services):
    def load(model_id):
        raise RegistryOutage("MLflow is silent")

    with pytest.raises(RegistryOutage):
        inputs_of(services, "sac", PREVIOUS, load)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replay": True}, "recipes.xgboost: xgboost knows no replay; remove it from the recipe"),
        ({"members": ("sac",)}, "recipes.xgboost: xgboost combines nothing; remove members from the recipe"),
    ],
)
def test_an_option_that_the_algorithm_does_not_support_is_refused(services, options, message):
    recipes = {**services.settings.recipes, "xgboost": services.settings.recipes["xgboost"].model_copy(update=options)}
    settings = services.settings.model_copy(update={"recipes": recipes})
    sources = InputSources(services.store, settings, (), lambda model_id: Flat(), {})
    with pytest.raises(ValueError, match=message):
        build_training_inputs(sources, TrainingTarget("AAA", "xgboost", AS_OF))
