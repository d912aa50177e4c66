"""Outages of MLflow: an unreachable server, and a real one killed and restarted; nothing is registered twice."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, RESOURCE_DOES_NOT_EXIST, UNAUTHENTICATED
from requests import HTTPError

from quantum_training.definitions import build_defs
from quantum_training.lifecycle.evaluation.leakage import skill_record
from quantum_training.resources.faults import is_transient, remedy
from quantum_training.resources.registry.errors import RegistryOutage
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training_tests.support.platforms import MlflowServer

FIRST, LAST = "AAA|2020-01-06", "AAA|2020-01-13"
SEEDS = int(os.environ.get("QT_OUTAGES", "3"))


def versions(registry: ModelRegistry) -> list[str]:
    registered_versions = registry.client().search_model_versions("name = 'AAA'")
    return sorted(v.tags["model_id"] for v in registered_versions)


def test_an_unreachable_server_is_named_with_symbol_and_remedy(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry, calls = ModelRegistry(tracking_uri="http://127.0.0.1:9"), []
    real = MlflowClient.get_model_version_by_alias

    def counted(*arguments):
        calls.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(MlflowClient, "get_model_version_by_alias", counted)
    with pytest.raises(RegistryOutage, match=r"^AAA: MLflow at http://127.0.0.1:9 failed in target: ") as error:
        registry.aliases.move("AAA", {"champion": "id-1"})
    assert len(calls) == 1, "a request that MLflow's client gave up is not repeated"
    assert "then run this again: what was registered is not registered twice" in str(error.value)
    assert is_transient(error.value)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (MlflowException("not authenticated", error_code=UNAUTHENTICATED), "Give the name and password"),
        (MlflowException("Forbidden", error_code=PERMISSION_DENIED), "Let this user read and write there"),
        (HTTPError("403 Client Error: Forbidden for url: http://m/x"), "Let this user read and write there"),
        (MlflowException("failures: An error occurred (AccessDenied) when"), "Let this user read and write there"),
        (MlflowException("failures: 401 Client Error: "), "Give the name and password"),
        (MlflowException("failures: 404 Client Error: "), None),
        (MlflowException("no such run", error_code=RESOURCE_DOES_NOT_EXIST), None),
    ],
)
def test_missing_permissions_are_no_fault_of_the_version(error, advice):
    answer = remedy(error)
    assert answer is None if advice is None else answer.startswith(advice)


@pytest.mark.long
@pytest.mark.usefixtures("skill_not_measured")
def test_a_champion_that_cannot_be_read_during_an_outage_is_not_rolled_back(build_project, small, monkeypatch):
    project = build_project(small).market_data()
    monkeypatch.setattr("quantum_training.assets.step_retries.FIRST_WAIT_SECONDS", 0.01)
    before = project.run("weekly_cycle", FIRST, "AAA|2020-01-27")
    assert before.success, [
        e.step_failure_data.error.to_string()[:2000] for e in before.all_events if e.is_step_failure
    ]
    record = project.store.read_record("champion", "AAA", "2020-01-27")
    assert record["champion"] is not None
    client = project.registry.client()
    number = project.registry.find("AAA", record["model_id"]).number
    folder = Path(url2pathname(urlsplit(client.get_model_version_download_uri("AAA", str(number))).path))
    (file,) = folder.rglob("booster.json")
    moved = file.rename(file.with_suffix(".kept"))
    file.symlink_to(file)  # as a file of a disk that does not answer: there, but not to be read
    stored, head = project.stored(), project.ledger.head("AAA")
    result = project.run("weekly_cycle", "AAA|2020-02-03")
    assert not result.success
    errors = str([e.step_failure_data.error for e in result.all_events if e.is_step_failure])
    assert "AAA: MLflow at sqlite:///" in errors
    assert "then run this again" in errors
    assert project.ledger.head("AAA") == head
    assert not [
        f for f in project.stored() if f not in stored and f.startswith(("shadow_scores", "champion", "rollout"))
    ]
    file.unlink()
    moved.rename(file)
    assert project.run("weekly_cycle", "AAA|2020-02-03").success
    assert project.store.read_record("champion", "AAA", "2020-02-03")["verdict"] != "ROLLBACK"


@pytest.mark.usefixtures("skill_not_measured")
def test_a_lost_response_registers_no_duplicate(build_project, small, monkeypatch):
    """MLflow's client repeats a request whose response was lost, although the server has already processed it."""
    project, real = build_project(small).market_data(), {}
    for name in ("create_run", "create_model_version"):
        real[name] = getattr(MlflowClient, name)

        def twice(self, *arguments, _name=name, **options):
            real[_name](self, *arguments, **options)
            return real[_name](self, *arguments, **options)

        monkeypatch.setattr(MlflowClient, name, twice)
    assert project.run("weekly_cycle", FIRST).success
    model_ids = versions(project.registry)
    assert len(model_ids) == len({*model_ids}) == 2
    client = project.registry.client()
    experiment = client.get_experiment_by_name("AAA").experiment_id
    assert sorted(r.info.status for r in client.search_runs([experiment])) == ["FINISHED"] * 2 + ["KILLED"] * 2


@pytest.fixture
def server(tmp_path: Path, empty_mlflow: Path) -> Iterator[MlflowServer]:
    with ExitStack() as stack:
        shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
        yield MlflowServer(tmp_path, stack).start().ready()


def disturbed(server: MlflowServer, away: Callable[[], float], moment: Callable[[], float], most: int) -> tuple:
    """Kill the server at most so often, each time after `moment()` seconds, and start it `away()` seconds later."""
    over, killed = threading.Event(), []

    def run() -> None:
        for _ in range(most):
            if over.wait(moment()):
                return
            server.kill()
            killed.append(time.monotonic())
            time.sleep(away())
            server.start()

    thread = threading.Thread(target=run)
    thread.start()
    return over, thread, killed


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize(("seconds", "most"), [(60, 1), (0, 6)], ids=["away for 60 s", "killed again and again"])
def test_a_weekly_cycle_ends_in_the_same_state_after_outages_of_the_server(
    build_project, small, server, seconds, most, seed
):
    reference = build_project(small).market_data()
    for name, recipe in reference.settings.recipes.items():
        skill_record(reference.store, name, recipe)
    other = build_project(small)
    shutil.copytree(reference.store.root, other.store.root)
    begun = time.monotonic()
    assert reference.run("weekly_cycle", FIRST, LAST).success
    length = time.monotonic() - begun

    registry = ModelRegistry(tracking_uri=server.url)
    definitions = build_defs(other.settings, {"store": other.store, "registry": registry})
    project, rng = replace(other, registry=registry, definitions=definitions), random.Random(f"{most} {seed}")
    over, thread, killed = disturbed(server, lambda: seconds, lambda: rng.uniform(0, length / most / 3), most)
    begun, runs = time.monotonic(), 0
    try:
        for runs in range(1, 4):  # noqa: B007 - as Dagster starts a run again that failed
            result = project.run("weekly_cycle", FIRST, LAST)
            if result.success:
                break
            print("FAILED", [e.step_failure_data.error.message[:400] for e in result.all_events if e.is_step_failure])
    finally:
        over.set()
        thread.join()
    print(
        f"OUTAGE of MLflow {seconds} s, seed {seed}: killed {len(killed)} times, ended right in run {runs}, "
        f"{time.monotonic() - begun:.0f} s for {length:.0f} s"
    )
    assert result.success
    assert killed
    server.ready()
    assert versions(registry) == versions(reference.registry)
    assert project.stored() == reference.stored()
    assert project.ledger.head("AAA") == reference.ledger.head("AAA")
    client = registry.client()
    by_number = {int(v.version): v.tags["model_id"] for v in client.search_model_versions("name = 'AAA'")}
    numbers = reference.registry.client().search_model_versions("name = 'AAA'")
    same = {int(v.version): v.tags["model_id"] for v in numbers}
    aliases = {alias: by_number[n] for alias, n in registry.aliases.of("AAA").items()}
    assert aliases == {alias: same[n] for alias, n in reference.registry.aliases.of("AAA").items()}
    experiment = client.get_experiment_by_name("AAA").experiment_id
    assert not client.search_runs([experiment], "attributes.status = 'RUNNING'")
