"""The settings of a search: what a space may hold, and that a search changes no identity."""

import pytest
import yaml

from quantum_training.lifecycle.evaluation.leakage import FIELDS_NOT_IN_SKILL
from quantum_training.lifecycle.training.version_identity import FIELDS_NOT_IN_IDENTITY, recipe_hash
from quantum_training.settings import load_settings
from quantum_training.settings.schema import Recipe
from quantum_training.settings.search import Dimension

RECIPE = {"algorithm": "xgboost", "label": {"kind": "forward_return", "horizon": 2}, "params": {"max_depth": 3}}


def recipe(space=None, **search):
    fields = {**search, **({} if space is None else {"space": space})}
    return Recipe.model_validate({**RECIPE, "search": fields} if fields else RECIPE)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "at least 1 item"),
        ({"colour": {"low": 1, "high": 2}}, "space.colour: no field of a recipe that can be searched; allowed"),
        ({"seed": {"low": 1, "high": 9}}, "space.seed: no field of a recipe that can be searched"),
        ({"label.horizn": {"low": 1, "high": 2}}, "horizn: 1 is refused, label.forward_return.horizn: Extra"),
        ({"sizing.treshold": {"low": 0.1, "high": 0.2}}, "space.sizing.treshold: 0.1 is refused, sizing.treshold"),
        ({"window_bars": {"low": 5, "high": 100}}, "space.window_bars: 5 is refused, window_bars: Input should be"),
        ({"window_bars.x": {"low": 1, "high": 2}}, "space.window_bars.x: 1 is refused, window_bars: Input"),
        ({"label.horizon": {"choices": [1, 2000]}}, "space.label.horizon: 2000 is refused"),
        ({"sizing.break_even": {"low": 0.5, "high": 0.7}}, r"0.7 is refused, sizing: .*full \(0.6\) must be above"),
        ({"params.eta": {"low": 2, "high": 1}}, "low 2 must be below high 1"),
        ({"params.eta": {"low": 1, "high": 1}}, "low 1 must be below high 1"),
        ({"params.eta": {"low": 0, "high": 1, "log": True}}, "log needs a low above 0, not 0"),
        ({"params.eta": {"low": 1, "high": 4, "log": True, "step": 1}}, "log and step cannot be combined"),
        ({"params.eta": {"low": 0, "high": 10, "step": 3}}, "step 3 must divide high - low, 10"),
        ({"params.eta": {"low": 0, "high": 10, "step": 0}}, "greater than 0"),
        ({"params.eta": {"low": 0, "high": float("inf")}}, "must be finite"),
        ({"params.eta": {"low": 0}}, "give low and high, or choices"),
        ({"params.eta": {"low": 0, "choices": [1, 2]}}, "either choices or a range"),
        ({"params.eta": {"choices": [1]}}, "at least 2 items"),
        ({"params.eta": {"choices": [1, "1"]}}, "two choices are the same"),
        ({"params.eta": {"high": 1, "low": 0, "steps": 1}}, "steps"),
        ({"params.eta": {"low": 0, "high": 1}, "params": {"choices": [{}, {"eta": 1}]}}, "part of space.params"),
    ],
)
def test_a_wrong_space_is_refused_by_field_and_rule(space, message):
    with pytest.raises(ValueError, match=message):
        recipe(space)


def test_bars_that_are_too_few_for_the_folds_are_refused():
    with pytest.raises(ValueError, match="100 bars are too few for 6 folds"):
        recipe({"window_bars": {"low": 100, "high": 200}}, bars=100, folds=6)


def test_fields_that_depend_on_each_other_may_be_searched_together():
    both = {"sizing.break_even": {"low": 0.5, "high": 0.7}, "sizing.full": {"low": 0.6, "high": 0.9}}
    assert recipe(both).with_values({"sizing.break_even": 0.7, "sizing.full": 0.8}).sizing.full == 0.8
    with pytest.raises(ValueError, match=r"sizing\.ful: 0\.6 is refused"):
        recipe({**both, "sizing.ful": {"low": 0.6, "high": 0.9}})


def test_the_values_of_a_trial_make_a_recipe_without_a_search():
    space = {"params.eta": {"low": 0.1, "high": 0.3}, "features": {"choices": [["default"], ["rsi_14"]]}}
    made = recipe(space).with_values({"params.eta": 0.2, "features": ["rsi_14"], "label.horizon": 5})
    assert made == Recipe.model_validate(
        {**RECIPE, "features": ["rsi_14"], "label": {"kind": "forward_return", "horizon": 5},
         "params": {"max_depth": 3, "eta": 0.2}}
    )  # fmt: skip
    assert made.search is None


def test_a_search_and_its_finding_change_no_identity():
    plain = recipe()
    searched = recipe({"window_bars": {"low": 100, "high": 200}}).model_copy(update={"found_by": "0123456789abcdef"})
    assert recipe_hash(searched) == recipe_hash(plain)
    for fields in (FIELDS_NOT_IN_IDENTITY, FIELDS_NOT_IN_SKILL):
        assert searched.model_dump_json(exclude=fields) == plain.model_dump_json(exclude=fields)


def test_an_id_of_a_search_has_16_digits():
    with pytest.raises(ValueError, match="found_by"):
        Recipe.model_validate({**RECIPE, "found_by": "the best one"})


@pytest.mark.parametrize(
    ("dimension", "labels"),
    [([["default"], ["rsi_14"]], ['["default"]', '["rsi_14"]']), ([1, True, None, "a"], ["1", "true", "null", "a"])],
)
def test_each_choice_has_a_text_of_its_own(dimension, labels):
    assert [*Dimension(choices=dimension).labels] == labels


@pytest.fixture
def load(small, tmp_path, monkeypatch):
    """`load(space, **settings)`: the small settings with a search of xgboost, and with others of these values."""

    def load(space, **changes):
        small["recipes"]["xgboost"]["search"] = {"space": space}
        (tmp_path / "settings.yaml").write_text(yaml.safe_dump({**small, **changes}))
        monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "settings.yaml"))
        return load_settings()

    return load


def test_windows_that_no_trial_could_use_are_refused(load):
    space = {"window_bars": {"low": 60, "high": 200}}
    with pytest.raises(ValueError, match="window_bars: 60 is below min_training_data_points 100"):
        load(space)
    with pytest.raises(ValueError, match="window_bars: training_batch_size 120 takes its place"):
        load({"window_bars": {"low": 100, "high": 200}}, training_batch_size=120)


def test_a_searched_feature_set_is_computed_for_the_symbol_and_an_unknown_one_refused(load):
    sets = {"mine": {"module": "my_features.mine"}}
    space = {"features": {"choices": [["default"], ["default", "mine"]]}}
    assert [*load(space, features=sets).feature_sets("AAA")] == ["mine"]
    with pytest.raises(ValueError, match=r"recipes.xgboost.features: unknown mine; allowed: default"):
        load(space)
