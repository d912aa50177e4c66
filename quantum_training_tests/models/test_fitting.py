"""Fits with several seeds: the model of median score is returned, with the score of every seed."""

import sys
from types import ModuleType

import pytest

from quantum_training.models.contract import Model, TrainingContext
from quantum_training.models.fitting import fit_model, fit_seeds


class Scored(Model):
    """Scores what `params` says of its seed."""

    packages = ()

    def __init__(self, seed, score):
        self.seed, self.score = seed, score
        self.columns, self.report, self.importance = (), {}, {}

    @classmethod
    def fit(cls, context):
        context.progress(f"fitting {context.seed}")
        return cls(context.seed, context.params["scores"][context.seed])

    def positions(self, features):
        raise NotImplementedError

    def save(self, folder):
        raise NotImplementedError

    @classmethod
    def load(cls, folder):
        raise NotImplementedError


class Outdated(Scored):
    @classmethod
    def fit(cls, window, params, sizing, seed, progress):
        raise AssertionError("it is not called")


class Renamed(Scored):
    memory = 12
    combines = True


@pytest.fixture(autouse=True)
def algorithms_of_the_test(monkeypatch):
    for name, cls in (("zoo_scored", Scored), ("zoo_outdated", Outdated), ("zoo_renamed", Renamed)):
        module = ModuleType(name)
        module.Model = cls
        monkeypatch.setitem(sys.modules, f"seed_zoo.{name}", module)


def fit_scores(scores, name="seed_zoo.zoo_scored", progress=lambda text: None):
    seeds = range(min(scores), max(scores) + 1)
    return fit_seeds(name, TrainingContext(None, {"scores": scores}, progress=progress), seeds)


@pytest.mark.parametrize(
    ("scores", "seed"),
    [
        ({7: 0.5}, 7),
        ({7: 0.1, 8: 0.3, 9: 0.2}, 9),
        ({7: 0.3, 8: 0.1}, 8),
        ({7: 0.4, 8: 0.1, 9: 0.3, 10: 0.2}, 10),
        ({7: 0.2, 8: 0.2, 9: 0.2}, 8),
        ({7: -1.0, 8: -3.0, 9: -2.0, 10: -2.5, 11: 5.0}, 9),
    ],
)
def test_the_seed_with_the_lower_median_score_is_chosen(scores, seed):
    model, seed_scores = fit_scores(scores)
    assert (model.seed, seed_scores) == (seed, scores)


def test_each_seed_is_announced_and_a_single_one_is_not():
    lines = []
    fit_scores({1: 0.0, 2: 0.0}, progress=lines.append)
    assert lines == ["seed 1, 1 of 2", "fitting 1", "seed 2, 2 of 2", "fitting 2"]
    lines.clear()
    fit_scores({4: 0.0}, progress=lines.append)
    assert lines == ["fitting 4"]


def test_several_seeds_of_an_algorithm_without_a_score_are_refused_and_one_is_not():
    with pytest.raises(ValueError, match=r"zoo_scored gives no score to choose the median seed by; set .* seeds to 1"):
        fit_scores({1: 0.0, 2: None, 3: 1.0})
    model, seed_scores = fit_scores({1: None})
    assert (model.seed, seed_scores) == (1, {1: None})


def test_an_algorithm_with_an_outdated_fit_signature_is_named_with_the_remedy():
    remedy = r"Model\.fit\(window, params, sizing, seed, progress\) has an outdated signature; write "
    with pytest.raises(TypeError, match=f"test_fitting: {remedy}"):
        fit_model("seed_zoo.zoo_outdated", TrainingContext(None))


def test_attributes_of_the_old_contract_are_named_with_their_new_names():
    remedy = r"outdated attributes of Model: memory is now lookback_bars, combines is now traits\.is_ensemble; set"
    with pytest.raises(TypeError, match=f"test_fitting: {remedy}"):
        fit_model("seed_zoo.zoo_renamed", TrainingContext(None))
