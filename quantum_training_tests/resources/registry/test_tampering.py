"""A version whose artefact was changed in MLflow's store is refused by name, on a local store and through a server.

That every file of every family's artefact is watched is shown in test_zoo.py, where all of them are at hand.
"""

import json
import pickle
import re
import shutil
from contextlib import ExitStack

import mlflow
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from quantum_training.features.windows import WindowSize, build_window
from quantum_training.models.contract import TrainingContext, algorithm
from quantum_training.resources.registry.errors import RegistryError
from quantum_training.resources.registry.new_version import NewVersion
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training_tests.support.platforms import MlflowServer

REFUSED = r"AAA: the artefact of version id-1, number 1 in MLflow, cannot be loaded: ArtefactError: it is not what was "
RUN = "import pathlib; pathlib.Path({mark!r}).touch()"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """An MLflow server that hands artefacts through: its address and the folder in which they lie."""
    home = tmp_path_factory.mktemp("server")
    with ExitStack() as stack:
        server = MlflowServer(home, stack).start().ready()
        yield server.url, server.served


@pytest.fixture
def local(tmp_path, empty_mlflow):
    """A registry over a SQLite file, its artefacts beside it."""
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    return ModelRegistry(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")


@pytest.fixture(params=["local", pytest.param("server", marks=pytest.mark.long)])
def place(request, tmp_path):
    """Tracking URI and folder of the artefacts."""
    if request.param == "server":
        return request.getfixturevalue("server")
    return request.getfixturevalue("local").tracking_uri, tmp_path / "artifacts"


@pytest.fixture(scope="module")
def features():
    index = pd.date_range("2023-12-01", periods=300, freq="h", tz="UTC", name="open_time")
    return pd.DataFrame(np.random.default_rng(0).normal(size=(300, 3)), index, list("abc"))


@pytest.fixture(scope="module")
def model(features):
    labels = pd.DataFrame({"label": (features["a"] > 0).astype(float), "label_end": features.index}, features.index)
    options = {"columns": ("a", "b", "c"), "size": WindowSize(max_rows=300, validation_fraction=0.2, min_rows=50)}
    window = build_window(features, labels, as_of=features.index[-1], **options)
    return algorithm("xgboost").fit(TrainingContext(window, {"max_rounds": 5, "max_depth": 2}, seed=7))


def register(registry, model, features):
    tags = {"model_id": "id-1", "recipe": "trees", "as_of": "2024-01-08T00:00:00+00:00"}
    started = pd.Timestamp("2024-01-08 02:00", tz="UTC")
    return registry.register(
        "AAA", NewVersion(model, "xgboost", features, tags=tags, params={}, metrics={}, started=started)
    )


def test_a_changed_artefact_file_is_refused_by_name_and_none_of_its_code_runs(
    place, model, features, tmp_path, monkeypatch
):
    uri, root = place
    registry = ModelRegistry(tracking_uri=uri)
    register(registry, model, features)
    registry.aliases.move("AAA", {"champion": "id-1"})
    served = mlflow.pyfunc.load_model("models:/AAA@champion")
    assert served.predict(features).equals(model.positions(features))
    (folder,) = (file.parent for file in root.rglob("MLmodel"))
    (folder / "more.py").touch()
    with pytest.raises(RegistryError, match=REFUSED + "stored: more.py was added; bring it back, or delete"):
        registry.load("AAA", "id-1")
    (folder / "more.py").unlink()
    mark = tmp_path / "ran"
    code = RUN.format(mark=str(mark))
    (folder / "__pycache__").mkdir(exist_ok=True)
    (folder / "__pycache__/pyfunc_model.cpython-311.pyc").touch()  # Python leaves one where MLflow serves in place
    assert registry.load("AAA", "id-1")
    for name in (
        "pyfunc_model.py",
        "artifacts/scoring_code.tar.bz2",
        "artifacts/market.json",
        "artifacts/model/model.ubj",
        "artifacts/model/algorithm.json",
        "MLmodel",
    ):
        file = folder / name
        original = file.read_bytes()
        for changed in (original[:-1], code.encode(), pickle.dumps(Runs(code))):
            file.write_bytes(changed)
            with pytest.raises(RegistryError, match=f"{REFUSED}stored: {name} was changed; bring it back"):
                registry.load("AAA", "id-1")
        file.unlink()
        with pytest.raises(RegistryError, match=f"{REFUSED}stored: {name} is missing; bring it back"):
            registry.load("AAA", "id-1")
        file.write_bytes(original)
    assert not mark.exists()

    booster = folder / "artifacts" / "model" / "model.ubj"
    original = booster.read_bytes()
    booster.write_bytes(bytes([*original[:-2], original[-2] ^ 1, original[-1]]))
    with pytest.raises(ValueError, match=r"model\.ubj was changed"):
        mlflow.pyfunc.load_model("models:/AAA@champion")
    booster.write_bytes(original)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    assert registry.load("AAA", "id-1").positions(features).equals(model.positions(features))
    assert list((tmp_path / "temporary").iterdir()) == [], "no copy may be left"


class Runs:
    """A pickle that runs code where it is loaded."""

    def __init__(self, code):
        self.code = code

    def __reduce__(self):
        return exec, (self.code,)


def test_a_manifest_changed_together_with_its_file_is_refused_by_the_version_tag(local, model, features, tmp_path):
    register(local, model, features)
    (index,) = tmp_path.rglob("algorithm.json")
    index_fields = json.loads(index.read_text())
    index.write_text(json.dumps({**index_fields, "algorithm": "os"}, sort_keys=True))
    with pytest.raises(RegistryError, match=r"artifacts/model/algorithm\.json was changed"):
        local.load("AAA", "id-1")


def test_a_version_without_hashes_is_refused(local, model, features):
    register(local, model, features)
    local.client().delete_model_version_tag("AAA", "1", "artifact_files")
    with pytest.raises(RegistryError, match=r"registered without the tag artifact_files; bring it back, or delete"):
        local.load("AAA", "id-1")


def test_a_store_that_changes_an_artefact_registers_nothing(local, tmp_path, model, features, monkeypatch):
    mark, real = tmp_path / "ran", mlflow.models.Model.log

    def changed(*arguments, **options):
        info = real(*arguments, **options)
        (code,) = (tmp_path / "artifacts").rglob("pyfunc_model.py")
        code.write_text(RUN.format(mark=str(mark)))
        return info

    monkeypatch.setattr(mlflow.models.Model, "log", changed)
    with pytest.raises(RegistryError, match=r"AAA: version id-1 came back from MLflow with another pyfunc_model\.py"):
        register(local, model, features)
    assert local.find("AAA", "id-1") is None
    assert not mark.exists()


NAMES = ["a' OR '1'='1", "AAA' and name != '", "../AAA", "", "a" * 65, "AAA\n", "ÄÄÄ"]


@given(name=st.sampled_from(NAMES) | st.text().filter(lambda text: not re.fullmatch("[A-Za-z0-9][A-Za-z0-9_-]*", text)))
@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_invalid_name_reaches_no_filter_and_no_folder_of_mlflow(local, tmp_path, name):
    calls = [
        lambda: local.find(name, "id-1"),
        lambda: local.find("AAA", name),
        lambda: local.find_shared(name),
        lambda: local.load(name, "id-1"),
        lambda: local.load("AAA", name),
        lambda: local.aliases.of(name),
        lambda: local.aliases.move(name, {"champion": None}),
        lambda: local.aliases.move("AAA", {"champion": name or "'"}),
        lambda: local.tag("AAA", name, "refresh", "x"),
        lambda: local.log_report("AAA", name, "report.html", "x"),
        lambda: local.prepare(name),
    ]
    for call in calls:
        with pytest.raises(RegistryError, match="names no symbol, version or fit"):
            call()
    assert [f.name for f in tmp_path.iterdir() if not f.name.startswith(".")] == ["mlflow.db"]
