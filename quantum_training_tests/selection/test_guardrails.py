"""The guardrails of a challenger, each at its limit."""

import numpy as np
import pandas as pd
import pytest

from quantum_training.selection.guardrails import ScoredReturns, data_is_complete, guardrails, spa_p
from quantum_training.selection.joint_rule import JointRule
from quantum_training.selection.rule import EvidenceRule, ImprovementRule
from quantum_training.trading.metrics import sharpe
from quantum_training.trading.uncertainty import deflated_sharpe

OFF = {"min_dsr": 0.0, "max_spa_p": 1.0}
RNG = np.random.default_rng(4)
BARS = 1000
GOOD, FAIR = RNG.normal(0.002, 0.01, BARS), RNG.normal(0.0, 0.01, BARS)


def run(rule, challenger, incumbent, incumbent_name="old", turnover=(0.1, 0.1), record=None):
    net = pd.DataFrame({"new": challenger, "old": incumbent, "buy_and_hold": FAIR})
    traded = pd.DataFrame({"new": turnover[0], "old": turnover[1], "buy_and_hold": 0.0}, net.index)
    return guardrails(
        rule, "new", incumbent_name, ScoredReturns(net, traded, record or {"new": challenger, "old": incumbent})
    )


def falls(depth):
    return np.r_[np.full(10, 1 - (1 - depth) ** 0.1) * -1, np.full(20, 0.03)]


@pytest.mark.parametrize(("depth", "fails"), [(0.1249, False), (0.1251, True)])
def test_a_drawdown_of_up_to_a_quarter_more_passes(depth, fails):
    rule = EvidenceRule(**OFF)
    net = pd.DataFrame({"new": falls(depth), "old": falls(0.1), "buy_and_hold": falls(0.5)})
    result = guardrails(rule, "new", "old", ScoredReturns(net, net * 0 + 0.1, {}))
    assert bool(result.failures) == fails
    assert result.numbers["drawdown"] == pytest.approx(depth)
    assert guardrails(rule, "new", None, ScoredReturns(net, net * 0, {})).failures == [], (
        "without a champion Buy & Hold's counts"
    )


@pytest.mark.parametrize(("traded", "fails"), [(0.1249, False), (0.1251, True)])
def test_a_turnover_of_up_to_a_quarter_more_passes(traded, fails):
    result = run(EvidenceRule(**OFF), GOOD, GOOD, turnover=(traded, 0.1))
    assert bool(result.failures) == fails
    assert run(EvidenceRule(**OFF), GOOD, GOOD, None, turnover=(9.0, 0.0)).failures == []


def test_failures_have_the_order_in_which_records_have_them():
    net = pd.DataFrame({"new": falls(0.3), "old": falls(0.1), "buy_and_hold": falls(0.5)})
    turnover = pd.DataFrame({"new": 9.0, "old": 0.1, "buy_and_hold": 0.0}, net.index)
    result = guardrails(EvidenceRule(**OFF), "new", "old", ScoredReturns(net, turnover, {}))
    assert [failure.partition(" ")[0] for failure in result.failures] == ["drawdown", "turnover"]
    of_joint = guardrails(JointRule(), "new", "old", ScoredReturns(net, turnover, {}))
    assert [failure.partition(" ")[0] for failure in of_joint.failures] == ["turnover"]


def test_the_deflated_sharpe_ratio_counts_every_recipe_as_a_trial():
    few = {"new": GOOD, "old": FAIR}
    many = {**few, **{f"t{i}": RNG.normal(0, 0.01, BARS) for i in range(30)}}
    rule = EvidenceRule(max_spa_p=1.0)
    for record in (few, many):
        spread = np.var([sharpe(r, 1.0)[0] for r in record.values()], ddof=1)
        expected = deflated_sharpe(GOOD, len(record), spread)[0]
        result = run(rule, GOOD, FAIR, record=record)
        assert result.numbers["dsr"] == pytest.approx(expected)
        assert bool(result.failures) == (expected < 0.95)
    assert run(rule, FAIR, FAIR).failures


def test_the_failures_name_each_rival_that_the_challenger_does_not_beat():
    rule = EvidenceRule(min_dsr=0.0)
    assert run(rule, GOOD, FAIR).failures == []
    result = run(rule, FAIR, FAIR)
    assert result.numbers["spa_p_old"] == result.numbers["spa_p_buy_and_hold"] == 1.0
    assert [f.partition(":")[0] for f in result.failures] == [
        "not shown to be better than old",
        "not shown to be better than buy_and_hold",
        "not shown to be better than flat",
    ]


@pytest.mark.long
def test_spa_keeps_its_level_and_finds_skill():
    rng = np.random.default_rng(9)
    alarms = sum(spa_p(rng.normal(0, 0.01, 300), rng.normal(0, 0.01, 300)) <= 0.05 for _ in range(100))
    assert alarms <= 12
    assert spa_p(GOOD, FAIR) < 0.01
    assert spa_p(GOOD, FAIR) == spa_p(GOOD, FAIR)


@pytest.mark.parametrize("rule", [EvidenceRule(), ImprovementRule()])
@pytest.mark.parametrize(
    ("undecided", "drift", "failures"),
    [
        (0.005, "SEVERE", []),
        (0.0, None, []),
        (0.006, "NONE", ["no decision on 0.60% of its bars, at most 0.50% may lack one"]),
        (0.0, "CRITICAL", ["the data of the week are broken: drift CRITICAL"]),
    ],
)
def test_broken_data_block_a_promotion_under_either_rule_and_unmeasured_drift_is_recorded(
    rule, undecided, drift, failures
):
    result = data_is_complete(rule, undecided, drift)
    assert result.failures == failures
    assert result.numbers == {"undecided": undecided, "drift": drift or "not measured"}
