"""Speed of agents' training beside gym-anytrading, and where its time goes. Parts of agents.py."""

import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from quantum_training.features.indicators import FEATURES, compute_features
from quantum_training.features.labels import ForwardReturn, make_labels
from quantum_training.features.windows import WindowSize, build_window
from quantum_training.market.schema import as_candles
from quantum_training.models.contract import TrainingContext, algorithm
from quantum_training.trading.costs import Costs
from quantum_training.trading.episodes import Market

CANDLES = Path(os.environ.get("QT_CANDLES_DIR", Path(__file__).resolve().parents[3] / "shared" / "candles"))


def btc() -> TrainingContext:
    """A year of BTC 1h with the 20 features, as in a weekly fit."""
    frame = pd.read_feather(CANDLES / "crypto_1h" / "BTC_USDT-1h.feather").set_index("date")
    candles = as_candles(frame).iloc[-9_200:]
    features = compute_features(candles, candles.index[0])
    labels = make_labels(candles, ForwardReturn(kind="forward_return", horizon=1), 0.0)
    window = build_window(
        features,
        labels,
        as_of=candles.index[-1],
        columns=FEATURES,
        size=WindowSize(max_rows=8_760, validation_fraction=0.2, min_rows=100),
    )
    return TrainingContext(window, market=Market(candles, Costs(fee_bps=1, slippage_bps=1)), seed=1)


def training_loop(quick: bool) -> None:
    from gym_anytrading.envs import StocksEnv

    context = btc()
    window = context.window
    close = context.market.candles["close"].reindex(window.full_times)

    class AnyTrading(StocksEnv):
        def _process_data(self) -> tuple[np.ndarray, np.ndarray]:
            return close.to_numpy("float32"), window.full_x.astype("float32")

    def anytrading(count: int) -> float:
        frame = close.to_frame("Close")
        env = DummyVecEnv([lambda: AnyTrading(df=frame, window_size=1, frame_bound=(1, len(frame)))] * count)
        steps = 2_048 * count * (1 if quick else 4)
        learner = PPO("MlpPolicy", env, seed=1, device="cpu")
        cpu = time.process_time()
        learner.learn(steps)
        return learner.num_timesteps / (time.process_time() - cpu)

    def fit(kind: str, **params: Any) -> tuple[float, float, float]:
        model = algorithm(kind)
        options = model.parse({"device": "cpu", **params})
        cpu, wall = time.process_time(), time.perf_counter()
        learner, _, _ = model._train(context, options)
        spent = time.process_time() - cpu
        return learner.num_timesteps / spent, spent, time.perf_counter() - wall

    fit("ppo", total_steps=1)
    repeats = 1 if quick else 3
    fits = {kind: [fit(kind) for _ in range(repeats)] for kind in ("ppo", "sac")}
    rates = {kind: statistics.median([f[0] for f in runs]) for kind, runs in fits.items()}
    peers = {count: statistics.median([anytrading(count) for _ in range(repeats)]) for count in (1, 8)}
    print("\nWhole loop on BTC 1h, 20 features, 8,760 bars\n\n| | steps/s | ours is |\n| --- | ---: | ---: |")
    print(f"| PPO, our defaults, a whole fit | {rates['ppo']:,.0f} | |")
    for count, rate in peers.items():
        print(f"| PPO, SB3 defaults on gym-anytrading, {count} env | {rate:,.0f} | {rates['ppo'] / rate:,.1f} times |")
    print(f"| SAC, our defaults, a whole fit | {rates['sac']:,.0f} | |")
    for kind, runs in fits.items():
        cpu, wall = (statistics.median([f[i] for f in runs]) for i in (1, 2))
        print(f"\nA default fit of {kind.upper()}: {cpu:.1f} s of CPU, {wall:.1f} s of wall time.")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nPeak memory of this process: {peak:,.0f} MB.", flush=True)


def bare(learner: Any, kind: str, batch: int, repeats: int) -> float:
    """CPU seconds of one update's forward, backward and optimiser passes of the networks alone, on a ready batch."""
    policy = learner.policy
    x = torch.randn(batch, *learner.observation_space.shape)

    def forward_backward(loss: torch.Tensor, optimiser: torch.optim.Optimizer) -> None:
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    def update() -> None:
        if kind == "ppo":
            hidden, value = policy.mlp_extractor(x)
            loss = policy.action_net(hidden).mean() + policy.value_net(value).mean()
            return forward_backward(loss, policy.optimizer)
        actor, critic, target = policy.actor, policy.critic, policy.critic_target
        mean, spread, _ = actor.get_action_dist_params(x)
        action = torch.tanh(mean + spread.exp())
        with torch.no_grad():
            future, _, _ = actor.get_action_dist_params(x)
            target(x, torch.tanh(future))
        forward_backward(sum(q.mean() for q in critic(x, action.detach())), critic.optimizer)
        return forward_backward(torch.cat(critic(x, action), 1).mean(), actor.optimizer)

    for _ in range(3):
        update()
    cpu = time.process_time()
    for _ in range(repeats):
        update()
    return (time.process_time() - cpu) / repeats


def profile(learner_of: Callable[[str], tuple[Any, Any]], quick: bool) -> None:
    """The time of a default training by part: timers around the environment, the policy and the update.

    learner_of: a learner with our defaults, and these, by the algorithm's name.
    """
    print("\nWhere the time goes, defaults\n")
    print("| | environment | policy in the rollout | rest of the rollout | update | bare passes | update / bare |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for kind, steps in {"ppo": 200_000, "sac": 20_000}.items():
        learner, options = learner_of(kind)
        spent = {"env": 0.0, "policy": 0.0, "collect": 0.0, "train": 0.0}

        def timed(owner: Any, name: str, what: str, spent: dict[str, float] = spent) -> None:
            inner = getattr(owner, name)

            def outer(*args: Any, **kwargs: Any) -> Any:
                cpu = time.process_time()
                try:
                    return inner(*args, **kwargs)
                finally:
                    spent[what] += time.process_time() - cpu

            setattr(owner, name, outer)

        learner.learn(options.environments * getattr(options, "rollout_bars", 1))
        updates = learner._n_updates
        timed(learner.get_env(), "step_wait", "env")
        timed(learner.policy, *(("forward", "policy") if kind == "ppo" else ("predict", "policy")))
        timed(learner, "collect_rollouts", "collect")
        timed(learner, "train", "train")
        cpu = time.process_time()
        learner.learn(steps // (4 if quick else 1), reset_num_timesteps=False)
        total = time.process_time() - cpu
        updates = learner._n_updates - updates
        if kind == "ppo":
            updates *= -(-options.environments * options.rollout_bars // options.batch_size)
        passes = updates * bare(learner, kind, options.batch_size, 20 if quick else 100)
        rest = spent["collect"] - spent["env"] - spent["policy"]
        shares = [f"{s / total:.0%}" for s in (spent["env"], spent["policy"], rest, spent["train"], passes)]
        print(f"| {kind.upper()} | " + " | ".join(shares) + f" | {spent['train'] / passes:.2f} |", flush=True)
