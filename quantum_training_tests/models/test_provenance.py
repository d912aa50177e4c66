"""A version's identity: the same wherever the same things meet, another as soon as one of them differs."""

import importlib
import os
import subprocess
import sys

import pandas as pd
import pytest

from quantum_training.models.provenance import code_hash, identity

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


def test_the_hash_knows_the_algorithm_and_its_source(outside):
    hashes = [
        code_hash("xgboost"),
        code_hash("lightgbm"),
        code_hash(outside("one_zoo", 1)),
        code_hash(outside("two_zoo", 2)),
    ]
    assert len(set(hashes)) == 4
    assert code_hash(outside("three_zoo", 1)) == hashes[2]


def test_files_of_one_name_hash_the_same_in_every_process(outside, tmp_path):
    name = outside("four_zoo", 1)
    code = f"from quantum_training.models.provenance import code_hash; print(code_hash({name!r}))"
    found = set()
    for seed in ("1", "2", "3"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(tmp_path)}
        found.add(
            subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
        )
    assert found == {code_hash(name) + "\n"}


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
