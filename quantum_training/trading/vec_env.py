"""The environment behind stable-baselines3's interface: a VecEnv whose steps are one call for all episodes.

Imports stable_baselines3, so it is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from quantum_training.trading.episodes import Bars, Episodes, Trading
from quantum_training.trading.gym_env import spaces_of


class BatchEnv(VecEnv):
    """`count` trading episodes at once.

    The info of an episode's last step holds `terminal_observation`, `TimeLimit.truncated` and `episode` (r: sum of
    rewards, l: bars, growth: equity / capital).
    """

    render_mode = None

    def __init__(self, bars: Sequence[Bars], trading: Trading, count: int, scale: float = 1.0):
        self.episodes = Episodes(bars, trading, count, scale)
        super().__init__(count, *spaces_of(self.episodes))
        self._nothing: dict[str, Any] = {}
        self.finished = 0
        self._actions = np.zeros(count)

    def reset(self) -> np.ndarray:
        if any(seed is not None for seed in self._seeds):
            self.episodes.seed(self._seeds)
        self._reset_seeds()
        self._reset_options()
        return self.episodes.reset()

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        observations, rewards, done, ended = self.episodes.step(self._actions)
        infos = [self._nothing] * self.num_envs
        for e in ended:
            infos[e.episode] = {
                "terminal_observation": e.observation,
                "TimeLimit.truncated": not e.ruined,
                "episode": {"r": e.reward, "l": e.bars, "growth": e.growth},
            }
        self.finished += len(ended)
        return observations, rewards, done, infos

    def state(self) -> dict[str, Any]:
        """Everything that the next steps depend on."""
        return {**self.episodes.state(), "finished": self.finished}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a saved `state`."""
        self.episodes.restore(state)
        self.finished = state["finished"]

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise AttributeError(f"{attr_name}: the episodes share their settings; make another environment")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise AttributeError(f"{method_name}: the episodes are rows of arrays, none has methods of its own")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * len(list(self._get_indices(indices)))
