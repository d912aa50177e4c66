"""The code that travels with a version: all that it needs, nothing of the platform above, and always the same bytes."""

import io
import subprocess
import sys
import tarfile

import pytest

from quantum_training.models.scoring_code import scoring_code

ALGORITHMS = (
    "xgboost",
    "lightgbm",
    "pooled_lightgbm",
    "ensemble_vote",
    "ensemble_stack",
    "ensemble_regime",
    "forecaster",
    "ppo",
    "sac",
)


def files(*algorithms):
    with tarfile.open(fileobj=io.BytesIO(scoring_code(algorithms))) as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive.getmembers()}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_is_of_the_layers_below_the_registry_and_small(algorithm):
    layers = {name.split("/")[1] for name in files(algorithm)} - {"__init__.py"}
    assert layers == {"features", "market", "models", "trading"}
    assert f"quantum_training/models/{algorithm}.py" in files(algorithm)
    assert len(scoring_code([algorithm])) < 60_000


def test_equal_code_gives_equal_bytes_in_every_process():
    code = "import hashlib; from quantum_training.models.scoring_code import scoring_code as s; "
    code += "print(hashlib.sha256(s(['xgboost', 'lightgbm'])).hexdigest())"
    digests = {subprocess.check_output([sys.executable, "-c", code], text=True) for _ in range(2)}
    assert len(digests) == 1
    assert scoring_code(["xgboost"]) == scoring_code(["quantum_training.models.xgboost"])


def test_data_files_and_the_members_of_an_ensemble_travel_too():
    assert "quantum_training/market/special_sessions.tsv" in files("xgboost")
    assert {"quantum_training/models/lightgbm.py", "quantum_training/models/ppo.py"} <= files(
        "ensemble_vote", "quantum_training.models.lightgbm", "ppo"
    ).keys()


def test_an_algorithm_of_ones_own_travels_with_what_it_imports_of_its_own_package(tmp_path, monkeypatch):
    package = tmp_path / "own_models"
    (package / "parts").mkdir(parents=True)
    (package / "parts" / "__init__.py").write_text("from .scale import SCALE\n")
    (package / "parts" / "scale.py").write_text("SCALE = 2\n")
    (package / "unused.py").write_text("")
    (package / "ridge.py").write_text("import json\nfrom own_models.parts import SCALE\nfrom numpy import array\n")
    monkeypatch.syspath_prepend(tmp_path)
    own = {name for name in files("own_models.ridge") if name.startswith("own_models")}
    assert own == {"own_models/ridge.py", "own_models/parts/__init__.py", "own_models/parts/scale.py"}


def test_an_algorithm_without_a_source_file_does_not_lose_its_fit():
    assert "quantum_training/models/served_version.py" in files("compiled_package.model")
