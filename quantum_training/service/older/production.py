"""S3, `/api/v1/rl/v3/...`: production of one agent. Its symbol is that of the request, else service.default_symbol."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import pandas as pd
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from quantum_training.lifecycle.records import FEATURES, ROLLOUT, SHADOW_SCORES
from quantum_training.market.periods import WEEK, month_of
from quantum_training.selection.position_limits import percent
from quantum_training.service.dagster_client import DagsterOutage, outage_problem
from quantum_training.service.older.backtests import four_strategies
from quantum_training.service.older.names import (
    MarketName,
    MarketQuery,
    agent_recipe,
    agent_recipes,
    older_order,
    symbol_named,
)
from quantum_training.service.problems import Problem
from quantum_training.service.reading.decisions import newest_record, stage_name
from quantum_training.service.reading.progress import progress_of
from quantum_training.service.reading.run_logs import TrainingPoint
from quantum_training.service.reading.runs import runs_asked_at
from quantum_training.service.routes.starts import DECIDES, TRAINS, Sent
from quantum_training.service.starting import jobs
from quantum_training.service.starting.requests import Person, RolloutRequest, Sentence, TrainRequest
from quantum_training.service.state import CurrentState, State

router = APIRouter(prefix="/api/v1/rl/v3", tags=["older: RL v3 production"])
TRAIN = f"{router.prefix}/train_production"


class MarketBody(BaseModel):
    """A market. lookback_hours is the recipe's window_bars here and is not taken from a request."""

    model_config = ConfigDict(extra="ignore")

    symbol: MarketName | None = None
    timeframe: str | None = Field(None, max_length=20, examples=["1h"])
    lookback_hours: int | None = Field(None, ge=1)
    num_episodes: int = Field(0, ge=0, le=1_000_000, description="0: the recipe's own budget.")


class RolloutBody(BaseModel):
    """The share of capital. max_position_size: money; the platform's own bound must be as strict."""

    model_config = ConfigDict(extra="ignore")

    symbol: MarketName | None = None
    capital_percentage: float = Field(ge=0, le=100, allow_inf_nan=False)
    max_position_size: float | None = Field(None, gt=0, allow_inf_nan=False)
    enable_risk_guard: bool = True
    actor: Person | None = None
    reason: Sentence | None = None


def _market(state: State, body: MarketBody) -> str:
    """The symbol of a request. Problem 422 if it asks for another timeframe than the symbol's."""
    symbol = symbol_named(state, body.symbol)
    timeframe = state.market(symbol).timeframe
    if body.timeframe not in (None, timeframe):
        rule = "the timeframe of a symbol is that of the settings"
        raise Problem(422, f"{symbol} has bars of {timeframe}", rule, f"send timeframe {timeframe}, or none")
    return symbol


@router.post("/train_production", **TRAINS)
def train_production(state: CurrentState, body: MarketBody, sent: Sent) -> dict[str, Any]:
    """Train the agent of a symbol: job `retrain`."""
    symbol = _market(state, body)
    order, recipe = older_order(sent, None, None), agent_recipe(state, symbol)
    request = TrainRequest(reason=order.reason, recipes=[recipe], episodes=body.num_episodes)
    started = sent.answer(jobs.train(state, order, symbol, request))
    budget = f"{body.num_episodes} episodes" if body.num_episodes else f"the budget of {recipe}"
    message = f"Training started on {body.symbol or symbol} with {budget}"
    return {"status": "started", "message": message, **started.model_dump(include={"run_id", "address"})}


@router.get("/training_progress")
def training_progress(state: CurrentState) -> dict[str, Any]:
    """The newest training that `train_production` has started."""
    try:
        trainings = runs_asked_at(state, TRAIN)
    except DagsterOutage as error:
        raise outage_problem(error) from error
    if not trainings:
        nothing = {"active": False, "progress": 0.0, "message": "No training was started", "started_at": None}
        return {**nothing, "metrics": _metrics([])}
    run = trainings[0].run
    progress, started = progress_of(state, run["runId"]), run["startTime"]
    return {
        "active": not progress.is_over,
        "progress": progress.percent,
        "message": progress.message,
        "started_at": datetime.fromtimestamp(started, UTC) if started else None,
        "metrics": _metrics(progress.curve),
    }


def _metrics(curve: Sequence[TrainingPoint]) -> dict[str, float | None]:
    """S3's names: the newest reward and losses, and the mean of the rewards so far."""
    newest = curve[-1].metrics if curve else {}
    rewards = [point.metrics["mean_reward"] for point in curve if "mean_reward" in point.metrics]
    losses = {name: newest.get(name) for name in ("policy_loss", "value_loss")}
    average = sum(rewards) / len(rewards) if rewards else None
    return {"current_reward": newest.get("mean_reward"), "avg_reward": average, **losses}


@router.post("/benchmark")
def benchmark(state: CurrentState, body: MarketBody) -> dict[str, Any]:
    """The agent beside three others in the newest stored backtest; nothing is started."""
    symbol = _market(state, body)
    return four_strategies(state, symbol, agent_recipe(state, symbol))


@router.post("/rollout", **DECIDES)
def rollout(state: CurrentState, body: RolloutBody, sent: Sent) -> dict[str, Any]:
    """Order the champion's share of capital. The risk guard is always on, and the platform bounds positions itself."""
    symbol = symbol_named(state, body.symbol)
    bound = _position_bound(state, symbol)
    if not body.enable_risk_guard:
        rule, remedy = "the risk guard is always on", "send enable_risk_guard true; its limits are in rollout"
        raise Problem(422, "the risk guard cannot be switched off", rule, remedy)
    if body.max_position_size is not None and body.max_position_size < bound:
        rule, remedy = "positions are bounded by rollout.max_position_size", "lower it in the settings"
        raise Problem(422, f"positions may reach {bound:g}, more than max_position_size", rule, remedy)
    share, order = body.capital_percentage / 100, older_order(sent, body.actor, body.reason)
    started = sent.answer(jobs.rollout(state, order, symbol, RolloutRequest(reason=order.reason, share=share)))
    stages = state.settings.rollout.stages
    stage = max((number for number, of in enumerate(stages) if of <= share), default=0)
    beyond = stage + (share > stages[stage])
    name = stage_name(beyond)
    return {
        "status": "started",
        "message": f"Rollout configured: Stage {beyond}: {name} ({percent(share).replace(' ', '')})",
        "config": {
            "capital_percentage": body.capital_percentage,
            "max_position_size": body.max_position_size or bound,
            "enable_risk_guard": True,
            "configured_at": datetime.now(UTC),
            "stage": f"Stage {beyond}: {name}",
        },
        **started.model_dump(include={"run_id", "address"}),
    }


@router.get("/rollout/status")
def rollout_status(state: CurrentState, symbol: MarketQuery = None) -> dict[str, Any]:
    """The share of capital that is in force."""
    name = symbol_named(state, symbol)
    record = newest_record(state, ROLLOUT, name)
    if record is None or record["champion"] is None:
        return {"configured": False, "config": None}
    return {
        "configured": True,
        "config": {
            "capital_percentage": 100 * record["share"],
            "max_position_size": _position_bound(state, name),
            "enable_risk_guard": True,
            "configured_at": f"{record['since']}T00:00:00Z",
            "stage": f"Stage {record['stage']}: {stage_name(record['stage'])}",
        },
    }


def _position_bound(state: State, symbol: str) -> float:
    """The largest position in money: a share of the account's capital at its start."""
    return state.settings.rollout.max_position_size * state.market(symbol).account.capital


@router.get("/status")
def status(state: CurrentState, symbol: MarketQuery = None) -> dict[str, Any]:
    """Whether an agent of the symbol is in office, in the shadow only, and the bars that agents were scored on."""
    name = symbol_named(state, symbol)
    record = newest_record(state, ROLLOUT, name) or {}
    in_office = record.get("champion") in agent_recipes(state, name)
    collected = sum(len(_scores(state, name, week)) for week in state.store.periods(SHADOW_SCORES, name)[-52:])
    return {
        "active": bool(agent_recipes(state, name)),
        "shadow_mode": not in_office or record.get("share", 0.0) == 0,
        "experiences_collected": collected,
    }


@router.get("/experiences")
def experiences(
    state: CurrentState, symbol: MarketQuery = None, limit: Annotated[int, Query(ge=1, le=1000)] = 10
) -> list[dict[str, Any]]:
    """The newest bars that the agent was scored on: features at the decision, position taken, net return."""
    name = symbol_named(state, symbol)
    agent_recipe(state, name)
    weeks = state.store.periods(SHADOW_SCORES, name)
    rows = pd.concat([_scores(state, name, week) for week in weeks[-4:]]) if weeks else pd.DataFrame()
    if rows.empty:
        return []
    newest = rows.sort_index(kind="stable").iloc[-limit:]
    first = newest.index[0] - WEEK
    features = state.store.read_frames(FEATURES, name, month_of(first), month_of(newest.index[-1]))
    decided = features.reindex(features.index[features.index.searchsorted(newest.index) - 1])
    states = decided.astype(object).where(decided.notna(), None).to_dict("records")
    return [
        {
            "time": time,
            "recipe": row["strategy"],
            "state": values,
            "action": row["target"],
            "reward": row["net_return"],
        }
        for (time, row), values in zip(newest[::-1].iterrows(), states[::-1], strict=True)
    ]


def _scores(state: State, symbol: str, week: str) -> pd.DataFrame:
    """The bars of a week on which agents decided."""
    scores = state.store.read_frame(SHADOW_SCORES, symbol, week)
    return scores[scores["strategy"].isin(agent_recipes(state, symbol)) & scores["target"].notna()]
