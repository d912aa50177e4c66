"""PPO and SAC beside stable-baselines3's defaults: time to a defined quality, speed of the training loop, time by part.

    python -m quantum_training_tests.benchmarks.agents [--quick] [ppo] [sac] [loop] [profile]

One process, one thread, in CPU seconds, so that a busy machine changes little. Quality is the net log growth of the
deterministic policy on new bars, as a share of the best possible (synthetic_edges.py), measured while the clock
stands still; it counts as reached at the first of two measurements in a row. Rows of sbx (JAX) appear where sbx-rl is
installed. BTC comes from QT_CANDLES_DIR, else ../shared/candles beside the repository.
--quick: one seed, few repeats. Without a name, all parts.
"""

import importlib.util
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from quantum_training.models import ppo, sac
from quantum_training.models.agent import Agent
from quantum_training.models.agent_options import AgentOptions
from quantum_training.trading.account import Account
from quantum_training.trading.episodes import Bars
from quantum_training.trading.observation import View
from quantum_training.trading.vec_env import BatchEnv
from quantum_training_tests.benchmarks.agent_speed import profile, training_loop
from quantum_training_tests.benchmarks.plain_env import PlainEnv, same_market
from quantum_training_tests.support import synthetic_edges as edges

TRAIN_BARS, TEST_BARS = 8_760, 4_380
STRENGTH = {"ppo": 0.2, "sac": 0.5}
"""Strength of the markets. SAC's are stronger, because it learns weaker ones only in part."""

ENOUGH = 0.8
QUICK = "--quick" in sys.argv
SEEDS = (1,) if QUICK else (1, 2, 3)
OTHER_SEEDS = (11,) if QUICK else (11, 12, 13, 14, 15)
SBX = importlib.util.find_spec("sbx") is not None


os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
KINDS = {"ppo": (ppo.Model, ppo.PPOOptions, PPO), "sac": (sac.Model, sac.SACOptions, SAC)}


class Clock(BaseCallback):
    """Measures the policy every `every` steps with a stopped clock; may end the training at the goal."""

    def __init__(self, measure: Callable[[Any], float], every: int, stop: bool):
        super().__init__()
        self.measure, self.every, self.stop = measure, every, stop
        self.points: list[tuple[int, float, float, float]] = []
        self.paused_cpu = self.paused_wall = 0.0

    def _on_training_start(self) -> None:
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def _on_rollout_start(self) -> None:
        if self.num_timesteps - (self.points[-1][0] if self.points else 0) >= self.every:
            self.look()

    def look(self) -> None:
        cpu, wall = time.process_time(), time.perf_counter()
        quality = self.measure(self.model)
        spent = cpu - self.cpu - self.paused_cpu, wall - self.wall - self.paused_wall
        self.points.append((self.num_timesteps, *spent, quality))
        self.paused_cpu += time.process_time() - cpu
        self.paused_wall += time.perf_counter() - wall

    def _on_step(self) -> bool:
        return not (self.stop and self.reached())

    def reached(self) -> tuple[int, float, float, float] | None:
        for point, following in zip(self.points, self.points[1:], strict=False):
            if min(point[3], following[3]) >= ENOUGH:
                return point
        return None


def network_of(learner: Any, model: type[Agent]) -> dict[str, np.ndarray]:
    """The learner's policy under stable-baselines3's names, also for a learner of sbx."""
    if not hasattr(learner.policy, "actor_state"):
        return {name: value.cpu().numpy() for name, value in learner.policy.state_dict().items()}
    dense = _dense(learner.policy.actor_state.params)
    names = (
        ["mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2", "action_net"]
        if model is ppo.Model
        else ["actor.latent_pi.0", "actor.latent_pi.2", "actor.mu"]
    )
    state = {}
    for i, name in enumerate(names):
        state[f"{name}.weight"] = np.asarray(dense[f"Dense_{i}"]["kernel"]).T
        state[f"{name}.bias"] = np.asarray(dense[f"Dense_{i}"]["bias"])
    return state


def _dense(tree: Any) -> dict[str, Any]:
    layers = {}
    for name, value in tree.items():
        if name.startswith("Dense_"):
            layers[name] = value
        elif hasattr(value, "items"):
            layers |= _dense(value)
    return layers


@dataclass
class Setting:
    """One row: `make` gives a learner for a world and a seed, which is measured every `every` steps, up to `total`.
    stop: end it once it is there."""

    name: str
    kind: str
    make: Callable[["World", int], Any]
    every: int
    total: int
    network: tuple[int, ...] = ()
    stop: bool = True


class World:
    """A training market, and the value of its policies on the test market."""

    def __init__(self, seed: int, kind: str):
        self.model, self.options_type, _ = KINDS[kind]
        self.options = self.options_type()
        context = edges.training_context(edges.sine_market(seed, TRAIN_BARS, STRENGTH[kind]))
        self.window, market = context.window, context.market
        close = market.candles["close"].reindex(self.window.full_times).to_numpy("float64")
        self.view = View.fit(self.window.columns, self.window.full_x, close, self.options.lags)
        features = pd.DataFrame(self.window.full_x, self.window.full_times, list(self.window.columns))
        self.bars = Bars.of(self.view, market, features)
        self.test = edges.sine_market(1_000, TEST_BARS, STRENGTH[kind])
        self.rows = self.test.rows
        self.best = self.test.growth(self.test.best_positions())

    def plain(self, count: int) -> DummyVecEnv:
        return DummyVecEnv([lambda i=i: PlainEnv(self.bars, self.options.trading, i) for i in range(count)])

    def batch(self, options: AgentOptions) -> BatchEnv:
        return BatchEnv([self.bars], options.trading, options.environments, scale=1 / self.view.unit)

    def quality(self, network: tuple[int, ...]) -> Callable[[Any], float]:
        options = self.options.model_copy(update={"network": network or self.options.network})

        def measure(learner: Any) -> float:
            state = network_of(learner, self.model)
            policy = self.model(state, self.view, options, edges.COSTS, Account(), {})
            return float(np.log(max(policy.trade(self.rows).equity[-1], 1e-9)) / len(self.rows) / self.best)

        return measure


def peer(kind: str, count: int, **params: Any) -> Callable[[World, int], Any]:
    """stable-baselines3's learner on plain environments, with its defaults for what `params` leaves out."""
    return lambda world, seed: KINDS[kind][2]("MlpPolicy", world.plain(count), seed=seed, device="cpu", **params)


def ours(kind: str, **params: Any) -> Callable[[World, int], Any]:
    model, options_type, _ = KINDS[kind]

    def make(world: World, seed: int) -> Any:
        options = options_type(**{"device": "cpu", **params})
        return model._learner(world.batch(options), options, seed)

    return make


def setting(kind: str, name: str, every: int, total: int, **params: Any) -> Setting:
    return Setting(name, kind, ours(kind, **params), every, total, params.get("network", ()))


def run(setting: Setting, seed: int) -> dict[str, Any]:
    world = World(seed, setting.kind)
    learner = setting.make(world, seed)
    clock = Clock(world.quality(setting.network), setting.every, setting.stop)
    learner.learn(setting.total, clock, log_interval=None)
    clock.look()
    steps, cpu, _, final = clock.points[-1]
    return {"reached": clock.reached(), "rate": steps / cpu, "cpu": cpu, "steps": steps, "final": final}


def median(values: Sequence[float | None]) -> float | None:
    """Of the values; None counts as never."""
    middle = statistics.median([np.inf if v is None else v for v in values])
    return None if np.isinf(middle) else middle


def table(title: str, settings: Sequence[Setting], seeds: Sequence[int] = SEEDS) -> None:
    print(f"\n{title}\n")
    print(
        "| | CPU s to 80 % | wall s | steps | times the first | seeds there | steps/s | share of the best at the end |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    base, at_least = 0.0, ""
    for row, each in enumerate(settings):
        done = [run(each, seed) for seed in seeds]
        steps, cpu, wall = (median([d["reached"][i] if d["reached"] else None for d in done]) for i in range(3))
        if row == 0:
            base, at_least = (cpu, "") if cpu is not None else (statistics.median([d["cpu"] for d in done]), "> ")
        costs = ["never" if v is None else f"{v:,.{digits}f}" for v, digits in ((cpu, 1), (wall, 1), (steps, 0))]
        ratio = "" if row == 0 or cpu is None else f"{at_least}{base / cpu:,.1f}"
        there = sum(d["reached"] is not None for d in done)
        rate, final, end = (statistics.median([d[name] for d in done]) for name in ("rate", "final", "steps"))
        cells = [*costs, ratio, f"{there} of {len(done)}", f"{rate:,.0f}", f"{final:.2f} at {end:,.0f}"]
        print(f"| {each.name} | " + " | ".join(cells) + " |", flush=True)


def sbx(kind: str, **params: Any) -> Callable[[World, int], Any]:
    """sbx's learner with the same parameters as `ours` would have."""

    def make(world: World, seed: int) -> Any:
        import sbx as library

        options = KINDS[kind][1](**params)
        same = {
            "learning_rate": options.learning_rate,
            "batch_size": options.batch_size,
            "gamma": options.gamma,
            "policy_kwargs": {"net_arch": list(options.network)},
            "seed": seed,
        }
        if kind == "ppo":
            return library.PPO(
                "MlpPolicy", world.batch(options), n_steps=options.rollout_bars, n_epochs=options.epochs, **same
            )
        return library.SAC(
            "MlpPolicy",
            world.batch(options),
            tau=options.tau,
            train_freq=1,
            gradient_steps=options.gradient_steps,
            learning_starts=options.learning_starts,
            buffer_size=options.buffer_size,
            ent_coef=f"auto_{options.first_temperature}",
            **same,
        )

    return make


def ppo_quality() -> None:
    def batch(name: str, bars: int, **params: Any) -> Setting:
        return setting("ppo", f"BatchEnv, {name}", bars, 250_000, **params)

    shared = {"epochs": 4, "batch_size": 2048, "learning_rate": 3e-3}
    rows = [
        Setting("SB3 defaults, 1 plain Gymnasium env", "ppo", peer("ppo", 1), 4_096, 120_000),
        Setting("SB3 defaults, 8 plain Gymnasium envs", "ppo", peer("ppo", 8), 16_384, 120_000),
        batch(
            "64 x 32, 512, 10 epochs, 1e-3",
            8_192,
            environments=64,
            rollout_bars=32,
            batch_size=512,
            epochs=10,
            learning_rate=1e-3,
        ),
        batch(
            "256 x 64, 4096, 4 epochs, 1e-3",
            16_384,
            environments=256,
            rollout_bars=64,
            batch_size=4096,
            epochs=4,
            learning_rate=1e-3,
        ),
        batch(
            "256 x 32, 2048, 4 epochs, 1e-3",
            8_192,
            environments=256,
            rollout_bars=32,
            **shared | {"learning_rate": 1e-3},
        ),
        batch("512 x 16, 2048, 4 epochs, 3e-3", 8_192, environments=512, rollout_bars=16, **shared),
        batch("256 x 32, 2048, 4 epochs, 3e-3: our defaults", 8_192),
    ]
    rows[-1].stop = False
    if SBX:
        rows.append(Setting("the same by sbx, compiling included", "ppo", sbx("ppo"), 8_192, 250_000, stop=False))
    table("PPO: environments x bars of a rollout, batch, epochs, learning rate", rows)


def ppo_budget() -> None:
    """The two soonest over the whole budget: which of them gets there whatever the seed, and stays."""
    rows = [
        setting("ppo", "256 x 32: our defaults", 8_192, 245_760),
        setting("ppo", "512 x 16", 8_192, 245_760, environments=512, rollout_bars=16),
    ]
    for row in rows:
        row.stop = False
    table("PPO: the whole budget, other seeds", rows, OTHER_SEEDS)


def sac_quality() -> None:
    def batch(name: str, **params: Any) -> Setting:
        bars = 25 * params.get("environments", 256)
        return setting("sac", f"BatchEnv, {name}", bars, 20 * bars, **params)

    tuned = {"learning_rate": 2e-3, "ent_coef": "auto_0.03", "tau": 0.02}
    rows = [
        Setting("SB3 defaults, 1 plain Gymnasium env", "sac", peer("sac", 1), 500, 5_000),
        Setting("the same, 2e-3, temperature 0.03, tau 0.02", "sac", peer("sac", 1, **tuned), 250, 3_000),
        batch("256 x 1, 3e-4, temperature 1, tau 0.005", learning_rate=3e-4, first_temperature=1.0, tau=0.005),
        batch("256 x 1, 2e-3, temperature 1", first_temperature=1.0),
        batch("32 x 1, 2e-3, temperature 0.03", environments=32),
        batch("256 x 2, 2e-3, temperature 0.03", gradient_steps=2),
        batch("256 x 1, 2e-3, temperature 0.03, batch 512", batch_size=512),
        batch("256 x 1, 2e-3, temperature 0.03, [64, 64]", network=(64, 64)),
        batch("256 x 1, 2e-3, temperature 0.03: our defaults"),
    ]
    rows[-1].stop = False
    if SBX:
        name = "the same by sbx, compiling included"
        rows.append(Setting(name, "sac", sbx("sac"), 6_400, 128_000, stop=False))
    table("SAC: environments x updates per bar, learning rate, first temperature", rows)


def learner_of(kind: str) -> tuple[Any, Any]:
    options = KINDS[kind][1](device="cpu")
    world = World(1, kind)
    return world.model._learner(world.batch(options), options, 1), options


PARTS: dict[str, Callable[[], None]] = {
    "ppo": ppo_quality,
    "budget": ppo_budget,
    "sac": sac_quality,
    "loop": lambda: training_loop(QUICK),
    "profile": lambda: profile(learner_of, QUICK),
}


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for kind, (_, options_type, _) in KINDS.items():
        same_market(World(1, kind).bars, options_type().trading)
    parts = [part for part in sys.argv[1:] if part in PARTS] or list(PARTS)
    for part in parts:
        PARTS[part]()


if __name__ == "__main__":
    main()
