"""The environment behind Gymnasium's interface: one episode at a time, the same dynamics bit for bit.

Importing this registers `quantum_training/Trading-v0`. Imports gymnasium, so it is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from quantum_training.trading.episodes import Bars, Episodes, Trading
from quantum_training.trading.observation import LIMIT

NAME = "quantum_training/Trading-v0"


def spaces_of(episodes: Episodes) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    """Observation and action space: hold, buy, sell, or the target position."""
    observation = spaces.Box(-LIMIT, LIMIT, (episodes.width,), np.float32)
    if episodes.trading.actions == "discrete":
        return observation, spaces.Discrete(3)
    return observation, spaces.Box(episodes.low, 1.0, (1,), np.float32)


class TradingEnv(gymnasium.Env[np.ndarray, Any]):
    """`gymnasium.make("quantum_training.trading.gym_env:quantum_training/Trading-v0", bars=[...], trading=...)`.

    Episodes after the first are the further episodes of a batch with this seed. The info of an episode's last
    step holds `growth`, equity / capital.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium's own type

    def __init__(self, bars: Sequence[Bars], trading: Trading):
        self.episodes = Episodes(bars, trading, 1)
        self.episodes.seed([None])
        self.observation_space, self.action_space = spaces_of(self.episodes)
        self._first_observation: np.ndarray | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        observation, self._first_observation = self._first_observation, None
        if seed is not None:
            self.episodes.seed(seed)
        if seed is not None or observation is None:
            observation = self.episodes.reset()[0].copy()
        return observation, {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observations, rewards, _, ended = self.episodes.step(np.asarray(action))
        observation, reward = observations[0].copy(), float(rewards[0])
        if not ended:
            return observation, reward, False, False, {}
        self._first_observation, (end,) = observation, ended
        return end.observation, reward, end.ruined, not end.ruined, {"growth": end.growth}


gymnasium.register(NAME, entry_point=f"{__name__}:TradingEnv")
