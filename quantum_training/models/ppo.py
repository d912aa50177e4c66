"""Recipe family `ppo` (Schulman et al. 2017): its options and stable-baselines3 learner. The rest is agent.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import Field

from quantum_training.models.agent import Agent, policy_layers
from quantum_training.models.agent_options import AgentOptions, Network
from quantum_training.models.policy import Policy
from quantum_training.trading.episodes import Trading


class PPOOptions(AgentOptions):
    """The defaults reach quality soonest, which are not those of the most steps per second; see docs/agents."""

    trading: Trading = Trading(actions="discrete")
    total_steps: int = Field(245_760, ge=1, description="Budget of a fit in bars traded.")
    environments: int = Field(256, ge=1, le=65_536, description="Episodes at once.")
    rollout_bars: int = Field(32, ge=2, le=100_000, description="Bars of each episode between two updates.")
    batch_size: int = Field(2048, ge=2, description="Samples per gradient step.")
    epochs: int = Field(4, ge=1, le=100, description="Passes over a rollout.")
    learning_rate: float = Field(3e-3, gt=0, le=1, description="Of Adam.")
    network: Network = (64, 64)
    gae_lambda: float = Field(0.95, ge=0, le=1, description="Of the generalised advantage estimate.")
    clip_range: float = Field(
        0.2, gt=0, le=1, description="Largest change of an action's probability that the loss rewards."
    )
    entropy_bonus: float = Field(0.0, ge=0, le=1, description="Weight of the policy's entropy in the loss.")


class Model(Agent):
    """PPO over discrete or continuous actions."""

    options_type = PPOOptions
    traits = replace(
        Agent.traits,
        smoke_params={"total_steps": 60_000, "environments": 128, "rollout_bars": 32, "batch_size": 1024},
    )

    @classmethod
    def _learner(cls, env: Any, options: PPOOptions, seed: int) -> Any:
        from stable_baselines3 import PPO

        return PPO(
            "MlpPolicy",
            env,
            learning_rate=options.learning_rate,
            n_steps=options.rollout_bars,
            batch_size=min(options.batch_size, options.rollout_bars * options.environments),
            n_epochs=options.epochs,
            gamma=options.gamma,
            gae_lambda=options.gae_lambda,
            clip_range=options.clip_range,
            ent_coef=options.entropy_bonus,
            policy_kwargs={"net_arch": list(options.network)},
            seed=seed,
            device=options.device,
        )

    def _policy(self) -> Policy:
        hidden = [f"mlp_extractor.policy_net.{2 * i}" for i in range(len(self.options.network))]
        return Policy(policy_layers(self.state, [*hidden, "action_net"]), "tanh", squash=False)
