"""Removing versions through a real MLflow server that keeps the artefacts: their files go, the others' stay."""

import socket
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from quantum_training.models.contract import algorithm
from quantum_training.models.sizing import Sizing
from quantum_training.resources.registry import ModelRegistry
from quantum_training.resources.registry_errors import RegistryError
from quantum_training.resources.registry_removal import registered, remove
from quantum_training_tests.automation.conftest import wait_for


@pytest.fixture
def server(tmp_path, monkeypatch):
    """URL of an MLflow server and the folder of its artefacts."""
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    files, url = tmp_path / "files", f"http://127.0.0.1:{port}"
    arguments = ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", str(files)]
    program = str(Path(sys.executable).with_name("mlflow"))
    with (tmp_path / "server.log").open("w") as log:
        command = [program, "server", *arguments, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        process = subprocess.Popen(command, stdout=log, stderr=log)

    def answers():
        with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5) as response:
            return response.status == 200

    try:
        wait_for("MLflow server", answers, 240, (tmp_path / "server.log").read_text)
        yield url, files
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.soak
def test_through_a_server_files_go_and_those_of_an_alias_stay(server, make_window, make_features):
    url, files = server
    registry = ModelRegistry(tracking_uri=url)
    model = algorithm("xgboost").fit(make_window(), {"max_rounds": 2}, Sizing(), 7, lambda text: None)
    for name in ("old", "champion", "newest"):
        tags = {"model_id": name, "recipe": "xgboost", "as_of": "2020-01-06T00:00:00+00:00"}
        started = pd.Timestamp.now("UTC")
        registry.register(
            "AAA", model, "xgboost", make_features(20), tags=tags, params={}, metrics={"loss": 0.5}, started=started
        )
        registry.log_report("AAA", name, "backtest/2020-01-06.html", "<p>")
    registry.set_aliases("AAA", {"champion": "champion"})
    found, later = registered(registry, "AAA"), pd.Timestamp.now("UTC") + pd.Timedelta(days=31)
    before = {f for f in files.rglob("*") if f.is_file()}
    size = sum(f.stat().st_size for f in before)
    told = remove(registry, "AAA", found[:2], later, dry_run=True)
    assert {f for f in files.rglob("*") if f.is_file()} == before
    done = remove(registry, "AAA", found[:2], later, dry_run=False)
    assert told["versions"].number == 2
    assert done["versions"].number == 1, "the champion went"
    left = size - sum(f.stat().st_size for f in files.rglob("*") if f.is_file())
    assert left == done["versions"].size + done["reports_in_mlflow"].size > 1000
    assert not [*files.rglob(f"*{found[0].run_id}*")]
    assert [v.model_id for v in registered(registry, "AAA")] == ["champion", "newest"]
    for name in ("champion", "newest"):
        registry.load("AAA", name)
    with pytest.raises(RegistryError, match="recorded but not in MLflow"):
        registry.load("AAA", "old")
    assert not any(one.number for one in remove(registry, "AAA", [], later, dry_run=False).values())
