"""A reward of one's own: what it is given, what it cannot change, and how one that cannot be used is refused."""

import itertools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from quantum_training.lifecycle.settings_check import examine_reward, fit_small
from quantum_training.lifecycle.training.inputs import own_code
from quantum_training.lifecycle.training.version_identity import code_version
from quantum_training.models import feature_set_hash
from quantum_training.settings.schema import Recipe
from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.episode_kernel import BUY, FLOOR, HOLD
from quantum_training.trading.episodes import Episodes, Trading, transitions
from quantum_training.trading.gym_env import TradingEnv
from quantum_training.trading.own_reward import OwnReward, OwnRewardError, reward_in
from quantum_training.trading.own_reward_kernel import compiled_reward
from quantum_training.trading.simulator import simulate
from quantum_training_tests.support import project_reward
from quantum_training_tests.trading.test_episodes import FREE, bars_of, play, stream

DEAR = Costs(fee_bps=20, slippage_bps=5, borrow_bps=3, funding_bps=1)
SHORT = Account(allow_short=True, max_leverage=2)
NUMBERS = itertools.count()
DEFAULT = Path(project_reward.__file__).read_text()


@pytest.fixture
def own(tmp_path, monkeypatch):
    """`own(code, **params)`: the reward of a new module of this code."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(code, **params):
        name = f"reward_{next(NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(code)
        return OwnReward(module=name, params=params)

    return write


BEYOND = """
import numpy as np


def reward(gain, cost, drawdown, position):
    steps = np.zeros(3)
    if position > 0:
        steps[3] = gain
    return steps.sum()
"""


def giving(expression):
    """The code of a reward that returns an expression."""
    return f"import numpy as np\ndef reward(gain, cost, drawdown, position):\n    return {expression}\n"


def test_it_is_given_return_cost_drawdown_and_position_of_each_bar(ready, own):
    """As the simulator accounts for the same positions."""
    bars = ready(120, costs=DEAR, account=SHORT)
    goals = pd.Series(np.random.default_rng(3).choice([-1.0, -0.5, 0.0, 0.5, 1.0], len(bars.index)), bars.index)
    given = {
        name: transitions(bars, Trading(actions="continuous", step=0, reward=own(giving(name))), goals, 1.0).reward
        for name in ("gain", "cost", "drawdown", "position")
    }
    candles = pd.DataFrame({"open": bars.open, "high": bars.open, "low": bars.open, "close": bars.close}, bars.index)
    account = simulate(candles.iloc[1:], goals.iloc[1:], DEAR, SHORT)
    equity = np.r_[SHORT.capital, account.equity[:, 0]]
    np.testing.assert_allclose(given["gain"], np.diff(np.log(equity)), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(given["cost"], account.cost[:, 0] / equity[:-1], rtol=1e-9)
    np.testing.assert_allclose(given["drawdown"], 1 - equity[1:] / np.maximum.accumulate(equity)[1:], atol=1e-12)
    held = account.units[:, 0] * bars.close[1:] / equity[1:]
    np.testing.assert_allclose(given["position"], held, rtol=1e-9, atol=1e-12)
    assert given["cost"].max() > 0
    assert given["position"].min() < 0 < given["drawdown"].max()


@pytest.mark.parametrize("actions", ["discrete", "continuous"])
def test_it_changes_no_observation_no_equity_and_no_end_of_an_episode(ready, own, actions):
    bars = [ready(50, seed, costs=DEAR, account=SHORT) for seed in range(2)]
    reward = own(giving("-1e6 * cost - drawdown + 3 * abs(position) + np.exp(gain)"))
    records = []
    for trading in (
        Trading(actions=actions, episode_bars=20),
        Trading(actions=actions, episode_bars=20, reward=reward),
    ):
        episodes = Episodes(bars, trading, 4)
        first = episodes.reset().copy()
        records.append((first, stream(episodes, trading, 4), episodes.accounts.copy()))
    (first, steps, accounts), (same_first, same_steps, same_accounts) = records
    assert np.array_equal(first, same_first)
    for (seen, rewards, done, ends), (same_seen, own_rewards, same_done, same_ends) in zip(
        steps, same_steps, strict=True
    ):
        assert np.array_equal(seen, same_seen)
        assert np.array_equal(done, same_done)
        assert [(e[:2], e[3:]) for e in ends] == [(e[:2], e[3:]) for e in same_ends]
        assert not np.array_equal(rewards, own_rewards)
    others = [name for name in accounts.dtype.names if name != "rewarded"]
    assert np.array_equal(accounts[others], same_accounts[others])


def test_the_reward_of_the_project_as_ones_own_gives_the_same_rewards_to_the_last_bit(ready, own):
    bars = ready(300, costs=DEAR, account=SHORT)
    ours = Episodes([bars], Trading(actions="discrete", risk_penalty=3.0), 3, scale=7.0)
    theirs = Episodes([bars], Trading(actions="discrete", reward=own(DEFAULT, risk=3)), 3, scale=7.0)
    ours.reset(), theirs.reset()
    for one, other in zip(play(ours, ours.trading), play(theirs, theirs.trading), strict=True):
        assert one[3] == other[3]
        assert one[4].reward == other[4].reward


def test_a_ruin_counts_as_the_floor_without_a_position(own):
    bars = bars_of([(100, 100), (100, 300), (300, 300)])
    for name, expected in {"gain": np.log(FLOOR), "drawdown": 1 - FLOOR, "position": 0.0}.items():
        episodes = Episodes([bars], Trading(actions="discrete", reward=own(giving(name))), 1)
        episodes.reset()
        _, rewards, _, (end,) = episodes.step(np.array([2]))
        assert end.ruined
        assert rewards[0] == end.reward == pytest.approx(expected)


@pytest.mark.parametrize(("expression", "value"), [("np.sqrt(0.5 - position)", "nan"), ("1 / (1 - position)", "inf")])
def test_one_that_is_not_finite_is_an_error_with_the_bar_and_what_it_was_given(own, expression, value):
    """Only the account of the second market holds a position."""
    reward = own(giving(expression))
    bars = bars_of([(100, 100), (100, 110), (110, 121)], FREE)
    later = replace(bars, index=bars.index + pd.Timedelta(days=1))
    given = f"(gain={np.log(1.1):g}, cost=0, drawdown=0, position=1); let it give a finite number"
    episodes = Episodes([bars, later], Trading(actions="discrete", reward=reward), 2)
    episodes.reset()
    episodes.accounts["row"], episodes.accounts["end"] = [0, 3], [2, 5]
    with pytest.raises(OwnRewardError) as raised:
        episodes.step(np.array([HOLD, BUY]))
    name = f"reward: {reward.module}.reward"
    assert str(raised.value) == f"{name} gave {value} for the bar 2024-01-02 01:00:00+00:00 {given}"
    with pytest.raises(OwnRewardError) as raised:
        transitions(bars, Trading(actions="continuous", reward=reward), pd.Series(1.0, bars.index), 1.0)
    assert str(raised.value) == f"{name} gave {value} for the bar 2024-01-01 01:00:00+00:00 {given}"


def test_what_it_raises_is_passed_on(own):
    code = """
def reward(gain, cost, drawdown, position):
    if position > 0:
        raise RuntimeError("no such bar")
    return gain
"""
    episodes = Episodes([bars_of(np.full(12, 100.0))], Trading(actions="discrete", reward=own(code)), 1)
    episodes.reset()
    episodes.step(np.array([HOLD]))
    with pytest.raises(RuntimeError, match="no such bar"):
        episodes.step(np.array([BUY]))


def test_an_index_beyond_an_array_is_an_error(own):
    episodes = Episodes([bars_of(np.full(12, 100.0))], Trading(actions="discrete", reward=own(BEYOND)), 1)
    episodes.reset()
    episodes.step(np.array([HOLD]))
    with pytest.raises(IndexError):
        episodes.step(np.array([BUY]))


def test_an_environment_with_one_goes_to_another_process(own, tmp_path):
    """As libraries of Gymnasium's send it; the function lies elsewhere there."""
    env = TradingEnv(
        [bars_of([(100, 100), (100, 110), (110, 121)], FREE)], Trading(actions="discrete", reward=own(DEFAULT))
    )
    env.reset(seed=0)
    code = "import sys, cloudpickle; print(cloudpickle.load(sys.stdin.buffer).step(1)[1])"
    there = subprocess.run(
        [sys.executable, "-c", code],
        input=cloudpickle.dumps(env),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), *sys.path))},
        check=True,
    )
    assert float(there.stdout) == env.step(BUY)[1] == pytest.approx(np.log(1.1))


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import no_such_library", r"cannot be imported: ModuleNotFoundError: .*; put its folder on PYTHONPATH"),
        ("def other(gain): return gain", "cannot be imported: AttributeError"),
        (
            "def reward(gain, cost): return gain",
            "not take gain, cost, drawdown, position, all numbers: its first arguments",
        ),
        (
            "def reward(gain, drawdown, cost, position): return gain",
            "its first arguments are gain, drawdown, cost, pos",
        ),
        (
            "def reward(gain, cost, drawdown, position, mode='fast'): return gain",
            "all numbers: could not convert string",
        ),
        ("def reward(gain, cost, drawdown, position, weight): return gain", "missing a required argument: 'weight'"),
        ("def reward(gain, cost, drawdown, position, *, w=1.0): return gain", r"numba compiles no argument after a \*"),
        ("def reward(gain, cost, drawdown, position, **more): return gain", r"numba compiles no argument after a \*"),
        (giving("None"), "returns none, not a number; let it return one on every path"),
        (giving("'good'"), "returns .*str.*, not a number"),
        (giving("np.full(2, gain)"), "returns array.*, not a number"),
        ("def reward(gain, cost, drawdown, position):\n    if gain > 0:\n        return 1.0", "not a number"),
        (giving("gain.mean()"), "cannot be compiled: Unknown attribute 'mean' of type float64; use numbers and NumPy"),
        (giving("np.no_such_function(gain)"), "cannot be compiled: .*no_such_function"),
        ("def helper(x): return x\n" + giving("helper(gain)"), r"cannot be compiled: .*'helper'.* put @numba\.njit on"),
        (
            "class reward:\n    def __init__(self, gain, cost, drawdown, position): pass",
            "cannot be compiled: The decorated object is not a function",
        ),
        ("def reward(gain, cost, drawdown, position):\n    import math\n    return gain", "cannot be compiled: Use of"),
    ],
)
def test_one_that_cannot_be_used_is_refused_in_a_line(own, code, problem):
    reward = own(code)
    with pytest.raises(OwnRewardError, match=problem) as refused:
        Trading(actions="discrete", reward=reward).own_reward()
    assert str(refused.value).startswith(f"reward: {reward.module}.reward ")
    assert "\n" not in str(refused.value)


def test_unknown_params_and_a_missing_module_are_named(own):
    with pytest.raises(OwnRewardError, match="got an unexpected keyword argument 'wieght'"):
        own(DEFAULT, wieght=1.0).function()
    with pytest.raises(OwnRewardError, match=r"no_such_module\.reward cannot be imported: ModuleNotFoundError"):
        OwnReward(module="no_such_module").function()


def test_it_may_be_compiled_by_its_module_and_call_what_is(own):
    half = "import numba\n@numba.njit\ndef half(x): return x / 2\n"
    reward = own(half + giving("half(gain)").replace("def", "@numba.njit\ndef"))
    assert compiled_reward(reward).function(0.5, 0.0, 0.0, 0.0) == 0.25


def test_penalties_beside_it_are_refused():
    with pytest.raises(ValidationError, match=r"reward: my_rewards\.reward takes no penalties"):
        Trading(actions="discrete", risk_penalty=1.0, reward=OwnReward(module="my_rewards"))
    assert "reward" not in Trading(actions="discrete").model_dump()


def test_the_check_of_settings_finds_what_is_not_finite_or_not_repeated(own):
    def examine(reward):
        examine_reward({"trading": {"actions": "discrete", "reward": reward.model_dump()}})

    examine(own(DEFAULT))
    examine_reward({})
    examine(own(giving("np.log(1 - drawdown) - cost * abs(position)")))
    with pytest.raises(OwnRewardError, match=r"gave nan \(gain=0, cost=0, drawdown=0, position=0\)"):
        examine(own(giving("gain / drawdown")))
    with pytest.raises(OwnRewardError, match="gives other values if it is called again"):
        examine(own(giving("gain + np.random.normal()")))
    with pytest.raises(OwnRewardError, match="cannot be compiled"):
        examine(own(giving("gain.mean()")))


def test_the_check_of_settings_names_a_reward_that_raises_and_what_it_was_given(own):
    reward = own(BEYOND)
    with pytest.raises(OwnRewardError) as raised:
        examine_reward({"trading": {"actions": "discrete", "reward": reward.model_dump()}})
    given = f"index is out of bounds (gain={np.log(FLOOR):g}, cost=0, drawdown=0.999, position=1)"
    assert str(raised.value) == f"reward: {reward.module}.reward raised IndexError: {given}; mend it"


def test_equal_rewards_are_compiled_once(own):
    reward = own(DEFAULT.replace("risk: float", "other: float = 0.0, risk: float"), risk=2.0, other=1.0)
    same = reward.model_copy(update={"params": dict(reversed(reward.params.items()))})
    assert compiled_reward(same) is compiled_reward(reward)


def recipe(reward=None):
    trading = {"actions": "discrete", **({"reward": reward} if reward else {})}
    return Recipe(algorithm="ppo", label={"kind": "forward_return", "horizon": 1}, params={"trading": trading})


def test_the_check_of_settings_names_a_missing_module_and_a_misspelt_field():
    with pytest.raises(OwnRewardError, match=r"no_such_module\.reward cannot be imported"):
        fit_small(recipe({"module": "no_such_module"}), "1h")
    with pytest.raises(
        ValueError, match=r"ppo: trading\.reward\.module = .*: Field required; .*modul = 'my_rewards': Ext"
    ):
        fit_small(recipe({"modul": "my_rewards"}), "1h")


def test_its_code_is_part_of_a_versions_identity_and_of_dagsters_code_version(own, tmp_path):
    reward = own(DEFAULT, risk=1.0)
    one = recipe(reward.model_dump())
    before = own_code(one), code_version(one)
    assert set(before[0]) == {"reward_code"}
    assert own_code(recipe({**reward.model_dump(), "params": {"risk": 2.0}})) == before[0]
    assert code_version(recipe({**reward.model_dump(), "params": {"risk": 2.0}})) != before[1]
    file = tmp_path / f"{reward.module}.py"
    file.write_text(file.read_text().replace("gain - risk", "gain + risk"))
    feature_set_hash._code.cache_clear()
    assert own_code(one) != before[0]
    assert code_version(one) != before[1]


def test_recipes_without_a_valid_one_have_none():
    assert own_code(recipe()) == {}
    for params in ({}, {"trading": 3}, {"trading": {"reward": "my_rewards"}}, {"trading": {"reward": {"modul": "x"}}}):
        assert reward_in(params) is None
