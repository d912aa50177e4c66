"""The Gymnasium environment: what Gymnasium and stable-baselines3 ask of one, and the batch's bits."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from numba.core.errors import NumbaExperimentalFeatureWarning
from stable_baselines3.common.env_checker import check_env as check_for_stable_baselines
from stable_baselines3.common.vec_env import DummyVecEnv

from quantum_training.trading.account import Account
from quantum_training.trading.episodes import Trading
from quantum_training.trading.gym_env import NAME, TradingEnv
from quantum_training.trading.observation import LIMIT
from quantum_training.trading.vec_env import BatchEnv

SHORT = Account(allow_short=True)
DISCRETE, CONTINUOUS = Trading(actions="discrete", episode_bars=20), Trading(actions="continuous", episode_bars=20)


@pytest.mark.parametrize("trading", [DISCRETE, CONTINUOUS])
def test_both_checkers_pass_without_a_warning(ready, trading):
    made = gymnasium.make(f"{TradingEnv.__module__}:{NAME}", bars=[ready(account=SHORT)], trading=trading)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # A kernel may be compiled here for the first time; the warning is about numba's records, not the environment.
        warnings.simplefilter("ignore", NumbaExperimentalFeatureWarning)
        check_env(made.unwrapped)
        check_for_stable_baselines(TradingEnv([ready(account=SHORT)], trading))


def test_the_spaces_bound_actions_and_observations(ready):
    long_only = TradingEnv([ready()], CONTINUOUS)
    assert long_only.action_space == gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)
    assert TradingEnv([ready(account=SHORT)], CONTINUOUS).action_space.low == -1
    assert TradingEnv([ready()], DISCRETE).action_space == gymnasium.spaces.Discrete(3)
    assert long_only.observation_space == gymnasium.spaces.Box(-LIMIT, LIMIT, (8,), np.float32)


def test_gymnasium_makes_one_or_many_environments_by_name(ready):
    made = gymnasium.make(f"{TradingEnv.__module__}:{NAME}", bars=[ready()], trading=DISCRETE)
    observation, _ = made.reset(seed=3)
    assert np.array_equal(observation, TradingEnv([ready()], DISCRETE).reset(seed=3)[0])
    many = gymnasium.make_vec(NAME, 3, "sync", bars=[ready()], trading=DISCRETE)
    assert many.reset(seed=3)[0][0].tolist() == observation.tolist()


def test_environments_without_a_seed_differ(ready):
    starts = {tuple(TradingEnv([ready(500)], DISCRETE).reset()[0].tolist()) for _ in range(8)}
    assert len(starts) > 1  # of some 450 first bars two may be drawn alike, eight never


@pytest.mark.parametrize("trading", [DISCRETE, CONTINUOUS])
def test_single_environments_give_the_batchs_bits_through_many_episodes(ready, trading):
    bars = [ready(account=SHORT), ready(40, 1, account=SHORT)]
    batch = BatchEnv(bars, trading, 3)
    single = DummyVecEnv([lambda: TradingEnv(bars, trading)] * 3)
    batch.seed(5), single.seed(5)
    assert np.array_equal(batch.reset(), single.reset())
    batch.action_space.seed(0)
    ended = 0
    for _ in range(200):
        actions = np.array([batch.action_space.sample() for _ in range(3)])
        (observations, rewards, done, infos), (one, gains, over, single_infos) = (
            batch.step(actions),
            single.step(actions),
        )
        assert np.array_equal(observations, one)
        assert np.array_equal(rewards.astype("float32"), gains)
        assert np.array_equal(done, over)
        for i in np.flatnonzero(done):
            assert np.array_equal(infos[i]["terminal_observation"], single_infos[i]["terminal_observation"])
            assert infos[i]["TimeLimit.truncated"] == single_infos[i]["TimeLimit.truncated"]
            assert infos[i]["episode"]["growth"] == single_infos[i]["growth"]
        ended += done.sum()
    assert ended > 20


def test_a_ruin_terminates_and_the_end_of_the_bars_truncates(ready):
    bars = ready(3)
    env = TradingEnv([bars], DISCRETE)
    env.reset()
    assert env.step(1)[2:] == (False, False, {})
    terminated, truncated, info = env.step(0)[2:]
    assert (terminated, truncated) == (False, True)
    assert info["growth"] == pytest.approx(bars.close[2] / (bars.open[1] * 1.0001 * 1.0001), rel=1e-6)

    bars = ready(3, account=SHORT)
    bars.close[1:] = 300 * bars.close[0]
    env = TradingEnv([bars], DISCRETE)
    env.reset()
    _, _, terminated, truncated, info = env.step(2)
    assert (terminated, truncated) == (True, False)
    assert info["growth"] < 0


def test_a_reset_in_the_middle_begins_another_episode(ready):
    env = TradingEnv([ready(500)], DISCRETE)
    first, _ = env.reset(seed=1)
    env.step(1)
    second, _ = env.reset()
    assert second[-5:].tolist() == [1, 0, 0, 0, 0]
    assert not np.array_equal(first, second)
    assert np.array_equal(env.reset(seed=1)[0], first)
