"""The market of our environment as people write one by hand for Gymnasium, and the proof that it is the same market."""

from typing import Any

import gymnasium
import numpy as np

from quantum_training.trading.episodes import Bars, Episodes
from quantum_training.trading.gym_env import spaces_of
from quantum_training.trading.observation import HALF_HELD, LIMIT


class PlainEnv(gymnasium.Env):
    """The same market as people write it by hand: arrays, Python numbers, no pandas. Long or flat, a fee per fill.

    Its accounting is checked against ours in `same_market`.
    """

    def __init__(self, bars: Bars, trading: Any, seed: int):
        episodes = Episodes([bars], trading, 1)
        self.observation_space, self.action_space = spaces_of(episodes)
        self.open, self.close, self.rows, self.unit = bars.open.tolist(), bars.close.tolist(), bars.rows, bars.unit
        self.fee, self.slip = bars.costs.fee_bps / 1e4, bars.costs.slippage_bps / 1e4
        self.discrete, self.steps = trading.actions == "discrete", round(1 / trading.step)
        self.longest = min(trading.episode_bars, len(self.close) - 1)
        self.rng = np.random.default_rng(seed)
        self.width = episodes.width

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        bars = int(self.rng.integers(self.longest // 4, self.longest + 1))
        self.t = int(self.rng.integers(0, len(self.close) - bars))
        self.end = self.t + bars
        self.cash, self.units, self.target, self.entry, self.bars_held = 1.0, 0.0, 0.0, 0.0, 0
        self.equity = self.peak = 1.0
        return self.observe(), {}

    def observe(self) -> np.ndarray:
        out = np.empty(self.width, np.float32)
        close, equity = self.close[self.t], self.equity
        out[:-5] = self.rows[self.t]
        out[-5] = self.cash / equity
        out[-4] = self.units * close / equity
        out[-3] = max(min(self.units * (close - self.entry) / equity / self.unit, LIMIT), -LIMIT)
        out[-2] = max((equity / self.peak - 1) / self.unit, -LIMIT)
        out[-1] = self.bars_held / (self.bars_held + HALF_HELD)
        return out

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if self.discrete:
            goal = self.target if action == 0 else (1.0 if action == 1 else 0.0)
        else:
            goal = round(min(max(float(action[0]), 0.0), 1.0) * self.steps) / self.steps
        self.t += 1
        price, before = self.open[self.t], self.equity
        if goal != self.target:
            self.trade(goal, price)
        self.equity = self.cash + self.units * self.close[self.t]
        self.bars_held = self.bars_held + 1 if self.units else 0
        self.peak = max(self.peak, self.equity)
        reward = np.log(self.equity / before) / self.unit
        return self.observe(), float(reward), False, self.t >= self.end, {}

    def trade(self, goal: float, price: float) -> None:
        self.target = goal
        order = goal * (self.cash + self.units * price) / price - self.units
        if order > 0:
            fill = price * (1 + self.slip)
            order = min(order, self.cash / (fill * (1 + self.fee)))
            self.entry = (self.entry * self.units + fill * order) / (self.units + order)
            self.bars_held = 0 if self.units == 0 else self.bars_held
            self.cash -= order * fill * (1 + self.fee)
        else:
            self.cash -= order * price * (1 - self.slip) * (1 - self.fee)
        self.units = self.units + order if goal else 0.0
        self.entry = self.entry if goal else 0.0


def same_market(bars: Bars, trading: Any) -> None:
    """AssertionError if its observations or rewards differ from ours over an episode of random actions."""
    ours, theirs = Episodes([bars], trading, 1, scale=1 / bars.unit), PlainEnv(bars, trading, 0)
    ours.reset()
    theirs.reset()
    account = ours.accounts[0]
    theirs.t, theirs.end = int(account["row"]), int(account["end"])
    theirs.action_space.seed(0)
    while True:
        action = theirs.action_space.sample()
        observations, rewards, done, last = ours.step(np.array([action]))
        mine, reward, _, over, _ = theirs.step(action)
        np.testing.assert_allclose(reward, rewards[0], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(mine, last[0].observation if over else observations[0], rtol=1e-4, atol=1e-5)
        assert over == done[0]
        if over:
            return
