"""Dagster's runs as the service shows them: what they are for, how far they are, how they ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pydantic import BaseModel, Field

from quantum_training.resources.run_origin import ACTOR_TAG, LAUNCHED_BY, RE_EXECUTION_OF, REASON_TAG, REQUEST_TAG
from quantum_training.service.dagster_client import DagsterOutage, outage_problem
from quantum_training.service.problems import Problem
from quantum_training.service.reading.dated import page, utc_of_seconds
from quantum_training.service.state import State
from quantum_training.settings.paths import without_password

PARTITION_TAGS = ("dagster/partition", "dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
OVER = frozenset({"SUCCESS", "FAILURE", "CANCELED"})
ACTIVE = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")
MESSAGE_LENGTH = 500
MOST_QUEUED = 500
"""Queued runs that are counted at most."""
MOST_ASKED = 200
"""Newest runs, nested ones included, among which those of an address are looked for."""


class RunRow(BaseModel):
    """A run of Dagster."""

    run_id: str = Field(examples=["9e9ea9ec-231f-4b2c-8915-24fb75c01c83"])
    job: str = Field(examples=["retrain"])
    status: str = Field(
        description="QUEUED, NOT_STARTED, STARTING, STARTED, CANCELING, SUCCESS, FAILURE or CANCELED.",
        examples=["STARTED"],
    )
    is_over: bool
    symbol: str | None = Field(description="Symbol of its tags or its partition; null if it has several.")
    partitions: list[str] = Field(description="Its partition, or the first and the last one.")
    actor: str | None = Field(description="Who started it through the service.")
    reason: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    duration_seconds: float | None = Field(description="Since its start, until its end or now.")
    url: str = Field(description="Its page in Dagster.")


class ScheduleRow(BaseModel):
    """A schedule of Dagster."""

    name: str = Field(examples=["weekly_cycle_schedule"])
    cron: str = Field(description="When it ticks, UTC.", examples=["0 2 * * 1"])
    running: bool = Field(description="Is it switched on?")
    next_tick: datetime | None = Field(description="Null of one that is off.")


class Step(BaseModel):
    """A step of a run."""

    name: str
    status: str | None
    started_at: datetime | None
    ended_at: datetime | None


class RunDetail(RunRow):
    """A run with its steps and, if it failed, why."""

    can_be_stopped: bool
    progress: float = Field(description="Share of its steps that are over, in per cent.", examples=[50.0])
    steps: list[Step]
    config: str = Field(description="Its config as YAML.")
    failure: str | None = Field(description="The first message of its failure.")


def run_page(state: State, limit: int, cursor: str | None, statuses: list[str], job: str | None) -> dict[str, Any]:
    """The newest runs. cursor: only older ones than this run. Problem 503 without the webserver."""
    try:
        runs = state.dagster.runs(limit, cursor, statuses=statuses, job=job)
    except DagsterOutage as error:
        raise outage_problem(error) from error
    return page([run_row(state, run) for run in runs], datetime.now(UTC))


def run_detail(state: State, run_id: str) -> dict[str, Any]:
    """The fields of RunDetail. Problem 404 if there is no such run, 503 without the webserver."""
    try:
        run = state.dagster.run(run_id)
        failure = state.dagster.failure(run_id) if run and run["status"] == "FAILURE" else None
    except DagsterOutage as error:
        raise outage_problem(error) from error
    if run is None:
        rule, remedy = "a run in an address is one of Dagster's", "see /api/v2/runs"
        raise Problem(404, f"there is no run {run_id}", rule, remedy)
    steps = [
        {
            "name": step["stepKey"],
            "status": step["status"],
            "started_at": utc_of_seconds(step["startTime"]),
            "ended_at": utc_of_seconds(step["endTime"]),
        }
        for step in run["stepStats"]
    ]
    row = run_row(state, run)
    over = sum(step["ended_at"] is not None for step in steps)
    return {
        **row,
        "can_be_stopped": run["canTerminate"],
        "progress": 100.0 if row["is_over"] else 100.0 * over / max(len(steps), 1),
        "steps": steps,
        "config": run["runConfigYaml"],
        "failure": without_password(failure)[:MESSAGE_LENGTH] if failure else None,
    }


def run_row(state: State, run: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of RunRow of a run of GraphQL."""
    tags = _tags(run)
    partitions = [tags[tag] for tag in PARTITION_TAGS if tag in tags]
    started, ended = utc_of_seconds(run["startTime"]), utc_of_seconds(run["endTime"])
    until = ended or datetime.now(UTC)
    return {
        "run_id": run["runId"],
        "job": run["jobName"],
        "status": run["status"],
        "is_over": run["status"] in OVER,
        "symbol": tags.get("symbol") or _symbol_of(partitions),
        "partitions": partitions,
        "actor": tags.get(ACTOR_TAG),
        "reason": tags.get(REASON_TAG),
        "created_at": utc_of_seconds(run["creationTime"]),
        "started_at": started,
        "ended_at": ended,
        "duration_seconds": (until - started).total_seconds() if started else None,
        "url": state.dagster.run_url(run["runId"]),
    }


def _tags(run: Mapping[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["tags"]}


def _symbol_of(partitions: list[str]) -> str | None:
    symbols = {partition.partition("|")[0] for partition in partitions if "|" in partition}
    return symbols.pop() if len(symbols) == 1 else None


def nested_runs(state: State, run_id: str, limit: int) -> list[dict[str, Any]]:
    """The newest runs that a run has carried out, newest first. DagsterOutage without the webserver.

    limit: how many runs with its tag are read; re-executions, which have it too, are then left out.
    """
    runs = state.dagster.runs(limit, tags={LAUNCHED_BY: run_id})
    return [run for run in runs if RE_EXECUTION_OF not in _tags(run)]


class RequestedRun(NamedTuple):
    """A run that a request at an address has started, and the nested runs that it carries out."""

    run: Mapping[str, Any]
    nested: list[str]


def runs_asked_at(state: State, address: str) -> list[RequestedRun]:
    """The newest runs that were asked for at this address, newest first. DagsterOutage without the webserver."""
    runs = state.dagster.runs(MOST_ASKED, tags={REQUEST_TAG: address})
    parents = {run["runId"]: _tags(run).get(LAUNCHED_BY) for run in runs}
    return [
        RequestedRun(run, [nested for nested, parent in parents.items() if parent == run["runId"]])
        for run in runs
        if parents[run["runId"]] is None
    ]


def queued_runs(state: State) -> int:
    """How many runs wait in Dagster's queue, MOST_QUEUED at most. DagsterOutage without the webserver."""
    return len(state.dagster.runs(MOST_QUEUED, statuses=("QUEUED", "NOT_STARTED")))


def schedule_page(state: State) -> dict[str, Any]:
    """All schedules, by name. Problem 503 without the webserver."""
    try:
        schedules = state.dagster.schedules()
    except DagsterOutage as error:
        raise outage_problem(error) from error
    rows = [
        {**row, "next_tick": utc_of_seconds(row["next_tick"])} for row in sorted(schedules, key=lambda row: row["name"])
    ]
    return page(rows, datetime.now(UTC))
