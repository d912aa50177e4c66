"""The retraining policy as it is now: that of the settings file and of the keys in Redis, without a restart.

Which trainings the policy allows is lifecycle/surveillance/retraining_triggers.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress

from quantum_training.checks.agents import is_agent
from quantum_training.lifecycle.surveillance.agent_policy import agent_training
from quantum_training.resources.events.redis_stream import RedisError
from quantum_training.resources.policy_keys import NO_KEYS, PolicyKeys, read_policy_keys
from quantum_training.settings import Settings, config_path
from quantum_training.settings.paths import SettingsError
from quantum_training.settings.retraining import RetrainingPolicy

OUTAGE_SECONDS = 60.0
"""How long Redis is not asked for keys after an outage: each question may wait for seconds."""


class LivePolicy:
    """Reads the settings again when their file was replaced or edited, and the keys each time."""

    def __init__(self, settings: Settings, load: Callable[[], Settings]) -> None:
        self._started_with, self._settings, self._load = settings, settings, load
        self._warning = ""
        self._file_state: tuple[int, int, int] | None = None
        self._keys = NO_KEYS
        self._ask_keys_at = 0.0

    def read(self) -> tuple[RetrainingPolicy, str]:
        """The policy in force, and what is wrong with file and keys, empty if nothing is.

        What cannot be read changes no policy.
        """
        file_state = None
        with suppress(OSError):
            status = os.stat(config_path())
            file_state = (status.st_ino, status.st_mtime_ns, status.st_size)
        if file_state is None or file_state != self._file_state:
            self._read_settings()
            self._file_state = file_state
        keys_warning = self._read_keys() if self._settings.event_bus_url else ""
        return policy_of(self._settings, self._keys), "; ".join(filter(None, [self._warning, keys_warning]))

    def _read_settings(self) -> None:
        try:
            settings = self._load()
        except SettingsError as error:
            self._warning = f"the last good retraining policy stays in force, because {error}"
            return
        before = self._started_with
        is_other = settings.symbols.keys() != before.symbols.keys() or settings.recipes != before.recipes
        restart = "symbols or recipes of the settings changed: restart the code server to take them"
        self._settings, self._warning = settings, restart if is_other else ""

    def _read_keys(self) -> str:
        """What is wrong with the keys. In an outage the last ones stay in force."""
        if time.monotonic() >= self._ask_keys_at:
            try:
                self._keys = read_policy_keys(self._settings.event_bus_url)
            except RedisError as error:
                self._ask_keys_at = time.monotonic() + OUTAGE_SECONDS
                return f"the last retraining policy of Redis stays in force: {error}"
        return self._keys.warning


def policy_of(settings: Settings, keys: PolicyKeys) -> RetrainingPolicy:
    """The policy of the settings, with that of agents for each agent that has no entry in `retraining.recipes`."""
    training = agent_training(settings, keys)
    agents = {name: training for name, recipe in settings.recipes.items() if is_agent(recipe.algorithm)}
    return settings.retraining.model_copy(update={"recipes": {**agents, **settings.retraining.recipes}})
