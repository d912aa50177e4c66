"""A version's identity: the same wherever the same things meet, another as soon as one of them differs."""

import ast
import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from quantum_training.models.contract import Model, algorithm
from quantum_training.models.provenance import code_hash, identity

OURS = ("quantum_training.trading.", "quantum_training.models.")
MODULE = """
from quantum_training.models.booster import Booster


class Model(Booster):
    packages = ()
    value = {value}
"""


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """`outside(package, value)` writes `<package>.booster`, whose file is named as one of quantum_training's own."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(package, value):
        (tmp_path / package).mkdir(exist_ok=True)
        (tmp_path / package / "__init__.py").touch()
        (tmp_path / package / "booster.py").write_text(MODULE.format(value=value))
        importlib.invalidate_caches()
        return f"{package}.booster"

    return write


def test_the_code_hash_covers_the_algorithm_and_its_source(outside):
    hashes = [
        code_hash("xgboost"),
        code_hash("lightgbm"),
        code_hash(outside("one_zoo", 1)),
        code_hash(outside("two_zoo", 2)),
    ]
    assert len(set(hashes)) == 4
    assert code_hash(outside("three_zoo", 1)) == hashes[2]


@pytest.mark.long
def test_files_of_one_name_hash_the_same_in_every_process(outside, tmp_path):
    name = outside("four_zoo", 1)
    code = f"from quantum_training.models.provenance import code_hash; print(code_hash({name!r}))"
    hashes = set()
    for seed in ("1", "2", "3"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(tmp_path)}
        hashes.add(
            subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
        )
    assert hashes == {code_hash(name) + "\n"}


def test_the_order_of_the_parts_does_not_matter_and_each_part_does():
    parts = {
        "symbol": "AAA",
        "recipe": {"params": {"x": 1, "y": 2}},
        "as_of": pd.Timestamp("2024-01-01", tz="UTC"),
        "data": "d",
    }
    one = identity(**parts)
    assert identity(**dict(reversed(parts.items()))) == one
    assert len(one) == 16
    int(one, 16)
    others = [
        {"symbol": "AAB"},
        {"recipe": {"params": {"x": 1, "y": 3}}},
        {"as_of": pd.Timestamp("2024-01-01 00:00:01", tz="UTC")},
        {"data": "e"},
    ]
    assert len({one, *(identity(**{**parts, **other}) for other in others)}) == 5


DEPENDENT = """
from quantum_training.models.booster import Booster
from quantum_training.models.contract import AlgorithmTraits


class Model(Booster):
    packages = ()
    traits = AlgorithmTraits(build_packages={build_packages}, sources={sources})
"""


@pytest.fixture
def dependent(tmp_path, monkeypatch):
    """`dependent(package, sources, build_packages, helper)`: `<package>.model` and the package `<package>.helpers`."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(package, sources=(), build_packages=(), helper="x = 1"):
        (tmp_path / package / "helpers").mkdir(parents=True)
        (tmp_path / package / "__init__.py").touch()
        (tmp_path / package / "helpers" / "__init__.py").touch()
        (tmp_path / package / "helpers" / "kernel.py").write_text(helper)
        named = tuple(f"{package}.{name}" for name in sources)
        (tmp_path / package / "model.py").write_text(DEPENDENT.format(sources=named, build_packages=build_packages))
        importlib.invalidate_caches()
        return f"{package}.model"

    return write


def test_the_sources_that_an_algorithm_names_are_part_of_its_hash(dependent, tmp_path, monkeypatch):
    """The same files in the same places but for one line of a source, as a module and as a package that holds it."""
    for number, source in enumerate(("helpers.kernel", "helpers")):
        hashes = []
        for edition, helper in enumerate(("x = 1", "x = 1", "x = 2")):
            package = f"zoo_{number}_{edition}"
            name = dependent(package, (source,), helper=helper)
            file = tmp_path / package / "model.py"
            file.write_text(file.read_text().replace(package, "zoo"))  # the class's own file is then the same
            monkeypatch.setitem(sys.modules, "zoo", importlib.import_module(package))
            for part in ("helpers", "helpers.kernel"):
                monkeypatch.setitem(sys.modules, f"zoo.{part}", importlib.import_module(f"{package}.{part}"))
            hashes.append(code_hash(name))
        assert hashes[0] == hashes[1] != hashes[2]


def test_packages_that_only_build_a_version_are_part_of_its_hash(dependent):
    assert code_hash(dependent("six_zoo")) != code_hash(dependent("seven_zoo", build_packages=("numpy",)))


def test_a_missing_source_is_named(dependent):
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        code_hash(dependent("eight_zoo", ("helpers.nowhere",)))
    with pytest.raises(ImportError, match="no_such_distribution"):
        code_hash(dependent("nine_zoo", build_packages=("no_such_distribution",)))


MODULES = {f"{p}{m.name}" for p in OURS for m in pkgutil.iter_modules(importlib.import_module(p[:-1]).__path__)}


def imported(name):
    """Modules of trading and models that a module imports, at its top or in its functions."""
    modules = set()
    for node in ast.walk(ast.parse(Path(importlib.import_module(name).__file__).read_text())):
        if isinstance(node, ast.ImportFrom):
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            modules |= {n for n in (node.module, *inner) if n.startswith(OURS) and n in MODULES}
    return modules


@pytest.mark.parametrize("name", ["ppo", "sac"])
def test_an_agents_hash_covers_every_module_that_its_training_reaches(name):
    cls = algorithm(name)
    bases = {base.__module__ for base in cls.__mro__ if issubclass(base, Model)}
    reached, new = set(), {cls.__module__, *cls.traits.sources}
    while new:
        reached |= new
        new = set().union(*map(imported, new)) - reached
    apart = {"quantum_training.models.sizing", "quantum_training.models.manifest"}  # hashed for all; changes no fit
    assert reached - {*cls.traits.sources, *bases, *apart} == set()
    assert {"quantum_training.trading.vec_env", "quantum_training.models.agent"} <= reached
    assert code_hash(name) != code_hash({"ppo": "sac", "sac": "ppo"}[name])
