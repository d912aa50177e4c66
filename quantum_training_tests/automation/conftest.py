"""Real processes on loopback for tests: each is stopped, with all its children, when the test ends, however it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


def wait_for(what: str, ready: Callable[[], Any], seconds: float, hint: Callable[[], str] = str) -> Any:
    """The first true answer of `ready`, asked twice a second; AssertionError with `hint` after that many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := ready():
            return answer
        time.sleep(0.5)
    raise AssertionError(f"no {what} within {seconds:g} s\n{hint()}")


def stop(process: subprocess.Popen) -> None:
    """End the process and every process of its group: politely, then for sure."""
    for signal_, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal_)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@dataclass
class Platform:
    """Code server, webserver and daemon over one DAGSTER_HOME, as three processes."""

    home: Path
    stack: ExitStack
    processes: dict[str, subprocess.Popen] = field(default_factory=dict)
    url: str = ""

    code_port: int = 0

    def start(self, environment: dict[str, str]) -> None:
        """Start all three; returns at once."""
        web = free_port()
        self.url = f"http://127.0.0.1:{web}"
        self.code_server(environment)
        self._start(
            "webserver", ["dagster-webserver", *self._workspace, "-h", "127.0.0.1", "-p", str(web)], environment
        )
        self.daemon(environment)

    def code_server(self, environment: dict[str, str]) -> None:
        """Start the code server, again on the port that it had, and wait until it listens."""
        self.code_port = self.code_port or free_port()
        server = {"host": "127.0.0.1", "port": self.code_port, "location_name": "quantum_training.definitions"}
        (self.home / "workspace.yaml").write_text(json.dumps({"load_from": [{"grpc_server": server}]}))
        name = ["-m", "quantum_training.definitions", "--location-name", server["location_name"]]
        address = ["-h", "127.0.0.1", "-p", str(self.code_port)]
        self._start("code-server", ["dagster", "code-server", "start", *name, *address], environment)
        wait_for("code server", lambda: _listens(self.code_port), 60, self.said)

    def daemon(self, environment: dict[str, str]) -> None:
        """Start the daemon; returns at once."""
        self._start("daemon", ["dagster-daemon", "run", *self._workspace], environment)

    @property
    def _workspace(self) -> list[str]:
        return ["-w", str(self.home / "workspace.yaml")]

    def ready(self) -> None:
        """Wait until the webserver answers and has the code."""
        wait_for("webserver", lambda: "RepositoryConnection" in self._typename(), 60, self.said)

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data that the webserver's GraphQL gives, or an AssertionError with what it says."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        assert not answer.get("errors"), answer["errors"]
        return answer["data"]

    def said(self) -> str:
        """The last lines of each process's log, and whether it still runs."""
        return "\n".join(
            f"--- {name}, exit status {process.poll()}\n{(self.home / f'{name}.log').read_text()[-3000:]}"
            for name, process in self.processes.items()
        )

    def _start(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        program = str(Path(sys.executable).with_name(command[0]))
        log = self.stack.enter_context((self.home / f"{name}.log").open("a"))
        process = subprocess.Popen(
            [program, *command[1:]],
            env={**os.environ, **environment},
            cwd=self.home,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.stack.callback(stop, process)
        self.processes[name] = process

    def _typename(self) -> str:
        with suppress(OSError):
            return self.ask("{repositoriesOrError {__typename}}")["repositoriesOrError"]["__typename"]
        return ""


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform over a new DAGSTER_HOME, not started yet; what it starts is stopped at the end."""
    with ExitStack() as stack:
        yield Platform(tmp_path_factory.mktemp("platform"), stack)


@pytest.fixture
def wait() -> Callable[..., Any]:
    """`wait_for`, for tests."""
    return wait_for


@pytest.fixture(scope="session")
def free_ports() -> Callable[[int], list[int]]:
    """`free_ports(n)`: so many ports of loopback that nobody listens on now."""
    return lambda count: [free_port() for _ in range(count)]
