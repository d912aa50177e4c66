"""Releases of packages by either build of a library; what is missing is named with its extra and stops nothing else."""

import json
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from quantum_training.models.installed import EXTRAS, PackageMissingError, installed_release
from quantum_training.models.provenance import present_code_hash

ROOT = Path(__file__).parents[2]
OPTIONAL = [
    "torch",
    "stable_baselines3",
    "gymnasium",
    "safetensors",
    "neuralforecast",
    "evidently",
    "xgboost",
    "optuna",
]
LOAD = """
import json, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {optional}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from quantum_training.definitions import defs
keys = [key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()]
print(json.dumps([key for key in keys if key.endswith("_model")]))
"""


@pytest.fixture
def installed(monkeypatch):
    """`installed(xgboost="1.0")`: only these distributions are installed."""
    for function in (installed_release, present_code_hash):
        function.cache_clear()

    def set_up(**releases):
        def version(name):
            if name.replace("-", "_") not in releases:
                raise metadata.PackageNotFoundError(name)
            return releases[name.replace("-", "_")]

        monkeypatch.setattr(metadata, "version", version)

    yield set_up
    for function in (installed_release, present_code_hash):
        function.cache_clear()


def test_either_build_of_a_library_has_its_release(installed):
    installed(xgboost_cpu="3.2.0")
    assert installed_release("xgboost") == "3.2.0"
    installed_release.cache_clear()
    installed(xgboost="3.1.0", xgboost_cpu="3.2.0")
    assert installed_release("xgboost") == "3.1.0"


@pytest.mark.parametrize(
    ("algorithm", "extra"),
    [("xgboost", "xgboost"), ("ppo", "agents"), ("sac", "agents"), ("forecaster", "forecasters")],
)
def test_a_training_without_its_packages_names_the_extra(installed, algorithm, extra):
    installed(numba="1", numpy="2", torch="2", safetensors="1")
    with pytest.raises(PackageMissingError, match=rf"pip install 'quantum_training\[{extra}\]'"):
        present_code_hash(algorithm)


def test_every_extra_that_an_error_names_brings_the_package():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for distribution, extra in EXTRAS.items():
        if distribution != "pytorch-lightning":  # neuralforecast brings it
            assert distribution.replace("-", "_") in " ".join(extras[extra]).replace("-", "_")


def test_definitions_of_all_recipes_load_without_what_only_some_need(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(ROOT / "docs/zoo/settings.yaml"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    code = LOAD.format(optional=set(OPTIONAL))
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert process.returncode == 0, process.stderr
    assert len(json.loads(process.stdout.splitlines()[-1])) > 5
