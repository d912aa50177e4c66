"""Recipe family `sac` (Haarnoja et al. 2018): its options and stable-baselines3 learner. The rest is agent.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from quantum_training.models.agent import Agent, policy_layers
from quantum_training.models.agent_options import AgentOptions, Network
from quantum_training.models.contract import TrainingContext
from quantum_training.models.policy import Policy
from quantum_training.trading.episodes import Bars, Trading, transitions
from quantum_training.trading.observation import View


class SACOptions(AgentOptions):
    """The defaults reach quality soonest, which are not those of the most steps per second; see docs/agents."""

    trading: Trading = Trading(actions="continuous")
    total_steps: int = Field(64_000, ge=1, description="Budget of a fit in bars traded.")
    environments: int = Field(256, ge=1, le=65_536, description="Episodes at once.")
    batch_size: int = Field(256, ge=2, description="Samples per gradient step.")
    gradient_steps: int = Field(1, ge=1, le=10_000, description="Updates after each bar of all episodes.")
    learning_starts: int = Field(1_000, ge=0, description="Bars traded at random before the first update.")
    buffer_size: int = Field(100_000, ge=100, le=100_000_000, description="Number of newest transitions to learn from.")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Of Adam.")
    network: Network = (256, 256)
    first_temperature: float = Field(0.03, gt=0, le=10, description="Initial weight of the entropy; the fit tunes it.")
    tau: float = Field(0.02, gt=0, le=1, description="How far the target networks follow at each update.")

    @field_validator("trading")
    @classmethod
    def _continuous(cls, trading: Trading) -> Trading:
        if trading.actions != "continuous":
            raise ValueError("SAC has continuous actions only; use ppo for hold, buy and sell")
        return trading


class Model(Agent):
    """SAC over the target position."""

    options_type = SACOptions
    traits = replace(
        Agent.traits,
        capabilities=frozenset({"warm_start", "replay"}),
        smoke_params={
            "total_steps": 6_000,
            "environments": 16,
            "network": (64,),
            "batch_size": 128,
            "learning_starts": 500,
            "learning_rate": 0.003,
        },
    )

    @classmethod
    def _learner(cls, env: Any, options: SACOptions, seed: int) -> Any:
        from stable_baselines3 import SAC

        return SAC(
            "MlpPolicy",
            env,
            learning_rate=options.learning_rate,
            buffer_size=max(options.buffer_size, options.environments),
            learning_starts=options.learning_starts,
            batch_size=options.batch_size,
            tau=options.tau,
            gamma=options.gamma,
            train_freq=1,
            gradient_steps=options.gradient_steps,
            ent_coef=f"auto_{options.first_temperature}",
            policy_kwargs={"net_arch": list(options.network)},
            seed=seed,
            device=options.device,
        )

    @classmethod
    def _initialise(cls, learner: Any, view: View, bars: Bars, options: Any, context: TrainingContext) -> None:
        super()._initialise(learner, view, bars, options, context)
        if context.replay is None:
            return
        size, scale = options.environments, learner.get_env().episodes.scale
        learner.learning_starts = 0
        past = [transitions(bars, options.trading, context.replay[source], scale) for source in context.replay]
        observation, action, reward, next_observation = (np.concatenate(parts) for parts in zip(*past, strict=True))
        action = learner.policy.scale_action(action[:, None].astype("float32"))
        infos: list[dict[str, Any]] = [{}] * size
        for start in range(len(action) % size, len(action), size):  # the buffer takes one of each environment at a time
            rows = slice(start, start + size)
            learner.replay_buffer.add(
                observation[rows], next_observation[rows], action[rows], reward[rows], np.zeros(size), infos
            )

    def _policy(self) -> Policy:
        hidden = [f"actor.latent_pi.{2 * i}" for i in range(len(self.options.network))]
        return Policy(policy_layers(self.state, [*hidden, "actor.mu"]), "relu", squash=True)
