"""The app served in a thread or as a process, and a stand-in for Dagster's webserver that keeps what it is asked."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import uvicorn
from fastapi import FastAPI

from quantum_training.service.dagster_client import DagsterOutage, Launch
from quantum_training.service.streaming.server import Server
from quantum_training_tests.support.processes import free_port, healthy, program, start, wait_for
from quantum_training_tests.support.projects import Project
from quantum_training_tests.support.web_server import running

INSTANCE = {
    "telemetry": {"enabled": False},
    "run_coordinator": {"module": "dagster.core.run_coordinator", "class": "DefaultRunCoordinator"},
}
PASSWORD = "secret"  # pragma: allowlist secret


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The address of a server of the app. At its end it has stopped."""
    port = free_port()
    server = Server(uvicorn.Config(app, port=port, log_level="warning"), app.state.feed)
    with running(server):
        yield f"http://127.0.0.1:{port}"


class Platform:
    """The service as a process beside a real webserver of Dagster, over the home of a project. The stack stops both."""

    def __init__(self, stack: ExitStack, project: Project, folder: Path) -> None:
        web, port = free_port(), free_port()
        self.url, self.log = f"http://127.0.0.1:{port}", folder / "service.log"
        self._stack, self._home = stack, project.home
        (project.home / "dagster.yaml").write_text(json.dumps(INSTANCE))
        self._environment = {
            **os.environ,
            "DAGSTER_HOME": str(project.home),
            "QUANTUM_TRAINING_CONFIG": str(project.home / "settings.yaml"),
            "QUANTUM_TRAINING_STORE_ROOT": project.store.root,
            "QUANTUM_TRAINING_MLFLOW_TRACKING_URI": project.registry.tracking_uri,
            "QUANTUM_TRAINING_SERVICE__DAGSTER_URL": f"http://127.0.0.1:{web}",
            "QUANTUM_TRAINING_SERVICE__PORT": str(port),
        }
        command = [
            program("dagster-webserver"),
            "-m",
            "quantum_training.definitions",
            "-h",
            "127.0.0.1",
            "-p",
            str(web),
        ]
        start(stack, command, folder / "webserver.log", self._environment, self._home)

    def serve(self) -> subprocess.Popen:
        """Start the service and wait until it answers."""
        command = [program("python"), "-m", "quantum_training.service"]
        process = start(self._stack, command, self.log, self._environment, self._home)
        wait_for("service", lambda: healthy(f"{self.url}/alive"), 60, self.log.read_text)
        return process

    def wait_for_webserver(self) -> None:
        """Wait until the service reads runs from the webserver."""
        wait_for("webserver", lambda: self.get("/api/v2/runs").status_code == 200, 120, self.log.read_text)

    def get(self, path: str) -> httpx.Response:
        """The answer to a GET."""
        return httpx.get(f"{self.url}{path}", timeout=20)


@dataclass
class RecordingDagster:
    """Runs in memory. lost_answers: so many launches take place without an answer; down: nothing answers."""

    launches: list[Launch] = field(default_factory=list)
    stored: list[dict[str, Any]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    lost_answers: int = 0
    down: bool = False

    def run_url(self, run_id: str) -> str:
        return f"http://127.0.0.1:3000/runs/{run_id}"

    def launch(self, launch: Launch) -> str:
        self._require_up()
        self.launches.append(launch)
        run = {
            "runId": str(uuid4()),
            "jobName": launch.job,
            "status": "STARTED",
            "creationTime": 1_580_000_000.0 + len(self.stored),
            "startTime": 1_580_000_001.0,
            "endTime": None,
            "tags": [{"key": key, "value": value} for key, value in launch.tags.items()],
            "runConfigYaml": "ops: {}",
            "canTerminate": True,
            "stepStats": [],
        }
        self.stored.insert(0, run)
        if self.lost_answers:
            self.lost_answers -= 1
            error = DagsterOutage("no answer")
            error.was_sent = True
            raise error
        return str(run["runId"])

    def runs(
        self,
        limit: int,
        cursor: str | None = None,
        tags: Mapping[str, str] | None = None,
        statuses: Sequence[str] = (),
        job: str | None = None,
    ) -> list[dict[str, Any]]:
        self._require_up()
        wanted = {*(tags or {}).items()}
        return [
            run
            for run in self.stored
            if wanted <= {(tag["key"], tag["value"]) for tag in run["tags"]}
            and (not statuses or run["status"] in statuses)
            and job in (None, run["jobName"])
        ][:limit]

    def run(self, run_id: str) -> dict[str, Any] | None:
        self._require_up()
        return next((run for run in self.stored if run["runId"] == run_id), None)

    def failure(self, run_id: str) -> str | None:
        return f"it failed at postgresql://user:{PASSWORD}@host/db"

    def messages(self, run_id: str, cursor: str | None = None) -> tuple[list[str], str | None]:
        return self.lines[int(cursor or 0) :], str(len(self.lines))

    def terminate(self, run_id: str) -> None:
        self.end(run_id, "CANCELED")

    def sensor_ticks(self) -> dict[str, float]:
        self._require_up()
        return {"run_failure_sensor": 1_580_000_000.0}

    def schedules(self) -> list[dict[str, Any]]:
        self._require_up()
        weekly = {"name": "weekly_cycle_schedule", "cron": "0 2 * * 1", "running": True, "next_tick": 1_580_000_000.0}
        return [weekly, {"name": "drift_schedule", "cron": "0 1 * * *", "running": False, "next_tick": None}]

    def daemons(self) -> list[dict[str, Any]]:
        self._require_up()
        return [{"daemonType": "SENSOR", "required": True, "healthy": True, "lastHeartbeatTime": 1_580_000_000.0}]

    def end(self, run_id: str, status: str) -> None:
        """Let a run end."""
        run = self.run(run_id)
        assert run is not None
        run |= {"status": status, "endTime": 1_580_000_011.0, "canTerminate": False}

    def _require_up(self) -> None:
        if self.down:
            raise DagsterOutage("Dagster's webserver does not answer (ConnectError)")
