"""S0, `/api/training/...`: health, jobs and cycle of the RL training service. What it called a model type is a recipe.

Its shadow: rl_shadow.py. Its drift: rl_drift.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import pandas as pd
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from quantum_training.lifecycle.data_end import data_end
from quantum_training.lifecycle.training.versions import recorded_versions
from quantum_training.service.dagster_client import DagsterOutage
from quantum_training.service.older.names import (
    MarketName,
    ModelType,
    older_order,
    recipe_named,
    symbol_named,
)
from quantum_training.service.problems import Problem
from quantum_training.service.reading.events import Training, trainings
from quantum_training.service.reading.health import health
from quantum_training.service.reading.progress import progress_of
from quantum_training.service.reading.runs import runs_asked_at
from quantum_training.service.routes.parameters import Week
from quantum_training.service.routes.starts import TRAINS, Sent
from quantum_training.service.starting import jobs
from quantum_training.service.starting.requests import CycleRequest, Person, Sentence, TrainRequest
from quantum_training.service.state import CurrentState, State

router = APIRouter(prefix="/api/training", tags=["older: RL training service"])
TRIGGER = f"{router.prefix}/jobs/trigger"
COMPONENTS = {
    "redis": "redis",
    "database": "database",
    "mlflow": "mlflow",
    "scheduler": "daemon",
    "data_source": "sources",
}
"""Our part by S0's component."""
REPORTED = {"succeeded": "completed"}


class Body(BaseModel):
    """Fields that this project does not know are left aside, as older clients send them."""

    model_config = ConfigDict(extra="ignore")

    symbol: MarketName | None = None
    actor: Person | None = None
    reason: Sentence | None = None


class TriggerBody(Body):
    """A training by hand."""

    model_type: ModelType
    trigger: str = Field("MANUAL", max_length=40, description="A request over the net is MANUAL, whatever it says.")


class CycleBody(Body):
    """A cycle of these symbols, by default all."""

    symbols: list[MarketName] = Field([], max_length=1000)
    week: Week | Literal["latest"] = "latest"


def job_of(training: Training, triggered: Mapping[str, datetime]) -> dict[str, Any]:
    """A training as S0 shows it. triggered: by run, when it was triggered; its job id is that of the answer then."""
    begun = triggered.get(training.run_id) or training.started_at or training.completed_at
    return {
        "job_id": _job_id(training.recipe, begun) if begun else training.job_id,
        "run_id": training.run_id,
        "model_type": training.recipe,
        "symbol": training.symbol,
        "trigger": training.trigger,
        "reason": training.reason,
        "status": REPORTED.get(training.status, training.status),
        "metrics": training.metrics,
        "model_version": training.model_id,
        "started_at": training.started_at,
        "completed_at": training.completed_at,
        "duration_seconds": training.duration_seconds,
    }


def _job_id(recipe: str, begun: datetime) -> str:
    return f"train_{recipe}_{begun:%Y%m%d_%H%M%S}"


def triggered_runs(state: State) -> dict[str, datetime]:
    """When each run was triggered, those that it carries out included; none without Dagster's webserver."""
    try:
        requested = runs_asked_at(state, TRIGGER)
    except DagsterOutage:
        return {}
    return {
        run_id: datetime.fromtimestamp(run["creationTime"], UTC)
        for run, nested in requested
        for run_id in (run["runId"], *nested)
    }


def _all(state: State) -> list[str]:
    return [*state.settings.symbols]


@router.get("/health")
def service_health(state: CurrentState) -> dict[str, Any]:
    """1. ServiceHealth. A component is up or down; redis is off if the settings name none."""
    found, last = health(state), trainings(state, _all(state), 1)
    job = job_of(last[0], triggered_runs(state)) if last else None
    up = {"up": "up", "degraded": "up", "down": "down", "off": "off"}
    return {
        "status": {"up": "healthy", "degraded": "degraded", "down": "unhealthy"}[found.status],
        "components": {name: up[found.parts[part].status] for name, part in COMPONENTS.items()},
        "uptime": found.uptime_seconds,
        "last_training_job": job,
        "last_job": job,
    }


@router.get("/jobs/history")
def history(state: CurrentState, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> list[dict[str, Any]]:
    """2. The newest trainings."""
    triggered = triggered_runs(state)
    return [job_of(training, triggered) for training in trainings(state, _all(state), limit)]


@router.get("/jobs/current")
def current(state: CurrentState) -> dict[str, Any] | None:
    """3. The running training, or null. progress: null without Dagster's webserver."""
    running = next((t for t in trainings(state, _all(state)) if t.status == "running"), None)
    if running is None:
        return None
    try:
        progress: float | None = progress_of(state, running.run_id).percent
    except Problem:
        progress = None
    return {**job_of(running, triggered_runs(state)), "progress": progress}


@router.post("/jobs/trigger", **TRAINS)
def trigger(state: CurrentState, body: TriggerBody, sent: Sent) -> dict[str, Any]:
    """4. Train a model: job `retrain`."""
    symbol = symbol_named(state, body.symbol)
    recipe = recipe_named(state, symbol, body.model_type)
    order = older_order(sent, body.actor, body.reason)
    request = TrainRequest(actor=order.actor, reason=order.reason, recipes=[recipe])
    started = sent.answer(jobs.train(state, order, symbol, request))
    begun = triggered_runs(state).get(started.run_id, datetime.now(UTC))
    answer = {"status": "started", "job_id": _job_id(recipe, begun)}
    later = dict.fromkeys(("model_version", "metrics", "duration_seconds"))
    return {**answer, **later, "symbol": symbol, **started.model_dump(include={"run_id", "address"})}


@router.get("/clm/status")
def clm_status(state: CurrentState) -> dict[str, Any]:
    """5. By model type: when it was trained last, and whether a symbol is older than the interval allows."""
    status: dict[str, Any] = {}
    for recipe, settings in state.settings.recipes.items():
        hours, last, due = 168 * settings.every_weeks, None, []
        for symbol in (s for s, market in state.settings.symbols.items() if recipe in market.recipes):
            versions = recorded_versions(state.store, symbol, recipe)
            newest = versions[-1].time if versions else None
            end = data_end(state.settings, symbol, pd.Timestamp.now("UTC"))
            if newest is None or end - newest > pd.Timedelta(hours=hours):
                due.append(symbol)
            last = max(filter(None, (last, newest)), default=None)
        status[recipe] = {
            "last_retrain": last,
            "needs_retrain": bool(due),
            "symbols_due": due,
            "interval_hours": hours,
            "next_due": last + timedelta(hours=hours) if last is not None else None,
        }
    return status


@router.post("/clm/run-cycle", **TRAINS)
def run_cycle(state: CurrentState, sent: Sent, body: CycleBody | None = None) -> dict[str, Any]:
    """6. Train every model: job `clm_cycle`. One run trains all, so there is one job id."""
    body = body or CycleBody()
    order = older_order(sent, body.actor, body.reason)
    symbols = [symbol_named(state, name) for name in body.symbols or filter(None, [body.symbol])]
    request = CycleRequest(reason=order.reason, symbols=symbols, week=body.week)
    started = sent.answer(jobs.cycle(state, order, jobs.CYCLE, request))
    return {"status": "started", "job_ids": [started.run_id], "address": started.address}
