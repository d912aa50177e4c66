"""S1, `GET /api/v1/rl-v3/dashboard/training-summary`: the policy of agents as it is now, and their newest trainings."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from quantum_training.service.dagster_client import DagsterOutage
from quantum_training.service.reading.agents import agent_status
from quantum_training.service.reading.events import Training, trainings
from quantum_training.service.state import CurrentState, State
from quantum_training.settings.paths import without_password

router = APIRouter(prefix="/api/v1/rl-v3/dashboard", tags=["older: RL v3 daemon"])
RECENT, MESSAGE_LENGTH = 10, 500


class RecentRun(BaseModel):
    """A training of an agent. Rewards: null for trainings of earlier builds, which did not tell them."""

    timestamp: datetime | None
    episodes: int | None
    duration_seconds: float | None
    success: bool
    avg_reward: float | None
    final_reward: float | None


class TrainingSummary(BaseModel):
    """RLv3TrainingSummaryResponse. What the settings leave open is null: no interval, the recipe's own budget."""

    enabled: bool
    interval_minutes: int | None
    episodes_per_run: int | None
    total_runs: int
    success_rate: float = Field(ge=0, le=1, description="0 before the first run; see total_runs.")
    last_run_at: datetime | None
    last_error: str | None
    recent_runs: list[RecentRun]


@router.get("/training-summary")
def training_summary(state: CurrentState) -> TrainingSummary:
    """The policy is that of the first agent of the settings; the trainings are those of all agents."""
    agents = agent_status(state, trainings(state, [*state.settings.symbols]))
    policy, runs = agents.policy, agents.over
    failed = next((run for run in runs if run.status == "failed"), None)
    return TrainingSummary(
        enabled=policy.enabled,
        interval_minutes=policy.interval_minutes,
        episodes_per_run=policy.episodes_per_run,
        total_runs=len(runs),
        success_rate=agents.success_rate or 0.0,
        last_run_at=runs[0].completed_at if runs else None,
        last_error=error_of(state, failed) if failed else None,
        recent_runs=[_recent(run) for run in runs[:RECENT]],
    )


def error_of(state: State, training: Training) -> str:
    """Why a training failed, from its run in Dagster, or where to look."""
    try:
        message = state.dagster.failure(training.run_id)
    except DagsterOutage:
        message = None
    if message is None:
        return f"training of {training.recipe} for {training.symbol} failed; see run {training.run_id} in Dagster"
    return without_password(message)[:MESSAGE_LENGTH]


def _recent(run: Training) -> RecentRun:
    episodes = run.metrics.get("episodes")
    return RecentRun(
        timestamp=run.completed_at,
        episodes=None if episodes is None else int(episodes),
        duration_seconds=run.duration_seconds,
        success=run.status == "succeeded",
        avg_reward=run.metrics.get("avg_reward"),
        final_reward=run.metrics.get("final_reward"),
    )
