"""The model registry on a real MLflow over SQLite: what is registered decides as it did, once, and is found again."""

import hashlib
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow
import numpy as np
import pandas as pd
import pytest

from quantum_training.features.windows import WindowSize, build_window
from quantum_training.models.contract import Model, TrainingContext, algorithm
from quantum_training.resources.registry.errors import RegistryError, RegistryOutage
from quantum_training.resources.registry.new_version import NewVersion
from quantum_training.resources.registry.registry import ModelRegistry, RegisteredVersion

STARTED = pd.Timestamp("2024-01-08 02:00", tz="UTC")
LOAD = """
import sys
import time
import mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
features = pd.read_parquet(sys.argv[2])
got = mlflow.pyfunc.load_model("models:/LOADED@champion").predict(features)
pd.testing.assert_series_equal(got, pd.read_parquet(sys.argv[3])["position"], check_exact=True, check_freq=False)
print("equal", len(got))
"""
FIRST_VERSION = """
import sys, time
from pathlib import Path
import pandas as pd
import mlflow.pyfunc
import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.sqlalchemy_store
from quantum_training.models.contract import load_model
from quantum_training.resources.registry.new_version import NewVersion
from quantum_training.resources.registry.registry import ModelRegistry

number, meeting = sys.argv[1], Path(sys.argv[2])
model, features = load_model(meeting / "model"), pd.read_parquet(meeting / "features.parquet")
(meeting / f"ready{number}").touch()
while not (meeting / "go").exists():
    time.sleep(0.001)
tags = {"model_id": f"version{number}", "recipe": "xgboost", "as_of": "2024-01-08T00:00:00+00:00"}
found = ModelRegistry().register(
    "AAA", NewVersion(model, "xgboost", features, tags, params={}, metrics={}, started=pd.Timestamp.now("UTC"))
)
ModelRegistry().aliases.move("AAA", {f"shadow-{number}": f"version{number}"})
print(found.number)
"""
FORGETFUL = """
import json
from quantum_training.models.contract import Model as Contract


class Model(Contract):
    def __init__(self, weight):
        self.weight, self.columns, self.report, self.importance = weight, ("a",), {}, {}

    @classmethod
    def fit(cls, context):
        return cls(context.params["weight"])

    def positions(self, features):
        return (features["a"] * self.weight).clip(0, 1)

    def save(self, folder):
        (folder / "weight.json").write_text(json.dumps(round(self.weight, 2)))

    @classmethod
    def load(cls, folder):
        return cls(json.loads((folder / "weight.json").read_text()))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def registry(home: Path) -> ModelRegistry:
    return ModelRegistry(tracking_uri=f"sqlite:///{home}/mlflow.db", ui_url="http://ui:1")


@pytest.fixture(scope="module")
def features() -> pd.DataFrame:
    index = pd.date_range("2023-12-01", periods=300, freq="h", tz="UTC", name="open_time")
    return pd.DataFrame(np.random.default_rng(0).normal(size=(300, 3)), index, list("abc"))


@pytest.fixture(scope="module")
def models(features: pd.DataFrame) -> dict[str, Model]:
    """One fitted model of each family."""
    labels = pd.DataFrame({"label": (features["a"] > 0).astype(float), "label_end": features.index}, features.index)
    window = build_window(
        features,
        labels,
        as_of=features.index[-1],
        columns=("a", "b", "c"),
        size=WindowSize(max_rows=300, validation_fraction=0.2, min_rows=50),
    )
    return {
        name: algorithm(name).fit(TrainingContext(window, {"max_rounds": 10, "max_depth": 3}, seed=7))
        for name in ("xgboost", "lightgbm")
    }


Register = Callable[..., RegisteredVersion]


@pytest.fixture
def register(registry: ModelRegistry, models: dict[str, Model], features: pd.DataFrame) -> Register:
    """`register(symbol, model_id, family="xgboost", model=None, **options)`, plain tags, params and metrics."""

    def run(
        symbol: str,
        model_id: str,
        family: str = "xgboost",
        model: Model | None = None,
        assert_lock_held: Callable[[], None] = lambda: None,
        **options,
    ) -> RegisteredVersion:
        return registry.register(
            symbol,
            NewVersion(
                model or models[family],
                family,
                features,
                tags={
                    "model_id": model_id,
                    "recipe": "trees",
                    "as_of": "2024-01-08T00:00:00+00:00",
                    "trigger": "MANUAL",
                },
                params={"rows": 300, "features": "a,b,c"},
                metrics={"valid_logloss": 0.25, "rounds": 10.0},
                started=STARTED,
                **options,
            ),
            assert_lock_held,
        )

    return run


def versions(registry: ModelRegistry, symbol: str) -> list:
    return registry.client().search_model_versions(f"name = '{symbol}'")


def artefact_folder(registry: ModelRegistry, symbol: str, number: int) -> Path:
    client = registry.client()
    run = client.get_run(client.get_model_version(symbol, str(number)).run_id)
    location = client.get_experiment(run.info.experiment_id).artifact_location
    return Path(unquote(urlsplit(location).path))


@pytest.mark.long
def test_a_long_reason_is_whole_at_the_version_and_cut_at_the_run_on_sqlite_and_postgres(
    url, models, features, tmp_path, monkeypatch
):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    registry, reason = ModelRegistry(tracking_uri=url), "語x" * 6_000
    tags = {"model_id": "m1", "recipe": "trees", "as_of": "2024-01-08T00:00:00+00:00", "reason": f"{reason}\x00"}
    params = {"features": ",".join(f"column_{n}" for n in range(1_000)), "note": "a\x00b"}
    new = NewVersion(models["xgboost"], "xgboost", features, tags, params, metrics={}, started=STARTED)
    version = registry.register("AAA", new)
    registry.tag("AAA", "m1", "refresh", f"{reason}\x00")
    run = registry.client().get_run(version.run_id).data
    (registered,) = versions(registry, "AAA")
    assert registered.tags["reason"] == f"{reason}\\x00"
    for text in (run.tags["reason"], run.tags["refresh"], registered.tags["refresh"]):
        assert text.endswith(" ... (12004 characters)")
        assert len(text.encode()) <= 8_000
    assert run.params["features"].endswith(" characters)")
    assert run.params["note"] == "a\\x00b"
    assert registry.load("AAA", "m1")


@pytest.mark.parametrize("family", ["xgboost", "lightgbm"])
def test_a_version_comes_back_as_it_was(registry, register, models, features, family):
    symbol = f"BACK_{family}"
    registered_version = register(symbol, "0123456789abcdef", family)
    assert registered_version.number == 1
    assert registry.find(symbol, "0123456789abcdef") == registered_version
    copy = registry.load(symbol, "0123456789abcdef")
    pd.testing.assert_series_equal(copy.positions(features), models[family].positions(features), check_exact=True)
    assert type(copy) is type(models[family])


def test_a_run_holds_params_metrics_tags_and_its_own_time(registry, register):
    registered_version = register("NOTED", "id-1")
    client = registry.client()
    run, version = client.get_run(registered_version.run_id), client.get_model_version("NOTED", "1")
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "trees 2024-01-08"
    assert run.info.start_time == STARTED.value // 10**6
    assert run.data.params == {"rows": "300", "features": "a,b,c"}
    assert run.data.metrics == {"valid_logloss": 0.25, "rounds": 10.0}
    assert registry.logged_run("NOTED", registered_version.run_id) == (run.data.params, run.data.metrics)
    (output,) = run.outputs.model_outputs
    logged = client.get_logged_model(output.model_id)
    assert (str(logged.status), logged.params) == ("READY", run.data.params)
    assert {m.key: m.value for m in logged.metrics} == run.data.metrics
    tags = {"model_id": "id-1", "recipe": "trees", "as_of": "2024-01-08T00:00:00+00:00", "trigger": "MANUAL"}
    assert {k: v for k, v in run.data.tags.items() if k in tags} == tags
    listed = mlflow.artifacts.load_text(f"runs:/{registered_version.run_id}/artifact_files.json")
    files = json.loads(listed)
    hashes = {"artifact_files": hashlib.sha256(listed.encode()).hexdigest()}
    hashes["artefact_hash"] = files["artifacts/model/algorithm.json"]
    assert version.tags == {**tags, **hashes}
    model = {"artifacts/model/algorithm.json", "artifacts/model/model.ubj"}
    assert {"MLmodel", "pyfunc_model.py", *model} < files.keys()
    assert client.get_experiment(run.info.experiment_id).name == "NOTED"
    link = f"http://ui:1/#/experiments/{run.info.experiment_id}/runs/{registered_version.run_id}"
    link += "?workflowType=machine_learning"
    assert registry.run_url("NOTED", registered_version) == link


def test_artefacts_lie_beside_the_database_and_none_is_a_pickle(registry, register, home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    registered_version = register("PLACED", "id-1")
    folder = artefact_folder(registry, "PLACED", registered_version.number)
    assert folder == home / "artifacts" / "PLACED"
    files = [f for f in folder.rglob("*") if f.is_file()]
    assert {"model.ubj", "booster.json", "algorithm.json", "MLmodel", "requirements.txt"} <= {f.name for f in files}
    assert [f for f in files if f.suffix in (".pkl", ".pickle", ".cloudpickle", ".joblib")] == []
    assert [f for f in files if f.read_bytes()[:2] in (b"\x80\x04", b"\x80\x05")] == []
    requirements = next(f for f in files if f.name == "requirements.txt").read_text().splitlines()
    names = {"mlflow-skinny", "numpy", "pandas", "pydantic", "scipy", "TA-Lib", "xgboost", "xgboost-cpu"}
    assert {r.partition("==")[0] for r in requirements} == names, "public packages without torch, Dagster and ourselves"
    assert list(tmp_path.iterdir()) == [], "nothing may be left in the working directory"


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("", "HOME/mlflow/artifacts"),
        ("sqlite:////data/ml/mlflow.db", "/data/ml/artifacts"),
        ("sqlite:////data/ml/mlflow.db?timeout=30", "/data/ml/artifacts"),
        ("postgresql+psycopg2://host/db", "HOME/mlflow/artifacts"),
        ("http://mlflow:5000", None),
        ("https://mlflow", None),
    ],
)
def test_the_artifacts_folder_follows_the_kind_of_mlflow(uri, place, monkeypatch, tmp_path):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    folder = ModelRegistry(tracking_uri=uri).artifacts_folder()
    assert folder == (place and Path(place.replace("HOME", str(tmp_path))))


@pytest.mark.long
def test_a_fresh_process_that_may_not_unpickle_loads_the_champion(registry, register, models, features, tmp_path):
    register("LOADED", "id-1", "lightgbm")
    register("LOADED", "id-2", "xgboost")
    registry.aliases.move("LOADED", {"champion": "id-2"})
    holed = features.copy()
    holed.iloc[3, 1] = np.nan
    holed.to_parquet(tmp_path / "features.parquet")
    models["xgboost"].positions(holed).to_frame().to_parquet(tmp_path / "positions.parquet")
    files = [str(tmp_path / "features.parquet"), str(tmp_path / "positions.parquet")]
    env = {**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    env["MLFLOW_DISABLE_TELEMETRY"] = "true"  # its thread, still asking when Python ends, has the process abort
    command = [sys.executable, "-c", LOAD, registry.tracking_uri, *files]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["equal", "300"]


def test_this_process_may_not_unpickle_either(registry, register):
    register("LOCKED", "id-1")
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


def test_a_model_id_is_registered_once_and_found_under_its_symbol_only(registry, register):
    first = register("ONCE", "id-1")
    assert registry.find("ONCE", "id-2") is None
    assert registry.find("OTHER", "id-1") is None
    again = register("ONCE", "id-1")
    assert again == registry.find("ONCE", "id-1") == first


def test_a_missing_version_is_named_with_a_remedy(registry, register):
    register("GONE", "id-1")
    with pytest.raises(RegistryError, match=r"GONE: version id-9 .*re-materialise"):
        registry.load("GONE", "id-9")
    with pytest.raises(RegistryError, match="NEVER: version id-1"):
        registry.load("NEVER", "id-1")


def test_a_changed_or_missing_artefact_is_named_with_a_remedy(registry, register):
    registered_version = register("TORN", "id-1")
    (file,) = artefact_folder(registry, "TORN", registered_version.number).rglob("booster.json")
    file.write_text("{")
    with pytest.raises(RegistryError, match=r"TORN: the artefact of version id-1, .*booster\.json was changed"):
        registry.load("TORN", "id-1")
    file.unlink()
    with pytest.raises(RegistryError, match=r"booster\.json is missing.* delete the version and train its partition"):
        registry.load("TORN", "id-1")


def test_a_report_is_stored_in_the_run_of_its_version_and_replaced(registry, register):
    registered_version = register("REPORTED", "id1")
    for text in ("<p>old</p>", "<p>résumé</p>"):
        url = registry.log_report("REPORTED", "id1", "backtest/2024-01-08.html", text)
    run, query = registry.run_url("REPORTED", registered_version).split("?")
    assert url == f"{run}/artifacts/backtest/2024-01-08.html?{query}"
    client = registry.client()
    assert [a.path for a in client.list_artifacts(registered_version.run_id, "backtest")] == [
        "backtest/2024-01-08.html"
    ]
    report_path = client.download_artifacts(registered_version.run_id, "backtest/2024-01-08.html")
    assert Path(report_path).read_text() == "<p>résumé</p>"
    with pytest.raises(RegistryError, match="no_such"):
        registry.log_report("REPORTED", "no_such", "backtest/2024-01-08.html", "")


def test_a_tag_is_set_on_version_and_run_and_may_change(registry, register):
    registered_version = register("TAGGED", "id1")
    client = registry.client()
    for text in ("accepted: first version", "refused: it broke", "refused: it broke"):
        registry.tag("TAGGED", "id1", "refresh", text)
        assert client.get_model_version("TAGGED", str(registered_version.number)).tags["refresh"] == text
        assert client.get_run(registered_version.run_id).data.tags["refresh"] == text
    with pytest.raises(RegistryError, match="no_such"):
        registry.tag("TAGGED", "no_such", "refresh", "")


def test_aliases_are_set_kept_moved_and_removed(registry, register):
    register("NAMED", "id-1")
    register("NAMED", "id-2")
    assert registry.aliases.of("NAMED") == registry.aliases.of("NEVER") == {}
    registry.aliases.move("NAMED", {"champion": "id-1", "previous": None})
    assert registry.aliases.of("NAMED") == {"champion": 1}
    registry.aliases.move("NAMED", {"champion": "id-2", "previous": "id-1", "shadow-xgboost": "id-2"})
    registry.aliases.move("NAMED", {"champion": "id-2", "previous": "id-1"})
    assert registry.aliases.of("NAMED") == {"champion": 2, "previous": 1, "shadow-xgboost": 2}
    registry.aliases.move("NAMED", {"champion": None, "previous": None})
    registry.aliases.move("NAMED", {"champion": None})
    assert registry.aliases.of("NAMED") == {"shadow-xgboost": 2}
    registry.aliases.move("NEVER", {"champion": None})


def test_setting_the_same_aliases_again_writes_nothing(registry, register, home):
    register("QUIET", "id-1")
    registry.aliases.move("QUIET", {"champion": "id-1", "previous": None})
    before = registry.client().get_registered_model("QUIET").last_updated_timestamp
    data = (home / "mlflow.db").read_bytes()
    registry.aliases.move("QUIET", {"champion": "id-1", "previous": None})
    assert registry.client().get_registered_model("QUIET").last_updated_timestamp == before
    assert (home / "mlflow.db").read_bytes() == data


def test_an_unknown_version_moves_no_alias(registry, register):
    register("HALF", "id-1")
    register("HALF", "id-2")
    registry.aliases.move("HALF", {"champion": "id-1"})
    with pytest.raises(RegistryError, match=r"HALF: alias previous needs version id-9.*re-materialise"):
        registry.aliases.move("HALF", {"champion": "id-2", "previous": "id-9"})
    assert registry.aliases.of("HALF") == {"champion": 1}


@pytest.fixture
def forgetful(tmp_path, monkeypatch):
    """An algorithm that saves its weight with two digits only."""
    (tmp_path / "forgetful_zoo").mkdir()
    (tmp_path / "forgetful_zoo" / "__init__.py").touch()
    (tmp_path / "forgetful_zoo" / "ridge.py").write_text(FORGETFUL)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield "forgetful_zoo.ridge"
    for name in ("forgetful_zoo", "forgetful_zoo.ridge"):
        sys.modules.pop(name, None)


def test_a_copy_with_other_positions_is_not_registered_and_its_run_has_failed(registry, register, forgetful):
    with pytest.raises(RegistryError, match=r"LIAR: version id-1 decides otherwise once loaded back; not registered"):
        register("LIAR", "id-1", forgetful, algorithm(forgetful)(0.123456))
    assert versions(registry, "LIAR") == []
    assert registry.find("LIAR", "id-1") is None
    experiment = registry.client().get_experiment_by_name("LIAR").experiment_id
    assert [r.info.status for r in registry.client().search_runs([experiment])] == ["FAILED"]
    registered_version = register("LIAR", "id-2", forgetful, algorithm(forgetful)(0.25))
    assert registered_version.number == 1, "what comes back equal is registered"


def test_a_failing_save_leaves_a_failed_run_and_no_version(registry, register, models, monkeypatch):
    def broken(folder):
        raise OSError("disk is full")

    monkeypatch.setattr(models["xgboost"], "save", broken)
    with pytest.raises(RegistryOutage, match="disk is full"):
        register("FULL", "id-1")
    monkeypatch.undo()
    client = registry.client()
    experiment = client.get_experiment_by_name("FULL").experiment_id
    assert [r.info.status for r in client.search_runs([experiment])] == ["FAILED"]
    assert versions(registry, "FULL") == []
    assert register("FULL", "id-1").number == 1


def test_a_run_that_a_killed_process_left_running_is_marked_killed(registry, register):
    register("KILLED", "id-0")
    client = registry.client()
    experiment = client.get_experiment_by_name("KILLED").experiment_id
    dead = client.create_run(experiment, tags={"model_id": "id-1"}).info.run_id
    other = client.create_run(experiment, tags={"model_id": "id-2"}).info.run_id
    registered_version = register("KILLED", "id-1")
    assert {r: client.get_run(r).info.status for r in (dead, other, registered_version.run_id)} == {
        dead: "KILLED",
        other: "RUNNING",
        registered_version.run_id: "FINISHED",
    }


def test_a_version_whose_response_was_lost_keeps_its_finished_run(registry, register, monkeypatch):
    client = registry.client()
    create, lost = client.create_model_version, []

    def loses_one_answer(*args, **options):
        made = create(*args, **options)
        if not lost:
            lost.append(made.run_id)
            raise ConnectionResetError("the answer")
        return made

    monkeypatch.setattr(client, "create_model_version", loses_one_answer)
    registered_version = register("ANSWER", "id-1")
    assert [registered_version.run_id] == lost
    assert client.get_run(registered_version.run_id).info.status == "FINISHED"


def test_a_version_has_a_finished_run_wherever_its_process_is_killed(registry, register, monkeypatch):
    """Killed before the version is there: trained anew, the first run killed. Killed after it: nothing is left."""
    client = registry.client()
    create = client.create_model_version

    def dies_before(*args, **options):
        raise SystemExit  # no `except Exception` sees it, as none sees a kill

    def dies_after(*args, **options):
        create(*args, **options)
        raise SystemExit

    for model_id, dies, statuses in (
        ("id-1", dies_before, ["FINISHED", "KILLED"]),
        ("id-2", dies_after, ["FINISHED"]),
    ):
        monkeypatch.setattr(client, "create_model_version", dies)
        with pytest.raises(SystemExit):
            register("BETWEEN", model_id)
        monkeypatch.undo()
        if registry.find("BETWEEN", model_id) is None:
            register("BETWEEN", model_id)
        experiment = client.get_experiment_by_name("BETWEEN").experiment_id
        runs = client.search_runs([experiment], f"tags.model_id = '{model_id}'")
        assert sorted(run.info.status for run in runs) == statuses
        assert client.get_run(registry.find("BETWEEN", model_id).run_id).info.status == "FINISHED"


def test_a_version_registered_by_another_process_meanwhile_is_kept(registry, register):
    theirs = []
    registered_version = register(
        "MEANWHILE", "id-1", assert_lock_held=lambda: theirs.append(register("MEANWHILE", "id-1"))
    )
    assert [registered_version] == theirs
    assert len(versions(registry, "MEANWHILE")) == 1
    client = registry.client()
    experiment = client.get_experiment_by_name("MEANWHILE").experiment_id
    assert sorted(run.info.status for run in client.search_runs([experiment])) == ["FINISHED", "KILLED"]
    assert client.get_run(registered_version.run_id).info.status == "FINISHED"


@pytest.mark.long
def test_two_processes_make_the_first_version_of_a_new_mlflow_at_once(models, features, tmp_path, monkeypatch):
    """Both meet an empty DAGSTER_HOME, as the runs of a first backfill do; MLflow alone fails one of the two."""
    from quantum_training.models.contract import save_model

    meeting, home, cwd = tmp_path / "meeting", tmp_path / "home", tmp_path / "cwd"
    for folder in (meeting, home, cwd):
        folder.mkdir()
    save_model(models["xgboost"], meeting / "model", "xgboost")
    features.to_parquet(meeting / "features.parquet")
    env = {**os.environ, "DAGSTER_HOME": str(home)}
    env.pop("MLFLOW_TRACKING_URI", None)
    both = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_VERSION, number, str(meeting)],
            env=env,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in "12"
    ]
    while not all((meeting / f"ready{n}").exists() for n in "12") and all(p.poll() is None for p in both):
        time.sleep(0.01)
    (meeting / "go").touch()
    outputs = [p.communicate(timeout=120) for p in both]
    assert [p.returncode for p in both] == [0, 0], outputs
    assert sorted(out.strip() for out, _ in outputs) == ["1", "2"]
    assert list(cwd.iterdir()) == []
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    registry = ModelRegistry()
    registered_versions = {n: registry.find("AAA", f"version{n}") for n in "12"}
    assert registry.aliases.of("AAA") == {f"shadow-{n}": f.number for n, f in registered_versions.items()}
    assert len({registry.client().get_run(f.run_id).info.experiment_id for f in registered_versions.values()}) == 1
    assert artefact_folder(registry, "AAA", 1) == home / "mlflow" / "artifacts" / "AAA"
    assert {f.name for f in (home / "mlflow").iterdir()} >= {"mlflow.db", "artifacts"}
    for n in "12":
        assert registry.load("AAA", f"version{n}").positions(features).equals(models["xgboost"].positions(features))


def test_an_artefact_is_read_in_place_without_a_temporary_copy(registry, register, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    register("TIDY", "id-1")
    registry.load("TIDY", "id-1")
    assert list(tmp_path.iterdir()) == []
    folder = artefact_folder(registry, "TIDY", 1)
    sidecar = next(folder.rglob("booster.json"))
    assert json.loads(sidecar.read_text())["columns"] == ["a", "b", "c"]
