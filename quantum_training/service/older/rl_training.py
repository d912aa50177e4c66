"""S0, `/api/training/...`: the RL training service. What it called a model type is a recipe. Its drift: rl_drift.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import pandas as pd
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from quantum_training.lifecycle.data_end import data_end
from quantum_training.lifecycle.training.versions import recorded_versions
from quantum_training.service.older.names import (
    MarketName,
    MarketQuery,
    ModelName,
    ModelType,
    older_order,
    recipe_named,
    symbol_named,
    version_named,
)
from quantum_training.service.older.shadow_models import ShadowModelStatus, champion_answer, shadow_models, status_of
from quantum_training.service.problems import Problem
from quantum_training.service.reading.decisions import newest_record
from quantum_training.service.reading.events import Training, trainings
from quantum_training.service.reading.health import health
from quantum_training.service.reading.progress import progress_of
from quantum_training.service.routes.parameters import Week
from quantum_training.service.routes.starts import DECIDES, TRAINS, Sent
from quantum_training.service.starting import jobs
from quantum_training.service.starting.requests import CycleRequest, Person, PromoteRequest, Sentence, TrainRequest
from quantum_training.service.state import CurrentState, State

router = APIRouter(prefix="/api/training", tags=["older: RL training service"])
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


class VersionBody(Body):
    """A version of a model."""

    model_version: ModelName
    model_type: ModelType | None = None
    metrics: dict[str, JsonValue] = {}


def job_of(training: Training) -> dict[str, Any]:
    """A training as S0 shows it."""
    started = training.started_at or training.completed_at
    return {
        "job_id": f"train_{training.recipe}_{started:%Y%m%d_%H%M%S}" if started else training.job_id,
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


def _all(state: State) -> list[str]:
    return [*state.settings.symbols]


@router.get("/health")
def service_health(state: CurrentState) -> dict[str, Any]:
    """1. ServiceHealth. A component is up or down; redis is off if the settings name none."""
    found, last = health(state), trainings(state, _all(state), 1)
    up = {"up": "up", "degraded": "up", "down": "down", "off": "off"}
    return {
        "status": {"up": "healthy", "degraded": "degraded", "down": "unhealthy"}[found.status],
        "components": {name: up[found.parts[part].status] for name, part in COMPONENTS.items()},
        "uptime": found.uptime_seconds,
        "last_training_job": job_of(last[0]) if last else None,
        "last_job": job_of(last[0]) if last else None,
    }


@router.get("/jobs/history")
def history(state: CurrentState, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> list[dict[str, Any]]:
    """2. The newest trainings."""
    return [job_of(training) for training in trainings(state, _all(state), limit)]


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
    return {**job_of(running), "progress": progress}


@router.post("/jobs/trigger", **TRAINS)
def trigger(state: CurrentState, body: TriggerBody, sent: Sent) -> dict[str, Any]:
    """4. Train a model: job `retrain`."""
    symbol = symbol_named(state, body.symbol)
    recipe = recipe_named(state, symbol, body.model_type)
    order = older_order(sent, body.actor, body.reason)
    request = TrainRequest(actor=order.actor, reason=order.reason, recipes=[recipe])
    started = sent.answer(jobs.train(state, order, symbol, request))
    answer = {"status": "started", "job_id": f"train_{recipe}_{datetime.now(UTC):%Y%m%d_%H%M%S}"}
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


@router.get("/shadow/models")
def models(state: CurrentState, symbol: MarketQuery = None) -> list[ShadowModelStatus]:
    """7. The recipes that are not in office, in the shadow."""
    chosen = [symbol_named(state, symbol)] if symbol else _all(state)
    return [status for name in chosen for status in shadow_models(state, name)]


@router.get("/shadow/champion")
def champion(
    state: CurrentState,
    symbol: MarketQuery = None,
    model_type: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_]+$", max_length=64)] = None,
) -> dict[str, Any] | None:
    """8. The champion of a symbol, or null: none, or one of another model type."""
    name = symbol_named(state, symbol)
    recipe = recipe_named(state, name, model_type) if model_type else None
    return champion_answer(state, name, recipe)


@router.post("/shadow/register")
def register(state: CurrentState, body: VersionBody) -> ShadowModelStatus:
    """9. What is registered of a version: versions register themselves when they are trained, so 404 without one."""
    symbol, recipe, version = version_named(state, body.model_version)
    return status_of(state, symbol, recipe, version.model_id)


@router.post("/shadow/evaluate")
def evaluate(state: CurrentState, body: VersionBody) -> dict[str, Any]:
    """10. Whether the recipe of a version may be promoted, by the verdict of the newest week."""
    symbol, recipe, version = version_named(state, body.model_version)
    status = status_of(state, symbol, recipe, version.model_id)
    decision = newest_record(state, "champion", symbol) or {}
    judgement = decision.get("judgements", {}).get(recipe)
    few = status.prediction_count < status.min_predictions
    insufficient = f"insufficient predictions (<{status.min_predictions})"
    no_verdict = "it is the champion" if decision.get("champion") == recipe else "no campaign tests it now"
    return {
        "ready_for_promotion": bool(judgement) and judgement["verdict"] == "PROMOTE" and not few,
        "reason": insufficient if few else judgement["reason"] if judgement else no_verdict,
        "sharpe_diff": status.sharpe_diff,
        "win_rate_diff": status.win_rate_diff,
    }


@router.post("/shadow/promote", **DECIDES)
def promote(state: CurrentState, body: VersionBody, sent: Sent) -> dict[str, Any]:
    """11. Make the recipe of a version champion: job `promote`. Its newest version trades, so only that is taken."""
    symbol, recipe, version = version_named(state, body.model_version)
    newest = [v for v in recorded_versions(state.store, symbol, recipe) if v.accepted]
    if not newest or newest[-1].model_id != version.model_id:
        remedy = f"name {newest[-1].model_id}" if newest else "train one that the refresh gate accepts"
        rule = "a champion trades by the newest accepted version of its recipe"
        raise Problem(409, f"{version.model_id} is not the newest accepted version of {recipe}", rule, remedy)
    order, before = older_order(sent, body.actor, body.reason), newest_record(state, "champion", symbol)
    request = PromoteRequest(actor=order.actor, reason=order.reason, recipe=recipe)
    started = sent.answer(jobs.promote(state, order, symbol, request))
    return {
        "status": "started",
        "model_type": recipe,
        "old_version": before["model_id"] if before else None,
        "new_version": version.model_id,
        "promotion_reason": f"by {order.actor}: {order.reason}",
        "improvement_pct": None,
        "promoted_at": datetime.now(UTC),
        **started.model_dump(include={"run_id", "address"}),
    }


@router.post("/shadow/demote", **DECIDES)
def demote(state: CurrentState, body: Body, sent: Sent) -> dict[str, Any]:
    """15. Take the champion back: job `demote`. What trades then is in the ledger when the run is over."""
    symbol = symbol_named(state, body.symbol)
    order, before = older_order(sent, body.actor, body.reason), newest_record(state, "champion", symbol) or {}
    started = sent.answer(jobs.demote(state, order, symbol))
    return {
        "status": "started",
        "model_type": before.get("champion"),
        "failed_version": before.get("model_id"),
        "rolled_back_to": None,
        "regression_reason": f"demoted by {order.actor}: {order.reason}",
        "regressed_at": datetime.now(UTC),
        **started.model_dump(include={"run_id", "address"}),
    }
