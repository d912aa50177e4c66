"""The criteria of success and the leader of a benchmark, undefined values included."""

import pytest

from quantum_training.service.reading.benchmark import EIGHT, leader, success_criteria

GOOD = {**dict.fromkeys(EIGHT), "sharpe_ratio": 1.6, "max_drawdown": -0.1, "win_rate": 0.6, "total_return": 0.2}
PASSIVE = {**dict.fromkeys(EIGHT), "total_return": 0.1}


def test_a_strategy_that_is_above_every_limit_meets_all_criteria():
    assert set(success_criteria(GOOD, PASSIVE).values()) == {True}


@pytest.mark.parametrize(
    ("change", "criterion", "met"),
    [
        ({"sharpe_ratio": 1.5}, "sharpe_ratio", False),
        ({"max_drawdown": -0.15}, "max_drawdown", False),
        ({"win_rate": None}, "win_rate", None),
        ({"total_return": 0.1}, "beats_buy_and_hold", False),
        ({"total_return": None}, "beats_buy_and_hold", None),
    ],
)
def test_a_value_at_its_limit_or_undefined_does_not_meet_its_criterion(change, criterion, met):
    criteria = success_criteria({**GOOD, **change}, PASSIVE)
    assert criteria.pop(criterion) is met
    assert set(criteria.values()) == {True}


def test_the_highest_defined_ratio_leads():
    assert leader({"a": None, "b": -1.0, "c": 0.5}) == "c"
    assert leader({"a": None}) is None
