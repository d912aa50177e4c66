"""The retraining policy as the settings file says now, without a restart. What follows from it is retraining.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from quantum_training.checks.agents import is_agent
from quantum_training.settings.paths import SettingsError
from quantum_training.settings.retraining import RecipeTraining, RetrainingPolicy
from quantum_training.settings.settings import Settings, config_path


class LivePolicy:
    """Reads the settings again whenever their file was replaced or edited."""

    def __init__(self, settings: Settings, load: Callable[[], Settings]) -> None:
        self._settings, self._load = settings, load
        self._policy, self._warning = policy_of(settings), ""
        self._seen: tuple[int, int, int] | None = None

    def read(self) -> tuple[RetrainingPolicy, str]:
        """The policy in force, and what is wrong with the file, if anything: then the last good policy stays."""
        seen = None
        with suppress(OSError):
            now = os.stat(config_path())
            seen = (now.st_ino, now.st_mtime_ns, now.st_size)
        if seen is None or seen != self._seen:
            self._policy, self._warning = self._read_again()
            self._seen = seen
        return self._policy, self._warning

    def _read_again(self) -> tuple[RetrainingPolicy, str]:
        try:
            fresh = self._load()
        except SettingsError as error:
            return self._policy, f"the last good retraining policy stays in force, because {error}"
        if fresh.symbols.keys() != self._settings.symbols.keys() or fresh.recipes != self._settings.recipes:
            return policy_of(fresh), "symbols or recipes of the settings changed: restart the code server to take them"
        return policy_of(fresh), ""


def policy_of(settings: Settings) -> RetrainingPolicy:
    """The policy of these settings; agents without an entry of their own are trained as RL_TRAINING_* says."""
    agents = {
        name: RecipeTraining(
            enabled=settings.rl_training_enabled,
            interval_minutes=settings.rl_training_interval_minutes,
            episodes_per_run=settings.rl_training_episodes_per_run,
        )
        for name, recipe in settings.recipes.items()
        if is_agent(recipe.algorithm)
    }
    return settings.retraining.model_copy(update={"recipes": {**agents, **settings.retraining.recipes}})
