"""What an agent does, in numbers, and which of them look like a collapse."""

import numpy as np
import pytest

from quantum_training.models.policy import Trajectory
from quantum_training.models.policy_diagnostics import collapse_findings, policy_metrics
from quantum_training.trading.episodes import Trading

DISCRETE, CONTINUOUS = Trading(actions="discrete"), Trading(actions="continuous")
CLOSE = 100 * np.exp(0.001 * np.arange(20))
WELL = {
    "growth_per_bar": 1e-4,
    "flat_share": 0.5,
    "long_share": 0.5,
    "short_share": 0.0,
    "turnover": 0.1,
    "action_entropy": 0.4,
    "mean_reward_first": 1.0,
    "mean_reward_last": 2.0,
}


def trajectory(goal, equity=None, heads=None):
    goal = np.asarray(goal, "float64")
    heads = np.zeros((len(goal), 3), "float32") if heads is None else np.asarray(heads, "float32")
    return Trajectory(goal, heads, np.ones(len(goal)) if equity is None else np.asarray(equity))


def test_numbers_by_hand():
    goal = [np.nan, np.nan, 0, 1, 1, -1, 0, 0, 1, 1]
    curves = [{"step": i, "mean_reward": float(i)} for i in range(20)] + [{"step": 21}]
    metrics = policy_metrics(trajectory(goal, np.linspace(1, 1.5, 10)), CLOSE[:10], DISCRETE, curves)
    assert metrics == {
        "growth_per_bar": pytest.approx(np.log(1.5) / 10),
        "buy_and_hold_per_bar": pytest.approx(0.009 / 10),
        "flat_share": 3 / 8,
        "long_share": 4 / 8,
        "short_share": 1 / 8,
        "turnover": pytest.approx((0 + 1 + 0 + 2 + 1 + 0 + 1 + 0) / 8),
        "action_entropy": pytest.approx(1),
        "mean_reward_first": 0.5,
        "mean_reward_last": 18.5,
    }
    assert "mean_reward_first" not in policy_metrics(trajectory(goal), CLOSE[:10], DISCRETE, [{"step": 1}])


def test_a_ruined_account_has_a_growth():
    metrics = policy_metrics(trajectory(np.ones(20), np.r_[np.ones(10), np.zeros(10)]), CLOSE, DISCRETE, [])
    assert metrics["growth_per_bar"] == pytest.approx(np.log(1e-9) / 20)


def test_entropy_of_discrete_actions_is_of_their_probabilities():
    sure = np.tile([0.0, 50.0, 0.0], (20, 1))
    assert policy_metrics(trajectory(np.ones(20), heads=sure), CLOSE, DISCRETE, [])["action_entropy"] < 1e-10
    half = np.tile([0.0, 0.0, -500.0], (20, 1))
    metrics = policy_metrics(trajectory(np.ones(20), heads=half), CLOSE, DISCRETE, [])["action_entropy"]
    assert metrics == pytest.approx(np.log(2) / np.log(3))


@pytest.mark.parametrize(
    ("goal", "share"),
    [
        (np.zeros(20), 0),
        (np.full(20, 0.999) + np.arange(20) * 1e-5, 0),
        (np.full(20, -1.0), 0),
        (np.tile([0.0, 1.0], 10), np.log(2) / np.log(10)),
        (np.tile([-1.0, 1.0], 10), np.log(2) / np.log(10)),
        ((np.arange(20) + 0.5) / 20, 1),
        ((np.arange(20) + 0.5) / 10 - 1, 1),
    ],
)
def test_entropy_of_continuous_actions_is_of_the_positions_held(goal, share):
    metrics = policy_metrics(trajectory(goal, heads=np.zeros((20, 1))), CLOSE, CONTINUOUS, [])
    assert metrics["action_entropy"] == pytest.approx(share, abs=1e-12)


def test_a_healthy_policy_has_no_findings():
    assert collapse_findings(WELL) == []
    assert collapse_findings({**WELL, "mean_reward_last": 0.5, "growth_per_bar": -1e-4}) == [], (
        "it does not even earn rewards"
    )
    without = {name: value for name, value in WELL.items() if not name.startswith("mean_reward")}
    assert collapse_findings({**without, "growth_per_bar": -1e-4}) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"flat_share": 0.99}, "it is flat on 99.0% of its training bars"),
        ({"long_share": 1.0}, "it is long on 100.0% of its training bars"),
        ({"short_share": 0.995}, "it is short on 99.5% of its training bars"),
        ({"action_entropy": 0.0199}, "its action entropy is 0.020 of the largest possible"),
        ({"turnover": 0.26}, "its position changes by 0.26 a bar"),
        ({"growth_per_bar": -2e-4}, "its reward rose from 1 to 2, but its account loses 2.00e-04 a bar"),
    ],
)
def test_each_collapse_is_reported_with_its_number(changed, message):
    assert collapse_findings({**WELL, **changed}) == [message]
