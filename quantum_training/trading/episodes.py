"""The environment in which agents learn: many episodes of trading at once over the same arrays, without a framework.

vec_env.py adapts it to stable-baselines3, gym_env.py to Gymnasium. The steps themselves live in episode_kernel.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self

import numpy as np
import pandas as pd
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.liquidity import extra_slippage
from quantum_training.trading.observation import View
from quantum_training.trading.own_reward import NotFiniteRewardError, OwnReward
from quantum_training.trading.simulator import rule_rows

if TYPE_CHECKING:
    from quantum_training.trading.own_reward_kernel import CompiledReward

Share = Annotated[float, Field(ge=0, le=100)]


class Trading(BaseModel):
    """How an agent acts, and how it is rewarded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    actions: Literal["discrete", "continuous"] = Field(
        description="discrete: hold, buy, sell, one level of {-1, 0, 1} ({0, 1} long only) at a time; continuous: the "
        "target position itself."
    )
    step: float = Field(
        0.25, ge=0, le=1, description="Continuous targets are rounded to multiples of this; 0: not at all."
    )
    episode_bars: int = Field(
        480, ge=2, le=100_000, description="Longest episode in bars; the shortest is a quarter of it."
    )
    risk_penalty: Share = Field(0.0, description="Weight of the squared log return, taken off the reward.")
    drawdown_penalty: Share = Field(
        0.0, description="Weight of how much a bar deepens the log drawdown, taken off the reward."
    )
    reward: OwnReward | None = Field(None, description="A reward of one's own in place of the log return.")

    @field_validator("step")
    @classmethod
    def _divides(cls, step: float) -> float:
        if step and abs(round(1 / step) * step - 1) > 1e-6:
            raise ValueError(f"step ({step}) must divide 1, as 1, 0.5, 0.25, 0.2, 0.1, or be 0")
        return step

    @model_validator(mode="after")
    def _has_one_reward(self) -> Self:
        if self.reward and (self.risk_penalty or self.drawdown_penalty):
            raise ValueError(f"reward: {self.reward.module}.reward takes no penalties; let the function subtract them")
        return self

    @model_serializer(mode="wrap")
    def _without_unset(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `reward` if it is not set: artefacts of versions are older than this field."""
        return {name: value for name, value in serialise(self).items() if value is not None}

    def own_reward(self) -> CompiledReward | None:
        """The reward of one's own, compiled. OwnRewardError if it cannot be used."""
        from quantum_training.trading.own_reward_kernel import compiled_reward

        return compiled_reward(self.reward) if self.reward else None

    def not_finite(self, bar: NotFiniteRewardError, times: pd.Index) -> Exception:
        """The error for a bar of these times whose reward is not finite."""
        row, *arguments, reward = bar.args
        return self.reward.not_finite(arguments, reward, f" for the bar {times[row]}") if self.reward else bar


@dataclass(frozen=True, eq=False)
class Market:
    """One symbol as it is traded: candles as simulator.simulate takes them, its costs and its account."""

    candles: pd.DataFrame
    costs: Costs = field(default_factory=Costs)
    account: Account = field(default_factory=Account)


@dataclass(frozen=True, eq=False)
class Bars:
    """Consecutive bars, ready to be traded: arrays of one length. extra: liquidity.extra_slippage; rows: View.rows."""

    index: pd.DatetimeIndex
    open: np.ndarray
    close: np.ndarray
    extra: np.ndarray
    rows: np.ndarray
    unit: float
    costs: Costs
    account: Account

    @classmethod
    def of(cls, view: View, market: Market, features: pd.DataFrame) -> Bars:
        """The bars of `features` (by open_time, a column per feature of the view) that can be observed.

        The candles must begin `view.lags` bars before the first. Bars with a NaN in a feature or a lag are left out.
        """
        index = market.candles.index
        first, last = index.searchsorted([features.index[0], features.index[-1]])
        candles = market.candles.assign(extra=extra_slippage(market.candles, market.costs))
        candles = candles.iloc[max(first - view.lags, 0) : last + 1]
        close = candles["close"].to_numpy("float64")
        rows = view.rows(features.reindex(candles.index)[list(view.columns)].to_numpy("float64"), close)
        keep = ~np.isnan(rows).any(axis=1)
        return cls(
            pd.DatetimeIndex(candles.index[keep]),
            candles["open"].to_numpy("float64")[keep],
            close[keep],
            candles["extra"].to_numpy()[keep],
            np.ascontiguousarray(rows[keep]),
            view.unit,
            market.costs,
            market.account,
        )


def lowest(account: Account) -> float:
    """The lowest target that an agent may choose."""
    return -1.0 if account.allow_short else 0.0


def market_rules(
    units: Sequence[float], costs: Sequence[Costs], account: Account, trading: Trading, scale: float
) -> np.ndarray:
    """How each market is traded, for the kernel: rows of episode_kernel.MARKET without their places.

    units: View.unit of each; scale: multiplies every reward.
    """
    from quantum_training.trading.episode_kernel import MARKET

    markets = np.zeros(len(units), MARKET)
    rules = rule_rows(costs, account)
    for name in rules.dtype.names or ():
        markets[name] = rules[name]
    markets["discrete"], markets["low"], markets["scale"] = trading.actions == "discrete", lowest(account), scale
    markets["steps"] = round(1 / trading.step) if trading.step else 0
    markets["risk"], markets["drawdown"] = trading.risk_penalty, trading.drawdown_penalty
    markets["unit"] = units
    return markets


class Transitions(NamedTuple):
    """Observations, actions and rewards of one account, bar by bar: arrays of one length, in the order of time."""

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    next_observation: np.ndarray


def transitions(bars: Bars, trading: Trading, goals: pd.Series, scale: float) -> Transitions:
    """The transitions of an account that held `goals`: target positions by the bar that filled them, 0 if missing.

    Actions are continuous: the goals themselves. The account is flat before the first bar; they end when it is ruined.
    """
    from quantum_training.trading import episode_kernel

    action = goals.reindex(bars.index).fillna(0.0).to_numpy("float64")[1:]
    observations = np.zeros((len(bars.index), bars.rows.shape[1] + episode_kernel.WIDTH), "float32")
    reward, own = np.zeros(len(action)), trading.own_reward()
    continuous = trading.model_copy(update={"actions": "continuous"})
    market = market_rules([bars.unit], [bars.costs], bars.account, continuous, scale)[0]
    try:
        taken = episode_kernel.follow(
            np.zeros(1, episode_kernel.ACCOUNT),
            action,
            market,
            bars.account.capital,
            np.column_stack([bars.open, bars.close, bars.extra]),
            bars.rows,
            observations,
            reward,
            own and own.address,
        )
    except NotFiniteRewardError as bar:
        raise trading.not_finite(bar, bars.index) from None
    return Transitions(observations[:taken], action[:taken], reward[:taken], observations[1 : taken + 1])


class Ended(NamedTuple):
    """How an episode ended: its number, last observation, whether its account is ruined (else its bars were over), sum
    of rewards, number of bars, and equity / capital."""

    episode: int
    observation: np.ndarray
    ruined: bool
    reward: float
    bars: int
    growth: float


class Episodes:
    """`count` episodes, each over a random stretch of one of the given bars; one that ends begins again.

    Arrays are reused: what `step` returns is valid until the step after the next. `scale` multiplies every reward.
    `mean_bars`: how long an episode lasts on average, unless its account is ruined. ValueError if bars are too few or
    their accounts differ. OwnRewardError if the reward cannot be used, or gives what is not finite at a step.
    """

    def __init__(self, bars: Sequence[Bars], trading: Trading, count: int, scale: float = 1.0):
        from quantum_training.trading import episode_kernel

        self._kernel = episode_kernel
        self.trading, self.count, self.scale = trading, count, scale
        self._own, self._times = trading.own_reward(), [b.index for b in bars]
        if len({b.account for b in bars}) != 1:
            raise ValueError("all markets of an environment need the same account; make one environment per account")
        account = bars[0].account
        self.low, self.capital = lowest(account), account.capital
        longest = [min(trading.episode_bars, len(b.close) - 1) for b in bars]
        if min(longest) < 2:
            raise ValueError(f"{min(len(b.close) for b in bars)} bars are too few for an episode; at least 3")
        self.mean_bars = float(np.mean([(bars + max(bars // 4, 2)) / 2 for bars in longest]))
        prices = np.concatenate([np.column_stack([b.open, b.close, b.extra]) for b in bars])
        block = np.concatenate([b.rows for b in bars])
        markets = market_rules([b.unit for b in bars], [b.costs for b in bars], account, trading, scale)
        markets["longest"], markets["end"] = longest, np.cumsum([len(b.close) for b in bars])
        markets["first"][1:] = markets["end"][:-1]
        markets["share"] = markets["end"] / markets["end"][-1]
        self._markets = markets, account.capital, prices, block
        self.accounts = np.zeros(count, episode_kernel.ACCOUNT)
        self.width = block.shape[1] + episode_kernel.WIDTH
        self._out = [(_aligned(count, self.width), np.zeros(count), np.zeros(count, bool)) for _ in range(2)]
        self._ended = np.zeros((count, self.width), "float32"), np.zeros((count, 5))
        self._turn = 0
        self.seed(0)

    def seed(self, seed: int | Sequence[int | None]) -> None:
        """Seed the random numbers of each episode: from one seed on, or each with its own (None: from the system)."""
        seeds = range(seed, seed + self.count) if isinstance(seed, int) else seed
        self.accounts["random"] = [np.random.SeedSequence(s).generate_state(1, "uint64")[0] for s in seeds]

    def reset(self) -> np.ndarray:
        """Begin all episodes. Returns observations (count, width)."""
        self._turn ^= 1
        observations = self._out[self._turn][0]
        self._kernel.begin_all(self.accounts, *self._markets, observations)
        return observations

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, Sequence[Ended]]:
        """Act in every episode and begin again those that end. actions: (count,) or (count, 1).

        Returns observations, rewards, which are done, and how each of these ended.
        """
        self._turn ^= 1
        out, rewards, done = self._out[self._turn]
        actions, own = actions.reshape(self.count), self._own and self._own.address
        try:
            over = self._kernel.step(self.accounts, actions, *self._markets, out, rewards, done, *self._ended, own)
        except NotFiniteRewardError as bar:
            raise self.trading.not_finite(bar, self._times[0].append(self._times[1:])) from None
        if not over:
            return out, rewards, done, ()
        last, summaries = self._ended
        ended = zip(summaries[:over].tolist(), last[:over].copy(), strict=True)
        episodes = [
            Ended(int(at), observation, ruined != 0, reward, int(bars), equity / self.capital)
            for (at, ruined, reward, bars, equity), observation in ended
        ]
        return out, rewards, done, episodes

    def state(self) -> dict[str, Any]:
        """Everything that the next steps depend on, for `restore`."""
        return {"accounts": self.accounts.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a saved `state`."""
        self.accounts[:] = state["accounts"]


def _aligned(rows: int, columns: int) -> np.ndarray:
    """Zeros, float32, aligned to 64 bytes. The alignment decides how matrix kernels round, so it must be the same in
    every process."""
    memory = np.zeros(rows * columns + 16, "float32")
    first = -memory.ctypes.data % 64 // 4
    return memory[first : first + rows * columns].reshape(rows, columns)
