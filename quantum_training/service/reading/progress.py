"""How far a run is, and what it has done: from its state in Dagster, its log, and the events of its trainings."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from quantum_training.service.dagster_client import DagsterOutage, outage_problem
from quantum_training.service.problems import Problem
from quantum_training.service.reading.events import Training, trainings
from quantum_training.service.reading.run_logs import TrainingPoint
from quantum_training.service.reading.runs import RunDetail, RunRow, nested_runs, run_detail, run_row
from quantum_training.service.state import State

MOST_NESTED, NEWEST_NESTED = 200, 10
"""Runs with the tag that are read for a result, and for the nested run that goes on."""


class Progress(BaseModel):
    """The state of a run. What only an agent's training has is null for others."""

    run_id: str
    job: str = Field(examples=["retrain"])
    symbol: str | None = Field(description="Null if the run has several.")
    status: str = Field(examples=["STARTED"])
    is_over: bool
    percent: float = Field(ge=0, le=100, description="Of an agent's steps, else of the steps of the run.")
    message: str = Field(description="In words.", examples=["Episode 45/100"])
    episode: int | None = None
    episodes: int | None = Field(None, description="Expected number of episodes.")
    step: int | None = None
    steps: int | None = None
    metrics: dict[str, float] = Field({}, description="Newest reward and losses of an agent's training, by name.")
    curve: list[TrainingPoint] = Field([], description="An agent's training so far, oldest first.")


class RunResult(BaseModel):
    """What a run has done."""

    run: RunDetail
    runs: list[RunRow] = Field(description="The runs that it carried out.")
    trainings: list[Training]


def progress_of(state: State, run_id: str) -> Progress:
    """The progress of a run and of those that it carries out. Problem 404 if there is none, 503 without Dagster."""
    run = run_detail(state, run_id)
    try:
        points = state.logs.points(run_id)
        if not points:
            newest_nested = nested_runs(state, run_id, NEWEST_NESTED)[:1]
            points = [point for other in newest_nested for point in state.logs.points(other["runId"])]
    except DagsterOutage as error:
        raise outage_problem(error) from error
    progress = Progress(
        run_id=run_id,
        job=run["job"],
        symbol=run["symbol"],
        status=run["status"],
        is_over=run["is_over"],
        percent=run["progress"],
        message=f"{run['job']} is {run['status'].lower()}",
        curve=points,
    )
    if not points:
        return progress
    newest = points[-1]
    update: dict[str, Any] = {**newest.model_dump(), "message": f"Episode {newest.episode}/{newest.episodes}"}
    if not run["is_over"]:
        update["percent"] = 100.0 * newest.step / max(newest.steps, 1)
    return progress.model_copy(update=update)


def result_of(state: State, run_id: str) -> dict[str, Any]:
    """The fields of RunResult. Problem 409 until the run is over."""
    run = run_detail(state, run_id)
    if not run["is_over"]:
        rule, remedy = "a result is that of a run that is over", f"see /api/v2/runs/{run_id}/progress"
        raise Problem(409, f"the run is {run['status']}", rule, remedy)
    try:
        nested = [run_row(state, row) for row in nested_runs(state, run_id, MOST_NESTED)]
    except DagsterOutage as error:
        raise outage_problem(error) from error
    ids = {run_id, *(row["run_id"] for row in nested)}
    done = [training for training in trainings(state, [*state.settings.symbols]) if training.run_id in ids]
    return {"run": run, "runs": nested, "trainings": done}
