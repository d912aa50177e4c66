"""The trainings of agents (ppo, sac) inside the week: their policy as the settings file is now, and how they went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from quantum_training.lifecycle.surveillance.agent_policy import agent_training
from quantum_training.resources.events.redis_stream import RedisError
from quantum_training.resources.policy_keys import NO_KEYS, read_policy_keys
from quantum_training.service.dagster_client import DagsterOutage
from quantum_training.service.reading.dated import utc_of_seconds
from quantum_training.service.reading.events import Training
from quantum_training.service.state import State
from quantum_training.settings.retraining import RecipeTraining

AGENTS = ("ppo", "sac")
SENSOR = "market_data_sensor"
"""What starts them inside the week (automation/retraining/sensors.py)."""


@dataclass(frozen=True)
class AgentStatus:
    """policy: that of the first agent of the settings. The trainings are those of all agents, newest first."""

    recipes: list[str]
    policy: RecipeTraining
    running: list[Training]
    over: list[Training]

    @property
    def success_rate(self) -> float | None:
        """Share of the trainings that succeeded; None before the first."""
        return sum(run.status == "succeeded" for run in self.over) / len(self.over) if self.over else None


def agent_status(state: State, newest_trainings: Sequence[Training]) -> AgentStatus:
    """The status of the agents of the settings, by these trainings."""
    recipes = [name for name, recipe in state.settings.recipes.items() if recipe.algorithm in AGENTS]
    of_agents = [training for training in newest_trainings if training.recipe in recipes]
    return AgentStatus(
        recipes,
        _policy(state, recipes),
        running=[training for training in of_agents if training.status == "running"],
        over=[training for training in of_agents if training.status != "running"],
    )


def last_check(state: State) -> datetime | None:
    """When the sensor last looked whether an agent is to be trained; None if that is not known."""
    try:
        return utc_of_seconds(state.dagster.sensor_ticks().get(SENSOR))
    except DagsterOutage:
        return None


def _policy(state: State, agents: list[str]) -> RecipeTraining:
    settings = state.live_settings()
    try:
        keys = read_policy_keys(settings.event_bus_url) if settings.event_bus_url else NO_KEYS
    except RedisError:
        keys = NO_KEYS
    default = agent_training(settings, keys)
    policy = settings.retraining.recipes.get(agents[0], default) if agents else default
    return policy.model_copy(update={"enabled": policy.enabled and settings.retraining.enabled and bool(agents)})
