"""The batch as stable-baselines3 sees it: its VecEnv contract, its wrappers, a state to go on from."""

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from quantum_training.trading.account import Account
from quantum_training.trading.episode_kernel import BUY, HOLD, SELL
from quantum_training.trading.episodes import Trading
from quantum_training.trading.vec_env import BatchEnv

SHORT = Account(allow_short=True)
DISCRETE = Trading(actions="discrete", episode_bars=20)


def run_steps(env, steps, seed=0):
    """(observations, rewards, done, infos) of each step with random actions, copied."""
    rng, steps_taken = np.random.default_rng(seed), []
    for _ in range(steps):
        observations, rewards, done, infos = env.step(rng.integers(0, 3, env.num_envs))
        steps_taken.append((observations.copy(), rewards.copy(), done.copy(), infos))
    return steps_taken


def test_the_contract_of_a_vec_env(ready):
    env = BatchEnv([ready(account=SHORT)], DISCRETE, 4)
    assert env.observation_space == spaces.Box(-10, 10, (8,), np.float32)
    assert env.action_space == spaces.Discrete(3)
    assert env.reset_infos == [{}] * 4
    assert env.env_is_wrapped(Monitor) == [False] * 4
    assert env.env_is_wrapped(Monitor, indices=[1, 2]) == [False] * 2
    assert env.get_attr("render_mode", 0) == [None]
    assert env.has_attr("finished")
    assert not env.has_attr("nothing")
    with pytest.raises(AttributeError, match="make another environment"):
        env.set_attr("episodes", None)
    with pytest.raises(AttributeError, match="none has methods of its own"):
        env.env_method("reset")
    observations = env.reset()
    assert (observations.shape, observations.dtype) == ((4, 8), np.float32)
    for observations, rewards, done, infos in run_steps(env, 50):
        assert all(env.observation_space.contains(row) for row in observations)
        assert (rewards.shape, done.shape, done.dtype, len(infos)) == ((4,), (4,), bool, 4)
        assert all(bool(info) == over for info, over in zip(infos, done, strict=True))
    env.close()


def test_the_info_of_an_ended_episode_has_its_last_observation_and_its_totals(ready):
    env = BatchEnv([ready(account=SHORT)], DISCRETE, 4)
    env.reset()
    total, bars, ended = np.zeros(4), np.zeros(4, int), 0
    for observations, rewards, done, infos in run_steps(env, 100):
        total, bars = total + rewards, bars + 1
        for i in np.flatnonzero(done):
            assert infos[i]["TimeLimit.truncated"] is True
            summary = infos[i]["episode"]
            assert summary == {"r": pytest.approx(total[i]), "l": bars[i], "growth": pytest.approx(np.exp(total[i]))}
            assert observations[i, -5:].tolist() == [1, 0, 0, 0, 0], "the next episode has begun"
            assert not np.array_equal(infos[i]["terminal_observation"], observations[i])
            total[i], bars[i], ended = 0, 0, ended + 1
    assert env.finished == ended > 20


def test_a_ruin_is_no_time_limit(ready):
    bars = ready(3, account=SHORT)
    bars.close[1:] = 300 * bars.close[0]
    env = BatchEnv([bars], DISCRETE, 2)
    env.reset()
    _, _, done, infos = env.step(np.array([SELL, HOLD]))
    assert done.tolist() == [True, False]
    assert infos[0]["TimeLimit.truncated"] is False
    _, _, done, infos = env.step(np.array([HOLD, HOLD]))
    assert done.tolist() == [False, True]
    assert infos[1]["TimeLimit.truncated"] is True


def test_a_seed_counts_from_the_next_reset_and_only_once(ready):
    env = BatchEnv([ready(500)], DISCRETE, 3)
    assert env.seed(7) == [7, 8, 9]
    first = env.reset().copy()
    second = env.reset().copy()
    assert not np.array_equal(first, second)
    env.seed(7)
    assert np.array_equal(env.reset(), first)
    assert np.array_equal(env.reset(), second)
    assert len({row.tobytes() for row in first}) == 3


def test_the_wrappers_of_stable_baselines_work(ready):
    wrapped = VecNormalize(VecMonitor(BatchEnv([ready()], DISCRETE, 3)))
    bare = BatchEnv([ready()], DISCRETE, 3)
    for env in (wrapped, bare):
        env.seed(1)
        env.reset()
    ended = 0
    for (observations, _, done, infos), (_, _, over, bare_infos) in zip(
        run_steps(wrapped, 60), run_steps(bare, 60), strict=True
    ):
        assert np.isfinite(observations).all()
        assert np.array_equal(done, over)
        for i in np.flatnonzero(done):
            assert infos[i]["episode"]["r"] == pytest.approx(bare_infos[i]["episode"]["r"], abs=1e-6)
            assert infos[i]["episode"]["l"] == bare_infos[i]["episode"]["l"]
            ended += 1
    assert ended > 5


def test_a_restored_batch_goes_on_with_the_same_bits(ready):
    env = BatchEnv([ready()], DISCRETE, 3)
    env.reset()
    run_steps(env, 40)
    state, expected = env.state(), run_steps(env, 40, seed=1)
    finished = env.finished
    other = BatchEnv([ready()], DISCRETE, 3)
    other.restore(state)
    for one, two in zip(expected, run_steps(other, 40, seed=1), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one[:3], two[:3], strict=True))
    assert other.finished == finished > state["finished"]


def test_rewards_are_scaled_together(ready):
    one, ten = BatchEnv([ready()], DISCRETE, 2), BatchEnv([ready()], DISCRETE, 2, scale=10.0)
    one.reset(), ten.reset()
    buy = np.full(2, BUY)
    assert ten.step(buy)[1] == pytest.approx(10 * one.step(buy)[1])
