"""When agents are trained inside the week, if `retraining.recipes` has no entry for them."""

from __future__ import annotations

from quantum_training.resources.policy_keys import PolicyKeys
from quantum_training.settings import Settings
from quantum_training.settings.retraining import RecipeTraining


def agent_training(settings: Settings, keys: PolicyKeys) -> RecipeTraining:
    """What RL_TRAINING_* says, with what the keys of Redis say in its place."""
    variables = RecipeTraining(
        enabled=settings.rl_training_enabled,
        interval_minutes=settings.rl_training_interval_minutes,
        episodes_per_run=settings.rl_training_episodes_per_run,
    )
    return variables.model_copy(update=keys.values)
