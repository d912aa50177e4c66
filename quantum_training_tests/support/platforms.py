"""Dagster's services and an MLflow server as processes of a test, and queries of the webserver's GraphQL."""

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import yaml
from dagster._core.test_utils import freeze_time
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget

from quantum_training_tests.support.processes import free_port, healthy, listens, program, start, wait_for

LOCATION = "quantum_training.definitions"
LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""


def query_graphql(url: str, query: str, **variables: Any) -> dict[str, Any]:
    """The data that the GraphQL of the webserver at that address gives, or an AssertionError with what it says."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.load(response)
    assert not answer.get("errors"), answer["errors"]
    return answer["data"]


def launch(url: str, location: str, job: str, config: dict[str, Any], tags: dict[str, str]) -> str:
    """Launch a job as the UI does. Returns the id of its run."""
    selector = {"repositoryName": "__repository__", "repositoryLocationName": location, "pipelineName": job}
    run_tags = [{"key": key, "value": value} for key, value in tags.items()]
    params = {"selector": selector, "runConfigData": config, "mode": "default", "executionMetadata": {"tags": run_tags}}
    response = query_graphql(url, LAUNCH, params=params)["launchRun"]
    assert response["__typename"] == "LaunchRunSuccess", response
    return response["run"]["runId"]


@dataclass
class Platform:
    """Code server, webserver and daemon over one DAGSTER_HOME, as three processes."""

    home: Path
    stack: ExitStack
    processes: dict[str, subprocess.Popen] = field(default_factory=dict)
    url: str = ""
    code_port: int = 0

    def configure(
        self, settings: Mapping[str, Any], dagster_yaml: str, monkeypatch: pytest.MonkeyPatch, **names: str
    ) -> dict[str, str]:
        """Write the settings and dagster.yaml into the home. The environment variables, which this process has, too."""
        (self.home / "settings.yaml").write_text(yaml.safe_dump({**settings}))
        (self.home / "dagster.yaml").write_text(dagster_yaml)
        config = {"DAGSTER_HOME": str(self.home), "QUANTUM_TRAINING_CONFIG": str(self.home / "settings.yaml")}
        for name, value in (environment := {**config, **names}).items():
            monkeypatch.setenv(name, value)
        return environment

    def start(self, environment: dict[str, str]) -> None:
        """Start all three; returns at once."""
        web = free_port()
        self.url = f"http://127.0.0.1:{web}"
        self.code_server(environment)
        self.run("webserver", ["dagster-webserver", *self._code, "-h", "127.0.0.1", "-p", str(web)], environment)
        self.daemon(environment)

    def code_server(self, environment: dict[str, str]) -> None:
        """Start the code server, again on the port that it had, and wait until it listens."""
        self.code_port = self.code_port or free_port()
        server = {"host": "127.0.0.1", "port": self.code_port, "location_name": LOCATION}
        (self.home / "workspace.yaml").write_text(json.dumps({"load_from": [{"grpc_server": server}]}))
        command = ["dagster", "api", "grpc", "-m", LOCATION, "--location-name", LOCATION]
        self.run("code-server", [*command, "-h", "127.0.0.1", "-p", str(self.code_port)], environment)
        wait_for("code server", lambda: listens(self.code_port), 60, self.log_tails)

    def daemon(self, environment: dict[str, str], name: str = "daemon") -> None:
        """Start a daemon; returns at once."""
        self.run(name, ["dagster-daemon", "run", *self._code], environment)

    def switch_on(self, instance: dg.DagsterInstance, kind: str, name: str, at: pd.Timestamp | None = None) -> None:
        """Start a "sensor" or a "schedule" as of now, or of a time before: a tick that was missed is made up for."""
        target = GrpcServerTarget("127.0.0.1", self.code_port, None, LOCATION)
        with WorkspaceProcessContext(instance, target) as process:
            location = process.create_request_context().get_code_location(LOCATION)
            repository = location.get_repository("__repository__")
            with freeze_time((at or pd.Timestamp.now("UTC")).to_pydatetime()):
                getattr(instance, f"start_{kind}")(getattr(repository, f"get_{kind}")(name))

    def ready(self) -> None:
        """Wait until the webserver answers and has the code."""
        wait_for("webserver", self._has_loaded_code, 60, self.log_tails)

    def query_graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """`query_graphql` of this webserver."""
        return query_graphql(self.url, query, **variables)

    def log_tails(self) -> str:
        """The last lines of each process's log, and whether it still runs."""
        return "\n".join(
            f"--- {name}, exit status {process.poll()}\n{(self.home / f'{name}.log').read_text()[-3000:]}"
            for name, process in self.processes.items()
        )

    @property
    def _code(self) -> list[str]:
        return ["-w", str(self.home / "workspace.yaml")]

    def run(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        """Start a command of the virtual environment as one more process; returns at once."""
        arguments = [program(command[0]), *command[1:]]
        log = self.home / f"{name}.log"
        self.processes[name] = start(self.stack, arguments, log, {**os.environ, **environment}, self.home)

    def _has_loaded_code(self) -> bool:
        with suppress(OSError):
            repositories = self.query_graphql("{repositoriesOrError {__typename}}")["repositoriesOrError"]
            return repositories["__typename"] == "RepositoryConnection"
        return False


@dataclass
class MlflowServer:
    """One MLflow server with SQLite and artefacts of its own in `home`, which hands the artefacts through."""

    home: Path
    stack: ExitStack
    artifacts: tuple[str, ...] = ()
    """Options that say where the artefacts go; the folder `served` without."""
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def served(self) -> Path:
        """The folder of its artefacts."""
        return self.home / "served"

    def start(self) -> "MlflowServer":
        """Start it, again on its port; returns at once."""
        store = ["--backend-store-uri", f"sqlite:///{self.home}/mlflow.db"]
        artifact_options = self.artifacts or ("--artifacts-destination", str(self.served))
        address = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        command = [program("mlflow"), "server", *store, *artifact_options, *address]
        self.process = start(self.stack, command, self.home / "server.log", environment, self.home)
        return self

    def kill(self) -> None:
        """SIGKILL to it and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def ready(self) -> "MlflowServer":
        """Wait until it answers."""
        log = self.home / "server.log"
        wait_for("MLflow server", lambda: healthy(f"{self.url}/health"), 180, lambda: log.read_text()[-3000:])
        return self
