"""The retraining policy of the settings file as it is now, without a restart of the code server.

Which trainings the policy allows is lifecycle/surveillance/retraining_triggers.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from quantum_training.checks.agents import is_agent
from quantum_training.settings import Settings, config_path
from quantum_training.settings.paths import SettingsError
from quantum_training.settings.retraining import RecipeTraining, RetrainingPolicy


class LivePolicy:
    """Reads the settings again when their file was replaced or edited."""

    def __init__(self, settings: Settings, load: Callable[[], Settings]) -> None:
        self._settings, self._load = settings, load
        self._policy, self._warning = policy_of(settings), ""
        self._file_state: tuple[int, int, int] | None = None

    def read(self) -> tuple[RetrainingPolicy, str]:
        """The policy in force, and what is wrong with the file, empty if nothing is. A wrong file changes no policy."""
        file_state = None
        with suppress(OSError):
            status = os.stat(config_path())
            file_state = (status.st_ino, status.st_mtime_ns, status.st_size)
        if file_state is None or file_state != self._file_state:
            self._policy, self._warning = self._read_again()
            self._file_state = file_state
        return self._policy, self._warning

    def _read_again(self) -> tuple[RetrainingPolicy, str]:
        try:
            settings = self._load()
        except SettingsError as error:
            return self._policy, f"the last good retraining policy stays in force, because {error}"
        if settings.symbols.keys() != self._settings.symbols.keys() or settings.recipes != self._settings.recipes:
            return policy_of(
                settings
            ), "symbols or recipes of the settings changed: restart the code server to take them"
        return policy_of(settings), ""


def policy_of(settings: Settings) -> RetrainingPolicy:
    """The policy of these settings. RL_TRAINING_* applies to agents that have no entry in `retraining.recipes`."""
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
