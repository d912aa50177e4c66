"""Dagster's runs through the GraphQL of its webserver, the one way in which the service starts, reads and stops them.

The webserver has loaded the definitions, checks the config of a run before it starts it, and knows the launcher; so
this process loads neither Dagster nor the definitions. Without the webserver everything that is stored can be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from quantum_training.service.problems import Problem

READ_SECONDS, LAUNCH_SECONDS = 5.0, 60.0
"""A launch loads the job and checks its config, which takes a webserver seconds after its start."""
RUN = "runId jobName status creationTime startTime endTime tags { key value }"
RUNS = f"""query Runs($filter: RunsFilter, $cursor: String, $limit: Int) {{
  runsOrError(filter: $filter, cursor: $cursor, limit: $limit) {{ ... on Runs {{ results {{ {RUN} }} }} }} }}"""
RUN_DETAIL = f"""query Run($id: ID!) {{ runOrError(runId: $id) {{ ... on Run {{
  {RUN} runConfigYaml canTerminate stepStats {{ stepKey status startTime endTime }} }} }} }}"""
FAILURES = """query Failures($id: ID!) { runOrError(runId: $id) { ... on Run { eventConnection(limit: 1000) { events {
  ... on ExecutionStepFailureEvent { error { message } } ... on RunFailureEvent { message } } } } } }"""
MESSAGES = """query Messages($id: ID!, $after: String) { runOrError(runId: $id) { ... on Run {
  eventConnection(afterCursor: $after, limit: 1000) { cursor hasMore events {
  ... on LogMessageEvent { message } } } } } }"""
LAUNCH = """mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
  ... on LaunchRunSuccess { run { runId } }
  ... on RunConfigValidationInvalid { errors { message } } } }"""
TERMINATE = """mutation Stop($id: String!) { terminateRun(runId: $id) { __typename } }"""
REPOSITORIES = """query { repositoriesOrError { ... on RepositoryConnection { nodes {
  name location { name } jobs { name } } } } }"""
SENSORS = """query { repositoriesOrError { ... on RepositoryConnection { nodes { sensors {
  name sensorState { status ticks(limit: 1) { timestamp } } } } } } }"""
SCHEDULES = """query { repositoriesOrError { ... on RepositoryConnection { nodes { schedules {
  name cronSchedule scheduleState { status } futureTicks(limit: 1) { results { timestamp } } } } } } }"""
DAEMONS = """query { instance { daemonHealth { allDaemonStatuses {
  daemonType required healthy lastHeartbeatTime } } } }"""


class DagsterOutage(Exception):  # noqa: N818 - like a timeout: the request was right
    """The webserver does not answer. was_sent: it may have the request."""

    was_sent = False


def outage_problem(error: DagsterOutage) -> Problem:
    """503: nothing can be said about runs now."""
    return Problem(503, str(error), "Dagster's webserver is in reach", "start it (make ui) or mend service.dagster_url")


@dataclass(frozen=True)
class Launch:
    """A run to start. tags: as Dagster has them. assets: those of an asset job to run; empty: all."""

    job: str
    config: Mapping[str, Any]
    tags: Mapping[str, str]
    assets: Sequence[str] = ()


@dataclass(frozen=True)
class DagsterClient:
    """The webserver at `url`. ui_url: where people open it."""

    url: str
    ui_url: str

    @cached_property
    def _http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url.rstrip("/"), timeout=READ_SECONDS, follow_redirects=False)

    def run_url(self, run_id: str) -> str:
        """The run's page in Dagster."""
        return f"{self.ui_url.rstrip('/')}/runs/{run_id}"

    @retry(
        retry=retry_if_exception_type(DagsterOutage),
        stop=stop_after_attempt(2),
        wait=wait_random_exponential(multiplier=0.1, max=0.5),
        reraise=True,
    )
    def _read(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of a query, which is asked twice at most. DagsterOutage without an answer."""
        return self._ask(query, READ_SECONDS, variables)

    def _ask(self, query: str, seconds: float, variables: Mapping[str, Any]) -> dict[str, Any]:
        try:
            response = self._http.post("/graphql", json={"query": query, "variables": variables}, timeout=seconds)
            response.raise_for_status()
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            outage = DagsterOutage(f"Dagster's webserver does not answer ({type(error).__name__})")
            outage.was_sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            raise outage from error
        if answer.get("errors"):
            raise DagsterOutage("Dagster's webserver does not understand the query of this version")
        data: dict[str, Any] = answer["data"]
        return data

    def runs(
        self,
        limit: int,
        cursor: str | None = None,
        tags: Mapping[str, str] | None = None,
        statuses: Sequence[str] = (),
        job: str | None = None,
    ) -> list[dict[str, Any]]:
        """The newest runs, newest first. cursor: only those before this run id. tags, statuses, job: only those."""
        chosen: dict[str, Any] = {}
        if tags:
            chosen["tags"] = [{"key": key, "value": value} for key, value in tags.items()]
        if statuses:
            chosen["statuses"] = [*statuses]
        if job:
            chosen["pipelineName"] = job
        answer = self._read(RUNS, filter=chosen, cursor=cursor, limit=limit)["runsOrError"]
        runs: list[dict[str, Any]] = answer.get("results", [])
        return runs

    def run(self, run_id: str) -> dict[str, Any] | None:
        """A run with its steps; None if there is none."""
        run: dict[str, Any] = self._read(RUN_DETAIL, id=run_id)["runOrError"]
        return run or None

    def failure(self, run_id: str) -> str | None:
        """The message of the first failure among a run's first 1000 events; None without one."""
        run = self._read(FAILURES, id=run_id)["runOrError"]
        events = run.get("eventConnection", {}).get("events", [])
        messages = (event.get("message") or (event.get("error") or {}).get("message") for event in events)
        return next(filter(None, messages), None)

    def messages(self, run_id: str, cursor: str | None = None) -> tuple[list[str], str | None]:
        """The lines that a run has logged after a cursor, oldest first, and the cursor behind them.

        At most those of the next 10,000 events.
        """
        lines: list[str] = []
        for _ in range(10):
            page = self._read(MESSAGES, id=run_id, after=cursor)["runOrError"].get("eventConnection")
            if page is None:
                break
            lines += [event["message"] for event in page["events"] if event.get("message")]
            cursor = page["cursor"]
            if not page["hasMore"]:
                break
        return lines, cursor

    def launch(self, launch: Launch) -> str:
        """Start a run and return its id. Sent once: see starts.py for what happens if the answer is lost.

        Problem 422 if Dagster refuses its config; DagsterOutage without an answer.
        """
        repository = self._repository(launch.job)
        assets = [{"path": [asset]} for asset in launch.assets] or None
        params = {
            "selector": {**repository, "pipelineName": launch.job, "assetSelection": assets},
            "runConfigData": launch.config,
            "mode": "default",
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in launch.tags.items()]},
        }
        answer = self._ask(LAUNCH, LAUNCH_SECONDS, {"params": params})["launchRun"]
        if answer["__typename"] == "LaunchRunSuccess":
            run_id: str = answer["run"]["runId"]
            return run_id
        reasons = "; ".join(error["message"].split("\n")[0] for error in answer.get("errors", []))
        detail = f"Dagster refuses the run: {reasons or answer['__typename']}"
        raise Problem(422, detail, f"the config of job {launch.job} is valid", "correct what detail names")

    def terminate(self, run_id: str) -> None:
        """Stop a run; one that is over stays as it is."""
        self._ask(TERMINATE, LAUNCH_SECONDS, {"id": run_id})

    def daemons(self) -> list[dict[str, Any]]:
        """Every daemon with `healthy` and `lastHeartbeatTime`."""
        statuses = self._read(DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
        return [status for status in statuses if status["required"]]

    def sensor_ticks(self) -> dict[str, float]:
        """When each running sensor was last evaluated, in seconds since 1970; one without a tick is left out."""
        nodes = self._read(SENSORS)["repositoriesOrError"].get("nodes", [])
        states = {sensor["name"]: sensor["sensorState"] for node in nodes for sensor in node["sensors"]}
        return {
            name: float(state["ticks"][0]["timestamp"])
            for name, state in states.items()
            if state["status"] == "RUNNING" and state["ticks"]
        }

    def schedules(self) -> list[dict[str, Any]]:
        """Name, cron, `running` and next tick in seconds since 1970 of each schedule; no tick of one that is off."""
        nodes = self._read(SCHEDULES)["repositoriesOrError"].get("nodes", [])
        return [
            {
                "name": schedule["name"],
                "cron": schedule["cronSchedule"],
                "running": (running := schedule["scheduleState"]["status"] == "RUNNING"),
                "next_tick": next((tick["timestamp"] for tick in schedule["futureTicks"]["results"] if running), None),
            }
            for node in nodes
            for schedule in node["schedules"]
        ]

    def _repository(self, job: str) -> dict[str, str]:
        nodes = self._read(REPOSITORIES)["repositoriesOrError"].get("nodes", [])
        for node in nodes:
            if job in {entry["name"] for entry in node["jobs"]}:
                return {"repositoryName": node["name"], "repositoryLocationName": node["location"]["name"]}
        raise DagsterOutage(f"Dagster's webserver has not loaded the job {job}")
