"""What a feature set hashes to: a change of its code, helpers, settings or libraries changes ids, nothing else does."""

import io
import tarfile

import pandas as pd
import pytest

from quantum_training.features.sets.feature_set import FeatureSet
from quantum_training.market.universe import Universe
from quantum_training.models import feature_set_hash
from quantum_training.models.feature_set_hash import definition_hash, libraries, reward_hash, set_hash, universe_hash
from quantum_training.models.scoring_code import scoring_code


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of a set with a helper; a function that writes one of its files again."""

    def write(file, text):
        (tmp_path / "own_features" / file).write_text(text)
        feature_set_hash._code.cache_clear()

    (tmp_path / "own_features").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    write("__init__.py", "")
    write("trend.py", "import numpy as np\nfrom own_features.helpers import slope\nfrom . import shared\n")
    write("helpers.py", "import talib\nimport json\n")
    write("shared.py", "import pandas\n")
    write("other.py", "import torch\n")
    yield write
    feature_set_hash._code.cache_clear()


TREND = FeatureSet(module="own_features.trend", params={"bars": 3})


def test_the_libraries_are_those_that_the_module_and_its_helpers_import(package):
    assert {name.lower().replace("_", "-") for name in libraries(TREND)} == {"numpy", "pandas", "ta-lib"}


@pytest.mark.parametrize("file", ["trend.py", "helpers.py", "shared.py", "__init__.py"])
def test_a_change_in_a_file_that_it_imports_changes_both_hashes(package, file):
    before = definition_hash(TREND), set_hash(TREND)
    package("other.py", "import torch  # of another set\n")
    assert (definition_hash(TREND), set_hash(TREND)) == before
    package(file, "# changed\nimport numpy\n")
    after = definition_hash(TREND), set_hash(TREND)
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_code_that_is_no_python_has_a_hash_so_that_the_definitions_load(package):
    """A label and a reward are imported at a fit; their code's version is needed before."""
    hashes = set()
    for text in ("def reward(gain:\n", "def reward(gain, cost:\n"):
        package("trend.py", text)
        hashes.add(reward_hash({"trading": {"reward": {"module": TREND.module}}}))
    assert len(hashes) == 2


@pytest.mark.parametrize("change", [{"params": {"bars": 4}}, {"timeframes": ("4h",)}, {"shifts": (1,)}])
def test_a_change_of_settings_changes_both_hashes(package, change):
    changed = TREND.model_copy(update=change)
    assert definition_hash(changed) != definition_hash(TREND)
    assert set_hash(changed) != set_hash(TREND)


def test_other_symbols_that_it_is_read_of_change_ids_and_leave_what_is_stored_in_use(package):
    of_one, of_two = (TREND.model_copy(update={"of": of}) for of in (("BTC-USDT",), ("BTC-USDT", "ETH-USDT")))
    late = of_one.model_copy(update={"late": "missing"})
    assert len({definition_hash(s) for s in (TREND, of_one, of_two, late)}) == 1
    assert len({set_hash(s) for s in (TREND, of_one, of_two)}) == 3
    assert set_hash(late) == set_hash(of_one)


def test_an_update_of_a_library_changes_ids_and_leaves_what_is_stored_in_use(package, monkeypatch):
    before = definition_hash(TREND), set_hash(TREND)
    feature_set_hash._code.cache_clear()
    monkeypatch.setattr(feature_set_hash, "version", lambda name: "99")
    assert definition_hash(TREND) == before[0]
    assert set_hash(TREND) != before[1]


def test_the_code_of_a_set_travels_with_a_version(package):
    with tarfile.open(fileobj=io.BytesIO(scoring_code(["lightgbm"], ["own_features.trend"]))) as archive:
        names = {name for name in archive.getnames() if name.startswith("own_features")}
    assert names == {f"own_features/{file}.py" for file in ("__init__", "trend", "helpers", "shared")}


def test_who_is_a_member_has_a_hash_of_its_own(package, tmp_path):
    """So that a version's id covers the members that it could know, and not those that join later."""
    ranked = TREND.model_copy(update={"within": "top", "of": ("AAA", "BBB")})
    more = ranked.model_copy(update={"of": ("AAA", "BBB", "CCC")})
    assert definition_hash(ranked) == definition_hash(TREND), "what is stored stays in use"
    assert set_hash(more) == set_hash(ranked) != set_hash(TREND)
    (tmp_path / "members.csv").write_text("symbol,from,to\nAAA,2020-01-01,\nBBB,2020-01-01,2020-03-01\n")
    path = str(tmp_path / "members.csv")
    first, middle, last = (pd.Timestamp(day, tz="UTC") for day in ("2020-01-01", "2020-02-01", "2020-04-01"))
    whole = Universe(path=path)
    (tmp_path / "members.csv").write_text("symbol,from,to\nAAA,2020-01-01,\nBBB,2020-01-01,\n")
    without_end = Universe(path=path)
    assert universe_hash(whole, first, middle) == universe_hash(without_end, first, middle)
    assert universe_hash(whole, first, last) != universe_hash(without_end, first, last)
    assert universe_hash(whole) != universe_hash(without_end)
    assert universe_hash(Universe(path=path, min_members=3)) != universe_hash(without_end)
