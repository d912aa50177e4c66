"""What agents share: they learn by trading in the simulator, decide with an account of their own, and are stored alike.

The calls of one library are in that algorithm's file (ppo.py, sac.py); the trained network is policy.py.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from quantum_training.models.agent_options import AgentOptions
from quantum_training.models.artefact_files import read_arrays, read_json, write_arrays, write_json
from quantum_training.models.contract import MAX_LOOKBACK_BARS, AlgorithmTraits, Model, TrainingContext, parse_params
from quantum_training.models.policy import Policy, Trajectory
from quantum_training.models.policy_diagnostics import action_shares, policy_metrics
from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.episodes import Bars, Market
from quantum_training.trading.liquidity import UNTRADED, mark_untraded
from quantum_training.trading.observation import View

ACTIONS = {"discrete": ("hold", "buy", "sell"), "continuous": ("target position",)}
"""What each output of the network means."""

PRICES = ("open", "close")

ACTION = "action/"
"""Prefix of the shares of actions in a report."""


class Agent(Model):
    """A policy that reads features, the last returns and its own account. It is trained by trading the window's bars.

    Its positions depend on the account: `positions` trades the rows from the first on with an account that is flat
    before it. Sizing does not apply, because an action is a position. `score` is the log growth per training bar.
    """

    packages = ("numba", "safetensors")
    traits = AlgorithmTraits(
        build_packages=("stable_baselines3", "torch", "gymnasium"),
        sources=tuple(
            f"quantum_training.{name}"
            for name in (
                "trading.account",
                "trading.compiled",
                "trading.costs",
                "trading.kernel",
                "trading.liquidity",
                "trading.simulator",
                "trading.episode_kernel",
                "trading.episodes",
                "trading.observation",
                "trading.own_reward",
                "trading.own_reward_kernel",
                "trading.gym_env",
                "trading.vec_env",
                "models.agent_options",
                "models.artefact_files",
                "models.checkpoint",
                "models.policy",
                "models.policy_diagnostics",
                "models.policy_kernel",
                "models.training_callback",
            )
        ),
        needs_market=True,
        capabilities=frozenset({"warm_start"}),
    )
    is_stochastic = True
    lookback_bars = MAX_LOOKBACK_BARS
    has_account = True
    options_type: ClassVar[type[AgentOptions]]

    def __init__(
        self,
        state: Mapping[str, np.ndarray],
        view: View,
        options: AgentOptions,
        costs: Costs,
        account: Account,
        report: dict[str, float],
    ):
        self.state, self.view, self.options = state, view, options
        self.costs, self.account, self.report = costs, account, report
        self.columns, self.importance = (*view.columns, *PRICES), {}
        self.policy = self._policy()
        needed_sizes = (view.width, len(ACTIONS[options.trading.actions]))
        if (self.policy.sizes[0], self.policy.sizes[-1]) != needed_sizes:
            raise ValueError(
                f"a network of {self.policy.sizes[0]} numbers in and {self.policy.sizes[-1]} out cannot decide on "
                f"{needed_sizes[0]} observed numbers among {needed_sizes[1]} actions; the artefact's files do not "
                "belong together"
            )

    @classmethod
    def fit(cls, context: TrainingContext) -> Self:
        """Train for the budget of `params`. After a kill, the fit continues from its last checkpoint.

        FloatingPointError if the training diverges. ValueError names a parameter that is unknown or out of bounds.
        """
        window, market, options = context.window, cls._market(context), cls.parse(context.params)
        learner, callback, view = cls._train(context, options)
        state = {name: value.cpu().numpy() for name, value in learner.policy.state_dict().items()}
        model = cls(state, view, options, market.costs, market.account, {})
        rows = pd.DataFrame(window.full_x, window.full_times, list(window.columns))
        candles = mark_untraded(market.candles)
        candles = candles.loc[window.full_times[0] : window.full_times[-1], [*PRICES, UNTRADED]]
        trajectory = model.trade(rows.reindex(candles.index).join(candles))
        model.curves = callback.curves
        model.report = {
            "steps": float(learner.num_timesteps),
            "episodes": float(callback.curves[-1]["episodes"]),
            "out_of_time": float(callback.out_of_time),
            **policy_metrics(trajectory, candles["close"].to_numpy(), options.trading, callback.curves),
            **{f"{ACTION}{name}": share for name, share in action_shares(trajectory, options.trading).items()},
        }
        model.score = model.report["growth_per_bar"]
        return model

    @classmethod
    def parse(cls, params: Mapping[str, Any]) -> AgentOptions:
        """The validated params. ValueError names each wrong one, its value and what is allowed."""
        return parse_params(cls.options_type, params)

    @classmethod
    def _market(cls, context: TrainingContext) -> Market:
        if context.market is None:
            raise ValueError(f"{cls.__module__} learns by trading: set `market` of the training context")
        return context.market

    @classmethod
    def _train(cls, context: TrainingContext, options: AgentOptions) -> tuple[Any, Any, View]:
        """The trained learner, its TrainingCallback, and how it observes the market."""
        import torch

        from quantum_training.models.training_callback import TrainingCallback, TrainingLimits, divergence_message
        from quantum_training.trading.vec_env import BatchEnv

        torch.set_num_threads(options.threads)
        window, market = context.window, cls._market(context)
        close = market.candles["close"].reindex(window.full_times).to_numpy("float64")
        view = View.fit(window.columns, window.full_x, close, options.lags)
        bars = Bars.of(view, market, pd.DataFrame(window.full_x, window.full_times, list(window.columns)))
        env = BatchEnv([bars], options.trading, options.environments, scale=1 / view.unit)
        learner = cls._learner(env, options, context.seed)
        cls._initialise(learner, view, bars, options, context)
        folder = context.checkpoint_dir
        checkpoint = folder / f"seed-{context.seed}.safetensors" if folder else None
        identity = {"options": options.model_dump(mode="json"), "seed": context.seed, "data": window.content_hash}
        limits = TrainingLimits(options.total_steps, options.max_seconds, options.save_seconds)
        callback = TrainingCallback(context.progress, checkpoint, identity, limits)
        callback.model = learner
        is_resumed = callback.resume()
        if not callback.finished:
            remaining_steps = options.total_steps - learner.num_timesteps
            try:
                learner.learn(remaining_steps, callback, log_interval=None, reset_num_timesteps=not is_resumed)
            except ValueError as error:  # torch refuses a distribution of NaN
                if _has_finite_weights(learner):
                    raise
                raise FloatingPointError(divergence_message("a weight", float("nan"), learner.num_timesteps)) from error
            callback.finish()
        if not _has_finite_weights(learner):
            raise FloatingPointError(divergence_message("a weight", float("nan"), learner.num_timesteps))
        return learner, callback, view

    @classmethod
    def _initialise(cls, learner: Any, view: View, bars: Bars, options: AgentOptions, context: TrainingContext) -> None:
        """Prepare the learner for its first step: load the weights of the version that the fit starts from, if any."""
        import torch

        base = context.warm_start_from
        if base is None:
            return
        if not isinstance(base, cls):
            raise ValueError(
                f"warm_start: the newest version is no {cls.__module__}; give the recipe a name of its own"
            )
        if base.view.names != view.names:
            raise ValueError(
                "warm_start: the newest version has other observations; give the changed recipe a name of its own "
                f"(those of one only: {', '.join(sorted({*base.view.names} ^ {*view.names}))})"
            )
        weights = {name: torch.from_numpy(np.array(value)) for name, value in base.state.items()}
        try:
            learner.policy.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(
                "warm_start: the newest version has another network or other actions; give the changed recipe a name "
                f"of its own ({str(error).splitlines()[-1].strip()})"
            ) from None

    @classmethod
    @abstractmethod
    def _learner(cls, env: Any, options: Any, seed: int) -> Any:
        """A learner of stable-baselines3 over `env`."""

    @abstractmethod
    def _policy(self) -> Policy:
        """The network that decides, built from `state`."""

    def positions(self, features: pd.DataFrame) -> pd.Series:
        return pd.Series(self.trade(features).goal, features.index, name="position")

    def trade(self, rows: pd.DataFrame) -> Trajectory:
        """Trade consecutive bars with an account that is flat before the first.

        rows: `columns` by open_time, and UNTRADED if it is known.
        """
        x = rows.loc[:, list(self.view.columns)].to_numpy("float64")
        candles = rows[[*PRICES, *rows.columns.intersection([UNTRADED])]]
        return self.policy.trade(self.view, self.options.trading, Market(candles, self.costs, self.account), x)

    def save(self, folder: Path) -> None:
        write_arrays(folder / "policy.safetensors", self.state)
        content = {
            "view": self.view.to_dict(),
            "options": self.options.model_dump(mode="json"),
            "costs": self.costs.model_dump(),
            "account": self.account.model_dump(),
            "observation": self.view.names,
            "actions": ACTIONS[self.options.trading.actions],
            "score": self.score,
            "report": self.report,
        }
        write_json(folder / "agent.json", content)

    @classmethod
    def load(cls, folder: Path) -> Self:
        content = read_json(folder / "agent.json")
        model = cls(
            read_arrays(folder / "policy.safetensors"),
            View.from_dict(content["view"]),
            cls.options_type.model_validate(content["options"]),
            Costs.model_validate(content["costs"]),
            Account.model_validate(content["account"]),
            content["report"],
        )
        model.score = content["score"]
        return model


def policy_layers(state: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
    """The weights of torch's linear layers of these names, in the order and shape that Policy takes."""
    weights = {f"w{i}": np.ascontiguousarray(state[f"{name}.weight"].T) for i, name in enumerate(names)}
    return weights | {f"b{i}": state[f"{name}.bias"] for i, name in enumerate(names)}


def _has_finite_weights(learner: Any) -> bool:
    import torch

    return all(bool(torch.isfinite(weights).all()) for weights in learner.policy.parameters())
