"""Several seeds of one fit: the median one stands for them, and every one is told."""

import sys
from types import ModuleType

import pytest

from quantum_training.models.contract import Model, TrainingContext
from quantum_training.models.fitting import fit, fit_seeds
from quantum_training.models.sizing import Sizing


class Scored(Model):
    """Scores what `params` says of its seed."""

    packages = ()

    def __init__(self, seed, score, given):
        self.seed, self.score, self.given = seed, score, given
        self.columns, self.report, self.importance = (), {}, {}

    @classmethod
    def fit(cls, window, params, sizing, seed, progress, *given):
        progress(f"fitting {seed}")
        return cls(seed, params["scores"][seed], given)

    def positions(self, features):
        raise NotImplementedError

    def save(self, folder):
        raise NotImplementedError

    @classmethod
    def load(cls, folder):
        raise NotImplementedError


class Practising(Scored):
    needs_context = True


@pytest.fixture(autouse=True)
def zoo(monkeypatch):
    for name, cls in (("zoo_scored", Scored), ("zoo_practising", Practising)):
        module = ModuleType(name)
        module.Model = cls
        monkeypatch.setitem(sys.modules, f"seed_zoo.{name}", module)


def chosen(scores, name="seed_zoo.zoo_scored", progress=lambda text: None):
    seeds = range(min(scores), max(scores) + 1)
    return fit_seeds(name, None, {"scores": scores}, Sizing(), seeds, progress, None)


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
def test_the_median_is_taken_and_of_two_in_the_middle_the_lower(scores, seed):
    model, told = chosen(scores)
    assert (model.seed, told) == (seed, scores)


def test_each_seed_is_announced_and_a_single_one_is_not():
    said = []
    chosen({1: 0.0, 2: 0.0}, progress=said.append)
    assert said == ["seed 1, 1 of 2", "fitting 1", "seed 2, 2 of 2", "fitting 2"]
    said.clear()
    chosen({4: 0.0}, progress=said.append)
    assert said == ["fitting 4"]


def test_several_seeds_of_an_algorithm_without_a_score_are_refused_and_one_is_not():
    with pytest.raises(ValueError, match=r"zoo_scored gives no score to choose the median seed by; set .* seeds to 1"):
        chosen({1: 0.0, 2: None, 3: 1.0})
    model, told = chosen({1: None})
    assert (model.seed, told) == (1, {1: None})


def test_a_practice_is_for_those_that_learn_by_trading():
    practice = TrainingContext(None)
    for name, given in (("zoo_scored", ()), ("zoo_practising", (practice,))):
        model = fit(f"seed_zoo.{name}", None, {"scores": {1: 0.0}}, Sizing(), 1, lambda text: None, practice)
        assert model.given == given
