"""How far a run is, and what it has done: from its state in Dagster, its log, and the events of its trainings."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, Field

from quantum_training.service.dagster_client import DagsterOutage, outage_problem
from quantum_training.service.problems import Problem
from quantum_training.service.reading.events import Training, trainings
from quantum_training.service.reading.runs import RunDetail, RunRow, run_detail, run_row
from quantum_training.service.state import State

CARRIED_BY = "clm/launched_by"
"""Tag of a nested run: the run that carries it out (automation/run_launcher.py)."""
NESTED = 200
EPISODE = re.compile(r"\[episode ([\d,]+)/([\d,]+)\] step ([\d,]+)/([\d,]+), (.*)")
NUMBER = re.compile(r"([a-z ]+) (-?[\d.]+(?:e[+-]?\d+)?)(?=,|$)")


class Progress(BaseModel):
    """The state of a run. What only an agent's training has is null for others."""

    run_id: str
    status: str = Field(examples=["STARTED"])
    is_over: bool
    percent: float = Field(ge=0, le=100, description="Of an agent's steps, else of the steps of the run.")
    message: str = Field(description="In words.", examples=["Episode 45/100"])
    episode: int | None = None
    episodes: int | None = Field(None, description="Expected number of episodes.")
    step: int | None = None
    steps: int | None = None
    metrics: dict[str, float] = Field({}, description="Newest reward and losses of an agent's training, by name.")


class RunResult(BaseModel):
    """What a run has done."""

    run: RunDetail
    runs: list[RunRow] = Field(description="The runs that it carried out.")
    trainings: list[Training]


def progress_of(state: State, run_id: str) -> Progress:
    """The progress of a run and of those that it carries out. Problem 404 if there is none, 503 without Dagster."""
    run = run_detail(state, run_id)
    plain = Progress(
        run_id=run_id,
        status=run["status"],
        is_over=run["is_over"],
        percent=run["progress"],
        message=f"{run['job']} is {run['status'].lower()}",
    )
    if run["is_over"]:
        return plain
    try:
        lines = [*state.dagster.messages(run_id)]
        for nested in state.dagster.runs(1, tags={CARRIED_BY: run_id}):
            lines += state.dagster.messages(nested["runId"])
    except DagsterOutage as error:
        raise outage_problem(error) from error
    newest = next((match for line in reversed(lines) if (match := EPISODE.search(line))), None)
    return plain.model_copy(update=_of_agent(newest)) if newest else plain


def _of_agent(line: re.Match[str]) -> dict[str, Any]:
    episode, episodes, step, steps = (int(number.replace(",", "")) for number in line.groups()[:4])
    numbers = {name.strip().replace(" ", "_"): float(value) for name, value in NUMBER.findall(line[5])}
    return {
        "percent": 100.0 * step / max(steps, 1),
        "message": f"Episode {episode}/{episodes}",
        "episode": episode,
        "episodes": episodes,
        "step": step,
        "steps": steps,
        "metrics": {name: value for name, value in numbers.items() if "left" not in name},
    }


def result_of(state: State, run_id: str) -> dict[str, Any]:
    """The fields of RunResult. Problem 409 until the run is over."""
    run = run_detail(state, run_id)
    if not run["is_over"]:
        rule, remedy = "a result is that of a run that is over", f"see /api/v2/runs/{run_id}/progress"
        raise Problem(409, f"the run is {run['status']}", rule, remedy)
    try:
        nested = [run_row(state, row) for row in state.dagster.runs(NESTED, tags={CARRIED_BY: run_id})]
    except DagsterOutage as error:
        raise outage_problem(error) from error
    ids = {run_id, *(row["run_id"] for row in nested)}
    done = [training for training in trainings(state, [*state.settings.symbols]) if training.run_id in ids]
    return {"run": run, "runs": nested, "trainings": done}
