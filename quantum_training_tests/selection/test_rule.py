"""The two promotion rules at their borders."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from quantum_training.selection.boundary import boundaries
from quantum_training.selection.joint_rule import JointRule, PromotionRule
from quantum_training.selection.paired_test import PairedReturns, paired_test
from quantum_training.selection.rule import EvidenceRule, ImprovementRule, InterimAnalysis

PERIODS = 2190
WAVE = np.tile([0.01, -0.01], 100)
BARS = 6  # of 4 hours a day
HALF = InterimAnalysis((0.5,), 1, False, PERIODS)


def returns(sharpe, bars=200):
    """`bars` returns with exactly this annualised Sharpe ratio."""
    wave = WAVE[:bars]
    return wave - wave.mean() + sharpe * np.std(wave, ddof=1) / np.sqrt(PERIODS)


def pair(challenger, incumbent=None, bars_a_day=BARS):
    incumbent = np.zeros(len(challenger)) if incumbent is None else incumbent
    return PairedReturns(np.asarray(challenger), np.asarray(incumbent), np.arange(len(challenger)) // bars_a_day)


def paired(z, days=60, seed=0, deviation=0.01):
    """A pair whose daily differences have exactly this z; the incumbent has a Sharpe ratio near 0."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=days)
    statistic = stats.t.isf(stats.norm.sf(abs(z)), days - 1) * np.sign(z)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    daily = deviation * (noise + statistic / np.sqrt(days))
    incumbent = np.tile([0.001, -0.001] * (BARS // 2), days)
    return pair(incumbent + np.repeat(daily / BARS, BARS), incumbent)


@pytest.mark.parametrize(("bars", "verdict"), [(0, "INSUFFICIENT"), (99, "INSUFFICIENT"), (100, "PROMOTE")])
def test_fewer_than_100_bars_are_insufficient(bars, verdict):
    judgement = ImprovementRule().judge(pair(returns(50)[:bars]), HALF)
    assert (judgement.verdict, judgement.bars) == (verdict, bars)
    if verdict == "INSUFFICIENT":
        assert judgement.reason == f"{bars} of 100 bars"


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
    judgement = ImprovementRule().judge(pair(returns(challenger), returns(incumbent)), HALF)
    assert judgement.verdict == verdict
    assert judgement.sharpe == pytest.approx(challenger, abs=1e-9)
    assert judgement.incumbent_sharpe == pytest.approx(incumbent, abs=1e-9)
    assert (judgement.margin > 0) == (verdict == "PROMOTE")


@pytest.mark.parametrize("rule", [ImprovementRule(min_improvement=0.0), EvidenceRule(min_improvement=0.0)])
def test_a_value_equal_to_the_threshold_is_not_enough(rule):
    assert rule.judge(pair(returns(2.0), returns(2.0)), HALF).verdict == "CONTINUE"
    assert rule.judge(pair(returns(2.0), returns(2.0)), HALF).margin == 0


@pytest.mark.parametrize("rule", [ImprovementRule(), EvidenceRule()])
@pytest.mark.parametrize("value", [0.0, 0.001, -0.001])
def test_a_challenger_whose_returns_do_not_vary_is_not_promoted(rule, value):
    judgement = rule.judge(pair(np.full(200, value)), HALF)
    assert judgement.verdict == "CONTINUE"
    assert judgement.sharpe is None
    assert "not vary" in judgement.reason
    json.dumps(judgement.model_dump(), allow_nan=False)
    assert rule.judge(pair(np.full(200, value)), HALF._replace(last=True)).verdict == "EXPIRED"


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"min_predictions": 1}, EvidenceRule),
        ({"min_improvement": -0.1}, ImprovementRule),
        ({"campaign_weeks": 0}, EvidenceRule),
        ({"patience": 3}, EvidenceRule),
        ({"alpha": 0.3}, EvidenceRule),
        ({"alpha": 0.05}, ImprovementRule),
        ({"max_ratio": 0.9}, EvidenceRule),
    ],
)
def test_an_impossible_rule_is_refused(options, rule):
    with pytest.raises(ValidationError, match=next(iter(options))):
        rule(**options)


def test_the_rule_is_named_in_the_settings_and_evidence_is_the_default():
    adapter = TypeAdapter(PromotionRule)
    assert adapter.validate_python({"min_predictions": 7}) == JointRule(min_predictions=7)
    assert adapter.validate_python({"rule": "improvement"}) == ImprovementRule()
    for bad in ({"rule": "hope"}, {"alpha": 9}, {"rule": "improvement", "alpha": 0.05}):
        with pytest.raises(ValidationError):
            adapter.validate_python(bad)


@pytest.mark.parametrize(
    ("bars", "bars_a_day", "message"),
    [
        (96, 6, "96 of 100 bars, 16 of 20 days"),
        (114, 6, "114 of 100 bars, 19 of 20 days"),
        (99, 1, "99 of 100 bars, 99 of"),
    ],
)
def test_evidence_needs_bars_and_days(bars, bars_a_day, message):
    judgement = EvidenceRule().judge(
        pair(returns(50, bars), bars_a_day=bars_a_day), InterimAnalysis((), 1, False, PERIODS)
    )
    assert judgement.verdict == "INSUFFICIENT"
    assert message in judgement.reason


@pytest.mark.parametrize("family", [1, 5])
@pytest.mark.parametrize(("beyond", "verdict"), [(0.01, "PROMOTE"), (-0.01, "CONTINUE"), (-4, "CONTINUE")])
def test_the_boundary_decides_and_is_higher_for_a_family(beyond, verdict, family):
    look = InterimAnalysis((0.4, 0.5), family, False, PERIODS)
    bound = boundaries(0.05 / family, look.fractions)[-1]
    judgement = EvidenceRule().judge(paired(bound + beyond), look)
    assert judgement.verdict == verdict
    assert judgement.z == pytest.approx(bound + beyond)
    assert judgement.boundary == pytest.approx(bound)
    assert judgement.alpha == 0.05 / family
    assert judgement.blocks == 60


def test_a_worse_challenger_is_rejected_and_the_others_expire_at_the_last_look():
    bound = boundaries(0.05, (0.5,))[-1]
    assert EvidenceRule().judge(paired(-bound - 0.01), HALF).verdict == "REJECT"
    assert EvidenceRule().judge(paired(-bound + 0.01), HALF).verdict == "CONTINUE"
    end = InterimAnalysis((0.5, 1.0), 1, True, PERIODS)
    assert EvidenceRule().judge(paired(0.0), end).verdict == "EXPIRED"
    assert EvidenceRule().judge(paired(3.0), end).verdict == "PROMOTE"


def test_a_significant_but_small_improvement_is_not_enough():
    """A steady gain of a hair is evidence and no improvement."""
    rng = np.random.default_rng(1)
    incumbent = rng.normal(0.001, 0.01, 600)
    challenger = incumbent + rng.normal(2e-7, 1e-7, 600)
    judgement = EvidenceRule().judge(pair(challenger, incumbent), HALF)
    assert judgement.z > judgement.boundary
    assert judgement.verdict == "CONTINUE"
    assert "short of the needed one" in judgement.reason


@given(st.integers(21, 80), st.floats(-5, 5))
def test_the_z_of_daily_blocks_has_the_p_value_of_students_t(days, z):
    made = paired(z, days)
    tested = paired_test(made)
    daily = (made.challenger - made.incumbent).reshape(days, BARS).sum(axis=1)
    p = stats.ttest_1samp(daily, 0, alternative="greater").pvalue
    assert stats.norm.sf(tested.z) == pytest.approx(p, rel=1e-6)
    assert tested.mean == pytest.approx(daily.mean())
    mirrored = paired_test(PairedReturns(made.incumbent, made.challenger, made.day))
    assert mirrored.z == pytest.approx(-tested.z, abs=1e-9)


def test_no_bars_and_enormous_differences_give_numbers_too():
    assert paired_test(pair([])) == (0, 0.0, 0.0, None)
    assert np.isfinite(paired_test(pair(1 + returns(0))).z)
