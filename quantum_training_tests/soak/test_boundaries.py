"""A short soak for every run of the tests: a registration is killed at three seeded boundaries and done again."""

import importlib.util
import json
import multiprocessing
import random
import shutil
import signal
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
import pytest

from quantum_training.models.contract import Model as Contract
from quantum_training.resources.locks import exclusive_lock
from quantum_training.resources.registry.new_version import NewVersion
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store

ALGORITHM = "killed_models.weighed"
FORK = multiprocessing.get_context("fork")
FEATURES = pd.DataFrame({"a": [0.1, 0.9]}, pd.date_range("2024-01-01", periods=2, freq="h", tz="UTC"))
WEIGHED = """
import json
from quantum_training.models.contract import Model as Contract


class Model(Contract):
    columns, report, importance = ("a",), {}, {}

    def __init__(self, weight):
        self.weight = weight

    @classmethod
    def fit(cls, context):
        return cls(context.params["weight"])

    def positions(self, features):
        return features["a"] * self.weight

    def save(self, folder):
        (folder / "weight.json").write_text(json.dumps(self.weight))

    @classmethod
    def load(cls, folder):
        return cls(json.loads((folder / "weight.json").read_text()))
"""


def load(name: str, file: Path):
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


boundaries = load("boundaries", Path(__file__).with_name("boundaries.py"))


@pytest.fixture
def model(tmp_path, monkeypatch) -> Contract:
    """A model without a library behind it: a pool of threads does not survive a fork."""
    (tmp_path / "killed_models").mkdir()
    (tmp_path / "killed_models" / "weighed.py").write_text(WEIGHED)
    monkeypatch.syspath_prepend(str(tmp_path))
    return importlib.import_module(ALGORITHM).Model(0.5)


def train(world, model, kind=None, number=0):
    """What a training leaves, each once: a version, an alias, a record. Killed there, if told; else what it did."""
    watched = boundaries.Boundaries(world, kind, number)
    watched.watch()
    registry = ModelRegistry(tracking_uri=f"sqlite:///{world}/mlflow/mlflow.db")
    with exclusive_lock(f"sqlite:///{world}/quantum_training.db", "training") as assert_lock_held:
        if registry.find("AAA", "id-1") is None:
            tags = {"model_id": "id-1", "recipe": "weighed", "as_of": "2024-01-08T00:00:00+00:00"}
            options = {"params": {}, "metrics": {}, "started": pd.Timestamp.now("UTC")}
            registry.register("AAA", NewVersion(model, ALGORITHM, FEATURES, tags=tags, **options), assert_lock_held)
        Store(root=str(world / "store")).write_record("weighed_model", "AAA", "2024-01-08", {"versions": ["id-1"]})
    registry.aliases.move("AAA", {"shadow-weighed": "id-1"})
    (world.parent / "events.json").write_text(json.dumps(watched.events))


def in_a_process(*arguments) -> int:
    process = FORK.Process(target=train, args=arguments)
    process.start()
    process.join(120)
    return process.exitcode


@pytest.mark.long
def test_a_training_killed_at_three_boundaries_and_done_again(tmp_path, model, empty_mlflow):
    assert mlflow.pyfunc  # imported once for all processes
    rng, kinds = random.Random(3), []
    for kind in (None, "artefacts", "mlflow", "store"):
        world = tmp_path / f"{kind}" / "world"
        (world / "mlflow").mkdir(parents=True)
        shutil.copy(empty_mlflow, world / "mlflow")
        if kind:
            assert in_a_process(world, model, kind, rng.randint(1, kinds.count(kind))) == -signal.SIGKILL
        assert in_a_process(world, model) == 0
        kinds = kinds or [k for k, _ in json.loads((world.parent / "events.json").read_text())]
        check = FORK.Process(target=once, args=(world,))
        check.start()
        check.join(60)
        assert check.exitcode == 0


def once(world):
    registry = ModelRegistry(tracking_uri=f"sqlite:///{world}/mlflow/mlflow.db")
    client = registry.client()
    (version,) = client.search_model_versions("name = 'AAA'")
    assert registry.aliases.of("AAA") == {"shadow-weighed": int(version.version)}
    assert registry.load("AAA", "id-1").weight == 0.5
    experiment = client.get_experiment_by_name("AAA").experiment_id
    by_run = {run.info.run_id: run.info.status for run in client.search_runs([experiment])}
    assert by_run.pop(version.run_id) == "FINISHED"
    assert set(by_run.values()) <= {"KILLED"}
    assert [f.name for f in (world / "store").rglob("*") if f.is_file()] == ["2024-01-08.json"]
