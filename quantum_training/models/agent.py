"""What agents share: learning by trading in the simulator, deciding with an account of their own, and the artefact.

One library's calls live in that algorithm's file (ppo.py, sac.py); the network at work is policy.py.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from quantum_training.models.contract import MEMORY_BARS, AlgorithmTraits, Model, TrainingContext, parse_params
from quantum_training.models.policy import Lived, Policy
from quantum_training.models.policy_diagnostics import action_shares, behaviour
from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.episodes import Bars, Market, Trading
from quantum_training.trading.observation import View

ACTIONS = {"discrete": ("hold", "buy", "sell"), "continuous": ("target position",)}
"""What the network's outputs stand for."""

PRICES = ("open", "close")

ACTION = "action/"
"""How the shares of the actions are named in a report."""

Network = Annotated[
    tuple[Annotated[int, Field(ge=1, le=8_192)], ...],
    Field(min_length=1, max_length=4, description="Hidden layers of actor and critic."),
]


class Options(BaseModel):
    """The `params` of a recipe of any agent; ppo.py and sac.py add their own and set the defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trading: Trading
    lags: int = Field(8, ge=0, le=200, description="Last log returns in an observation.")
    total_steps: int = Field(ge=1, le=1_000_000_000, description="Budget of a fit in bars traded.")
    max_seconds: float | None = Field(
        None, gt=0, description="Budget of a fit in wall time; where it ends a fit, the version is not reproducible."
    )
    save_seconds: float = Field(60.0, gt=0, description="How often the state of a training is kept.")
    environments: int = Field(ge=1, le=65_536, description="Episodes at once.")
    batch_size: int = Field(ge=2, le=1_000_000, description="Samples per gradient step.")
    learning_rate: float = Field(gt=0, le=1, description="Of Adam.")
    gamma: float = Field(0.99, gt=0, le=1, description="Discount per bar.")
    network: Network
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the networks are trained; auto: on a GPU where there is one."
    )
    threads: int = Field(1, ge=1, le=256, description="Threads of torch; the same bits come with the same number only.")

    def steps_of(self, episodes: int) -> int:
        """Bars that so many episodes last on average."""
        longest = self.trading.episode_bars
        return max(episodes * (longest + max(longest // 4, 2)) // 2, 1)


class Agent(Model):
    """A policy that reads features, last returns and its own account, trained by trading the window's bars.

    Its positions depend on the account, so `positions` lives through the rows from the first on, flat before it.
    Sizing does not apply: an action is a position. `score` is the log growth per bar on its training bars.
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
                "trading.simulator",
                "trading.episode_kernel",
                "trading.episodes",
                "trading.observation",
                "trading.gym_env",
                "trading.vec_env",
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
    memory = MEMORY_BARS
    has_account = True
    options_type: ClassVar[type[Options]]

    def __init__(
        self,
        state: Mapping[str, np.ndarray],
        view: View,
        options: Options,
        costs: Costs,
        account: Account,
        report: dict[str, float],
    ):
        self.state, self.view, self.options = state, view, options
        self.costs, self.account, self.report = costs, account, report
        self.columns, self.importance = (*view.columns, *PRICES), {}
        self.policy = self._policy()
        asked = (view.width, len(ACTIONS[options.trading.actions]))
        if (self.policy.sizes[0], self.policy.sizes[-1]) != asked:
            raise ValueError(
                f"a network of {self.policy.sizes[0]} numbers in and {self.policy.sizes[-1]} out cannot decide on "
                f"{asked[0]} observed numbers among {asked[1]} actions; the artefact's files do not belong together"
            )

    @classmethod
    def fit(cls, context: TrainingContext) -> Self:
        """Train for the budget of `params` on the window's bars, from the last checkpoint of a killed run if there is
        one.

        FloatingPointError if the training diverges. ValueError names a parameter that is unknown or out of bounds.
        """
        window, market = context.window, cls._market(context)
        options = cls.parse(context.params)
        learner, watch, view = cls._train(context, options)
        state = {name: value.cpu().numpy() for name, value in learner.policy.state_dict().items()}
        model = cls(state, view, options, market.costs, market.account, {})
        rows = pd.DataFrame(window.full_x, window.full_times, list(window.columns))
        candles = market.candles.loc[window.full_times[0] : window.full_times[-1], [*PRICES]]
        lived = model.live(rows.reindex(candles.index).join(candles))
        model.curves = watch.curves
        model.report = {
            "steps": float(learner.num_timesteps),
            "episodes": float(watch.curves[-1]["episodes"]),
            "out_of_time": float(watch.out_of_time),
            **behaviour(lived, candles["close"].to_numpy(), options.trading, watch.curves),
            **{f"{ACTION}{name}": share for name, share in action_shares(lived, options.trading).items()},
        }
        model.score = model.report["growth_per_bar"]
        return model

    @classmethod
    def parse(cls, params: Mapping[str, Any]) -> Options:
        """The params, checked. ValueError names each that is wrong, its value and what is allowed."""
        return parse_params(cls.options_type, params)

    @classmethod
    def _market(cls, context: TrainingContext) -> Market:
        if context.market is None:
            raise ValueError(f"{cls.__module__} learns by trading: set `market` of the training context")
        return context.market

    @classmethod
    def _train(cls, context: TrainingContext, options: Options) -> tuple[Any, Any, View]:
        import torch

        from quantum_training.models.training_callback import Watch, diverged
        from quantum_training.trading.vec_env import BatchEnv

        torch.set_num_threads(options.threads)
        window, market = context.window, cls._market(context)
        close = market.candles["close"].reindex(window.full_times).to_numpy("float64")
        view = View.fit(window.columns, window.full_x, close, options.lags)
        bars = Bars.of(view, market, pd.DataFrame(window.full_x, window.full_times, list(window.columns)))
        env = BatchEnv([bars], options.trading, options.environments, scale=1 / view.unit)
        learner = cls._learner(env, options, context.seed)
        cls._start(learner, view, bars, options, context)
        folder = context.checkpoint_dir
        state = folder / f"seed-{context.seed}.safetensors" if folder else None
        made_of = {"options": options.model_dump(mode="json"), "seed": context.seed, "data": window.content_hash}
        watch = Watch(context.progress, state, made_of, options.total_steps, options.max_seconds, options.save_seconds)
        watch.model = learner
        resumed = watch.resume()
        if not watch.finished:
            left = options.total_steps - learner.num_timesteps
            try:
                learner.learn(left, watch, log_interval=None, reset_num_timesteps=not resumed)
            except ValueError as error:  # torch refuses a distribution of NaN
                if all(bool(torch.isfinite(weights).all()) for weights in learner.policy.parameters()):
                    raise
                raise FloatingPointError(diverged("a weight", float("nan"), learner.num_timesteps)) from error
            watch.finish()
        if any(not bool(torch.isfinite(weights).all()) for weights in learner.policy.parameters()):
            raise FloatingPointError(diverged("a weight", float("nan"), learner.num_timesteps))
        return learner, watch, view

    @classmethod
    def _start(cls, learner: Any, view: View, bars: Bars, options: Options, context: TrainingContext) -> None:
        """Prepare the learner for its first step: load the weights of the version that the fit starts from, if any."""
        import torch

        if context.warm_start_from is None:
            return
        if not isinstance(context.warm_start_from, cls):
            raise ValueError(
                f"warm_start: the newest version is no {cls.__module__}; give the recipe a name of its own"
            )
        if context.warm_start_from.view.names != view.names:
            raise ValueError(
                "warm_start: the newest version has other observations; give the changed recipe a name of its own "
                f"(those of one only: {', '.join(sorted({*context.warm_start_from.view.names} ^ {*view.names}))})"
            )
        weights = {name: torch.from_numpy(np.array(value)) for name, value in context.warm_start_from.state.items()}
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
        """The network that decides, out of `state`."""

    def positions(self, features: pd.DataFrame) -> pd.Series:
        return pd.Series(self.live(features).goal, features.index, name="position")

    def live(self, rows: pd.DataFrame) -> Lived:
        """Trade consecutive bars with an account that is flat before the first. rows: `columns` by open_time."""
        x = rows.loc[:, list(self.view.columns)].to_numpy("float64")
        opens, close = (rows[name].to_numpy("float64") for name in PRICES)
        return self.policy.live(self.view, self.options.trading, self.costs, self.account, x, opens, close)

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        save_file(
            {name: np.ascontiguousarray(value) for name, value in self.state.items()}, folder / "policy.safetensors"
        )
        sidecar = {
            "view": self.view.to_dict(),
            "options": self.options.model_dump(mode="json"),
            "costs": self.costs.model_dump(),
            "account": self.account.model_dump(),
            "observation": self.view.names,
            "actions": ACTIONS[self.options.trading.actions],
            "score": self.score,
            "report": self.report,
        }
        (folder / "agent.json").write_text(json.dumps(sidecar, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> Self:
        from safetensors.numpy import load_file

        sidecar = json.loads((folder / "agent.json").read_text())
        model = cls(
            load_file(folder / "policy.safetensors"),
            View.from_dict(sidecar["view"]),
            cls.options_type.model_validate(sidecar["options"]),
            Costs.model_validate(sidecar["costs"]),
            Account.model_validate(sidecar["account"]),
            sidecar["report"],
        )
        model.score = sidecar["score"]
        return model


def layers(state: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Linear layers of torch by name, as Policy wants them."""
    weights = {f"w{i}": np.ascontiguousarray(state[f"{name}.weight"].T) for i, name in enumerate(names)}
    return weights | {f"b{i}": state[f"{name}.bias"] for i, name in enumerate(names)}
