"""S0, `/api/training/shadow/...`: the shadow of the RL training service, and its champion."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field, JsonValue

from quantum_training.lifecycle.training.versions import recorded_versions
from quantum_training.service.older.names import (
    MarketQuery,
    ModelName,
    ModelType,
    older_order,
    recipe_named,
    symbol_named,
    version_named,
)
from quantum_training.service.older.rl_training import Body
from quantum_training.service.older.shadow_models import ShadowModelStatus, champion_answer, shadow_models, status_of
from quantum_training.service.problems import Problem
from quantum_training.service.reading.decisions import newest_record
from quantum_training.service.routes.starts import DECIDES, Sent
from quantum_training.service.starting import jobs
from quantum_training.service.starting.requests import PromoteRequest
from quantum_training.service.state import CurrentState

router = APIRouter(prefix="/api/training/shadow", tags=["older: RL training service"])


class VersionBody(Body):
    """A version of a model."""

    model_version: ModelName
    model_type: ModelType | None = None
    metrics: dict[str, JsonValue] = Field({})


@router.get("/models")
def models(state: CurrentState, symbol: MarketQuery = None) -> list[ShadowModelStatus]:
    """7. The recipes that are not in office, in the shadow."""
    chosen = [symbol_named(state, symbol)] if symbol else [*state.settings.symbols]
    return [status for name in chosen for status in shadow_models(state, name)]


@router.get("/champion")
def champion(
    state: CurrentState,
    symbol: MarketQuery = None,
    model_type: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_]+$", max_length=64)] = None,
) -> dict[str, Any] | None:
    """8. The champion of a symbol, or null: none, or one of another model type."""
    name = symbol_named(state, symbol)
    recipe = recipe_named(state, name, model_type) if model_type else None
    return champion_answer(state, name, recipe)


@router.post("/register")
def register(state: CurrentState, body: VersionBody) -> ShadowModelStatus:
    """9. What is registered of a version: versions register themselves when they are trained, so 404 without one."""
    symbol, recipe, version = version_named(state, body.model_version)
    return status_of(state, symbol, recipe, version.model_id)


@router.post("/evaluate")
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


@router.post("/promote", **DECIDES)
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


@router.post("/demote", **DECIDES)
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
