"""How an algorithm's name becomes a model, also from outside the package, and what an artefact is."""

import hashlib
import importlib
import json
import sys

import pytest

from quantum_training.models.contract import Model, TrainingContext, algorithm, load_model, save_model

OUTSIDE = """
import json
from quantum_training.models.contract import Model as Contract


class Model(Contract):
    packages = ()

    def __init__(self, weight):
        self.weight, self.columns, self.report, self.importance = weight, ("a",), {}, {}

    @classmethod
    def fit(cls, context):
        return cls(context.params["weight"])

    def positions(self, features):
        return (features["a"] * self.weight).clip(0, 1)

    def save(self, folder):
        (folder / "weight.json").write_text(json.dumps(self.weight))

    @classmethod
    def load(cls, folder):
        return cls(json.loads((folder / "weight.json").read_text()))
"""


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A package that is no part of quantum_training, with one algorithm: `my_zoo.ridge`."""
    folder = tmp_path / "somewhere" / "my_zoo"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "ridge.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(str(folder.parent))
    importlib.invalidate_caches()
    yield "my_zoo.ridge"
    for name in [n for n in sys.modules if n.partition(".")[0] == "my_zoo"]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
def test_a_name_is_a_family_of_the_package(name):
    assert issubclass(algorithm(name), Model)
    assert algorithm(name).__module__ == f"quantum_training.models.{name}"
    assert algorithm(name).packages == (name,)


def test_a_dotted_name_is_a_module_of_any_package(outside, make_features, tmp_path):
    cls = algorithm(outside)
    model = cls.fit(TrainingContext(None, {"weight": 0.25}))
    save_model(model, tmp_path / "model", outside)
    copy = load_model(tmp_path / "model")
    assert type(copy) is cls
    assert copy.positions(make_features(5)).equals(model.positions(make_features(5)))


@pytest.mark.parametrize("name", ["catboots", "no_such_package.model"])
def test_an_unknown_algorithm_is_named(name):
    with pytest.raises(ModuleNotFoundError, match=name.partition(".")[0]):
        algorithm(name)


def test_the_hash_is_of_every_byte_of_the_artefact(outside, tmp_path):
    cls = algorithm(outside)
    one, same, other = (save_model(cls(w), tmp_path / str(i), outside) for i, w in enumerate((0.25, 0.25, 0.26)))
    assert one == same != other
    assert len(one) == 64
    index = json.loads((tmp_path / "0" / "algorithm.json").read_text())
    sha256 = hashlib.sha256((tmp_path / "0" / "weight.json").read_bytes()).hexdigest()
    assert index == {"algorithm": outside, "files": {"weight.json": sha256}}
    assert one == hashlib.sha256((tmp_path / "0" / "algorithm.json").read_bytes()).hexdigest()


def test_an_artefact_is_never_written_over_another(outside, tmp_path):
    save_model(algorithm(outside)(0.25), tmp_path / "model", outside)
    with pytest.raises(FileExistsError):
        save_model(algorithm(outside)(0.5), tmp_path / "model", outside)
    assert load_model(tmp_path / "model").weight == 0.25
