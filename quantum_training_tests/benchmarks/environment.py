"""Steps per second of the trading environment beside gym-anytrading and a plain Gymnasium environment on arrays.

    python -m quantum_training_tests.benchmarks.environment [candles]

candles: folder of the real candles, else QT_CANDLES_DIR, else ../shared/candles. BTC 1h, random actions drawn before;
20 features, 5 lags and 5 numbers of the portfolio are observed, by gym-anytrading its own window of 10 bars x 2.
Medians of five rounds in which all take turns, per CPU second and by the clock: other work on the machine slows both,
not alike. Prints a Markdown table and fails where the plain environment rewards or observes anything else than ours.
The last line is about a reward of one's own (support/careful_reward.py) beside that of the project.
"""

import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pandas as pd
from gym_anytrading.envs import StocksEnv
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from quantum_training.features.indicators import FEATURES, compute_features
from quantum_training.market.schema import as_candles
from quantum_training.trading.costs import Costs
from quantum_training.trading.episodes import Bars, Market, Trading
from quantum_training.trading.gym_env import TradingEnv
from quantum_training.trading.observation import HALF_HELD, LIMIT, View
from quantum_training.trading.own_reward import OwnReward
from quantum_training.trading.vec_env import BatchEnv

FEATURES_USED, LAGS, WINDOW, ROUNDS, SECONDS, PREPARED_ACTIONS = 20, 5, 10, 5, 0.3, 256
COSTS = Costs(fee_bps=10, slippage_bps=0)
TRADING = Trading(actions="discrete")
OWN = TRADING.model_copy(update={"reward": OwnReward(module="quantum_training_tests.support.careful_reward")})
COUNTS = (1, 64, 1024)
GOAL, OWN_GOAL = 50, 0.8


class PlainEnv(gymnasium.Env):
    """What one writes by hand: long or flat, a fee, the same observations; arrays and floats, no frames."""

    def __init__(self, bars: Bars):
        self.open, self.close, self.rows, self.unit = bars.open.tolist(), bars.close.tolist(), bars.rows, bars.unit
        self.fee, self.width = COSTS.fee_bps / 1e4, bars.rows.shape[1]
        self.observation_space = spaces.Box(-LIMIT, LIMIT, (self.width + 5,), np.float32)
        self.action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        bars = int(self.np_random.integers(TRADING.episode_bars // 4, TRADING.episode_bars + 1))
        self.begin(int(self.np_random.integers(0, len(self.close) - bars)), bars)
        return self.observe(), {}

    def begin(self, row: int, bars: int) -> None:
        self.row, self.end = row, row + bars
        self.cash = self.equity = self.peak = 1.0
        self.units = self.entry = 0.0
        self.bars_held = 0

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.row += 1
        before, price, close = self.equity, self.open[self.row], self.close[self.row]
        if action == 1 and self.units == 0:
            self.units, self.cash, self.entry, self.bars_held = self.cash / (price * (1 + self.fee)), 0.0, price, 0
        elif action == 2 and self.units != 0:
            self.cash += self.units * price * (1 - self.fee)
            self.units = self.entry = 0.0
        self.bars_held = self.bars_held + 1 if self.units else 0
        self.equity = self.cash + self.units * close
        self.peak = max(self.peak, self.equity)
        return self.observe(), math.log(self.equity / before), False, self.row >= self.end, {}

    def observe(self) -> np.ndarray:
        observation = np.empty(self.width + 5, np.float32)
        observation[: self.width] = self.rows[self.row]
        close, equity = self.close[self.row], self.equity
        observation[self.width :] = (
            self.cash / equity,
            self.units * close / equity,
            min(max(self.units * (close - self.entry) / equity / self.unit, -LIMIT), LIMIT),
            max((equity / self.peak - 1) / self.unit, -LIMIT),
            self.bars_held / (self.bars_held + HALF_HELD),
        )
        return observation


def same_as_ours(bars: Bars) -> None:
    """AssertionError if the plain environment's episode differs from ours."""
    ours, plain = TradingEnv([bars], TRADING), PlainEnv(bars)
    observation, _ = ours.reset(seed=0)
    start, end = (int(ours.episodes.accounts[name][0]) for name in ("start", "end"))
    plain.begin(start, end - start)
    np.testing.assert_allclose(plain.observe(), observation, atol=1e-5)
    done = False
    for action in np.random.default_rng(0).integers(0, 3, end - start):
        assert not done
        (observation, reward, _, done, _), (theirs, other, _, ended, _) = ours.step(action), plain.step(int(action))
        np.testing.assert_allclose(theirs, observation, atol=1e-5)
        assert math.isclose(reward, other, abs_tol=1e-12)
        assert done == ended


def stepping(env: Any, count: int, actions: int) -> Callable[[int], None]:
    """Step a vector environment some times with random actions."""
    random_actions = np.random.default_rng(0).integers(0, actions, (PREPARED_ACTIONS, count))
    env.seed(0)
    env.reset()

    def run(times: int) -> None:
        for i in range(times):
            env.step(random_actions[i % PREPARED_ACTIONS])

    return run


def stepping_one(env: gymnasium.Env, actions: int) -> Callable[[int], None]:
    """Step a Gymnasium environment some times with random actions."""
    random_actions = np.random.default_rng(0).integers(0, actions, PREPARED_ACTIONS).tolist()
    env.reset(seed=0)

    def run(times: int) -> None:
        for i in range(times):
            _, _, terminated, truncated, _ = env.step(random_actions[i % PREPARED_ACTIONS])
            if terminated or truncated:
                env.reset()

    return run


def contenders(candles: pd.DataFrame) -> list[tuple[str, int, Callable[[int], None]]]:
    """Name, environments and how to step them."""
    columns = FEATURES[:FEATURES_USED]
    features = compute_features(candles, candles.index[0])[list(columns)].dropna()
    close = candles["close"].reindex(features.index).to_numpy()
    view = View.fit(columns, features.to_numpy(), close, LAGS)
    bars = Bars.of(view, Market(candles, COSTS), features)
    same_as_ours(bars)
    titled = candles.rename(columns=str.title)

    def anytrading() -> StocksEnv:
        return StocksEnv(titled, WINDOW, (WINDOW, len(titled)))

    def plain() -> PlainEnv:
        return PlainEnv(bars)

    environments = [
        (name, count, stepping(BatchEnv([bars], trading, count), count, 3))
        for name, trading in (("BatchEnv", TRADING), ("BatchEnv, own reward", OWN))
        for count in COUNTS
    ]
    environments += [("TradingEnv, raw", 1, stepping_one(TradingEnv([bars], TRADING), 3))]
    for name, make, actions in (("gym-anytrading", anytrading, 2), ("plain Gymnasium", plain, 3)):
        environments += [(f"{name}, raw", 1, stepping_one(make(), actions))]
        environments += [
            (f"{name}, DummyVecEnv", count, stepping(DummyVecEnv([make] * count), count, actions)) for count in (1, 64)
        ]
    return environments


def main(folder: Path) -> None:
    candles = as_candles(pd.read_feather(folder / "crypto_1h" / "BTC_USDT-1h.feather").set_index("date"))
    each, times = contenders(candles), []
    for _, _, run in each:
        run(PREPARED_ACTIONS)
        start = time.process_time()
        run(PREPARED_ACTIONS)
        times.append(max(1, round(PREPARED_ACTIONS * SECONDS / (time.process_time() - start))))
    rates = np.empty((ROUNDS, len(each), 2))
    for round_ in range(ROUNDS):
        for at, (_, count, run) in enumerate(each):
            cpu, clock = time.process_time(), time.perf_counter()
            run(times[at])
            spent = time.process_time() - cpu, time.perf_counter() - clock
            rates[round_, at] = count * times[at] / np.array(spent)
    peer = {count: at for at, (name, count, _) in enumerate(each) if name == "gym-anytrading, DummyVecEnv"}
    peer[1024] = peer[64]
    times_peer = {
        (name, count): float(np.median(rates[:, at, 0] / rates[:, peer[count], 0]))
        for at, (name, count, _) in enumerate(each)
    }
    print(f"{len(candles):,} bars of BTC, steps per second; against gym-anytrading in DummyVecEnv (1,024: its 64)\n")
    print(
        "| | environments | per CPU second | by the clock | times gym-anytrading |\n| --- | ---: | ---: | ---: | ---: |"
    )
    for at, (name, count, _) in enumerate(each):
        cpu, clock = np.median(rates[:, at], axis=0)
        print(f"| {name} | {count:,} | {cpu:,.0f} | {clock:,.0f} | {times_peer[name, count]:,.1f} |")
    ours = times_peer["BatchEnv", 64]
    print(f"\nGoal: {GOAL} times gym-anytrading at 64; {'met' if ours >= GOAL else 'missed'} at {ours:.0f}")
    at = {(name, count): number for number, (name, count, _) in enumerate(each)}
    own, project = (rates[:, [at[name, count] for count in COUNTS], 0] for name in ("BatchEnv, own reward", "BatchEnv"))
    shares = np.median(own / project, axis=0)
    result = "met" if min(shares) >= OWN_GOAL else "missed"
    listed = ", ".join(f"{share:.0%} at {count:,}" for share, count in zip(shares, COUNTS, strict=True))
    print(f"Goal: {OWN_GOAL:.0%} of the speed with an own reward; {result}: {listed}")


if __name__ == "__main__":
    beside = Path(__file__).parents[3] / "shared" / "candles"
    main(Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("QT_CANDLES_DIR") or beside))
