"""A stand-in for Dagster's webserver that keeps what it is asked to start; a real one is in test_processes.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from quantum_training.service.dagster_client import DagsterOutage, Launch

PASSWORD = "secret"  # pragma: allowlist secret


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

    def messages(self, run_id: str) -> list[str]:
        return self.lines

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
