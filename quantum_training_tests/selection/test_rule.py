"""The improvement rule at its borders."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from quantum_training.selection.rule import ImprovementRule

PERIODS = 2190
WAVE = np.tile([0.01, -0.01], 100)
SPREAD = np.std(WAVE, ddof=1)


def returns(sharpe, bars=200):
    """`bars` returns with exactly this annualised Sharpe ratio."""
    wave = WAVE[:bars]
    return wave - wave.mean() + sharpe * np.std(wave, ddof=1) / np.sqrt(PERIODS)


@pytest.mark.parametrize(
    ("bars", "verdict"), [(0, "INSUFFICIENT"), (1, "INSUFFICIENT"), (99, "INSUFFICIENT"), (100, "PROMOTE")]
)
def test_fewer_than_100_paired_bars_decide_nothing_and_say_so(bars, verdict):
    judged = ImprovementRule().judge(returns(50, 200)[:bars], np.zeros(bars), PERIODS)
    assert judged.verdict == verdict
    assert judged.bars == bars
    if verdict == "INSUFFICIENT":
        assert judged.reason == f"{bars} of 100 paired bars"
        assert judged.margin is None


@pytest.mark.parametrize(
    ("incumbent", "challenger", "verdict"),
    [
        (2.0, 2.0, "CONTINUE"),
        (2.0, 2.0399, "CONTINUE"),
        (2.0, 2.0401, "PROMOTE"),
        (1e-9, 1e-8, "PROMOTE"),
        (0.0, 0.0199, "CONTINUE"),
        (0.0, 0.0201, "PROMOTE"),
        (-1.0, -0.9801, "CONTINUE"),  # 2 % of a loss would be a lower bar: there the gain is absolute
        (-1.0, -0.9799, "PROMOTE"),
        (-1.0, -1.02, "CONTINUE"),
    ],
)
def test_two_percent_better_is_relative_to_a_positive_sharpe_and_absolute_else(incumbent, challenger, verdict):
    judged = ImprovementRule().judge(returns(challenger), returns(incumbent), PERIODS)
    assert judged.verdict == verdict
    assert judged.sharpe == pytest.approx(challenger, abs=1e-9)
    assert judged.incumbent_sharpe == pytest.approx(incumbent, abs=1e-9)
    assert (judged.margin > 0) == (verdict == "PROMOTE")


def test_exactly_the_needed_value_is_not_enough():
    rule = ImprovementRule(min_improvement=0.0)
    assert rule.judge(returns(2.0), returns(2.0), PERIODS).verdict == "CONTINUE"
    assert rule.judge(returns(2.0), returns(2.0), PERIODS).margin == 0


def test_a_flat_incumbent_stands_at_zero():
    judged = ImprovementRule().judge(returns(0.5), np.zeros(200), PERIODS)
    assert (judged.verdict, judged.incumbent_sharpe) == ("PROMOTE", 0.0)


@pytest.mark.parametrize("value", [0.0, 0.001, -0.001])
def test_a_challenger_whose_returns_do_not_vary_has_no_ratio_and_is_not_promoted(value):
    judged = ImprovementRule().judge(np.full(200, value), returns(-3.0), PERIODS)
    assert judged.verdict == "CONTINUE"
    assert judged.sharpe is None
    assert "no_variance" in judged.reason
    json.dumps(judged.model_dump(), allow_nan=False)


@pytest.mark.parametrize(
    "options", [{"min_predictions": 1}, {"min_improvement": -0.1}, {"window_weeks": 0}, {"patience": 3}]
)
def test_a_rule_that_makes_no_sense_is_refused(options):
    with pytest.raises(ValidationError, match=next(iter(options))):
        ImprovementRule(**options)
