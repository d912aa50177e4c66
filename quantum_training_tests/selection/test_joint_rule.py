"""The default promotion rule: its level for several challengers, its rivals, and returns at equal risk."""

import json

import numpy as np
import pytest
from scipy import stats

from quantum_training.selection.boundary import boundaries
from quantum_training.selection.joint_rule import JointRule, dunnett_level, least_correlation
from quantum_training.selection.paired_test import MarketReturns, PairedReturns, paired_test
from quantum_training.selection.rule import InterimAnalysis

DAYS, BARS = 120, 6
DAY = np.arange(DAYS * BARS) // BARS
LOOK = InterimAnalysis((0.5, 1.0), 1, True, 2190)
RNG = np.random.default_rng(3)
NOWHERE, ALWAYS = np.zeros(len(DAY)), np.ones(len(DAY))
QUIET = MarketReturns(RNG.normal(0, 1e-4, DAYS * BARS), RNG.normal(0, 1e-4, 365))


def returns(z: float, seed: int, deviation: float = 0.01) -> np.ndarray:
    """Returns whose daily sums have exactly this mean over its standard error, so a z near it."""
    daily = np.random.default_rng(seed).normal(size=DAYS)
    daily = (daily - daily.mean()) / daily.std(ddof=1) + z / np.sqrt(DAYS)
    return np.repeat(daily * deviation / BARS, BARS)


def judge(challenger, incumbent=None, rule=None, look=LOOK, **market):
    incumbent = np.zeros(len(DAY)) if incumbent is None else incumbent
    flat = {"position": NOWHERE, "incumbent_position": NOWHERE}
    pair = PairedReturns(challenger, incumbent, DAY, **{"market": QUIET, **flat, **market})
    return (rule or JointRule()).judge(pair, look)


@pytest.mark.parametrize(("family", "critical"), [(1, 1.64), (2, 1.92), (3, 2.06), (4, 2.16), (5, 2.23), (9, 2.42)])
def test_the_level_of_a_family_is_that_of_dunnetts_table_for_a_correlation_of_a_half(family, critical):
    assert stats.norm.isf(dunnett_level(0.05, family, 0.5)) == pytest.approx(critical, abs=0.006)


def test_independent_challengers_have_sidaks_level_and_equal_ones_nearly_the_whole_error():
    assert dunnett_level(0.05, 5, 0.0) == pytest.approx(1 - 0.95 ** (1 / 5), rel=1e-6)
    assert dunnett_level(0.05, 5, -0.3) == dunnett_level(0.05, 5, 0.0)
    levels = [dunnett_level(0.05, 5, correlation) for correlation in (0.0, 0.3, 0.6, 0.95)]
    assert levels == sorted(levels)
    assert levels[-1] < 0.05


def test_the_least_correlation_is_that_of_daily_sums_rounded_down():
    shared, own = RNG.normal(size=(2, DAYS))
    series = [np.repeat(daily, BARS) for daily in (shared, shared + own, -shared, shared * 2)]
    exact = np.corrcoef(shared, shared + own)[0, 1]
    assert least_correlation([series[0], series[1]], DAY) == pytest.approx(np.floor(exact * 20) / 20)
    assert least_correlation([series[0], series[2]], DAY) == 0.0
    assert least_correlation([series[0], series[3]], DAY) == 0.95
    assert least_correlation([series[0], NOWHERE], DAY) == 0.0
    assert least_correlation([series[0], NOWHERE, series[3]], DAY) == 0.95, "who never trades is left out"
    assert least_correlation([series[0][:BARS], series[3][:BARS]], DAY[:BARS]) == 0.0, "a single day"
    assert least_correlation([series[0]], DAY) == 0.0


@pytest.mark.parametrize(("beyond", "verdict"), [(0.05, "PROMOTE"), (-0.05, "EXPIRED")])
def test_a_challenger_that_beats_flat_at_its_boundary_is_promoted(beyond, verdict):
    bound = boundaries(0.05, LOOK.fractions)[-1]
    t = stats.t.isf(stats.norm.sf(bound + beyond), DAYS - 1)
    judgement = judge(returns(t, 1))
    assert (judgement.verdict, judgement.boundary) == (verdict, bound)
    assert judgement.z == pytest.approx(bound + beyond, abs=0.01)


def test_correlated_challengers_have_a_lower_boundary_than_independent_ones():
    bounds = [
        judge(returns(2, 1), look=LOOK._replace(family=5, correlation=correlation)).boundary
        for correlation in (0.0, 0.5, 0.9)
    ]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] < boundaries(0.01, LOOK.fractions)[-1], "Bonferroni's"


def test_a_challenger_that_beats_a_losing_champion_must_also_earn_something():
    losing = returns(-6, 1)
    judgement = judge(returns(0.1, 2), losing)
    assert judgement.z > judgement.boundary
    assert judgement.verdict == "EXPIRED"
    assert "not shown to be better than flat" in judgement.reason
    assert judgement.guardrails["z_flat"] < judgement.guardrails["passive_boundary"]
    assert judge(returns(3, 2), losing).verdict == "PROMOTE"


def test_a_challenger_that_only_holds_what_rises_does_not_beat_buy_and_hold():
    rising = np.abs(returns(5, 1))
    market = MarketReturns(rising, np.repeat(rising, 2)[::BARS] * BARS)
    judgement = judge(rising.copy(), market=market, position=ALWAYS)
    assert judgement.z > judgement.boundary
    assert "not shown to be better than buy_and_hold" in judgement.reason
    assert judge(rising + returns(8, 3, 0.001), market=market, position=ALWAYS).verdict == "PROMOTE"


def test_more_of_the_same_risk_is_not_better():
    champion = returns(3, 1)
    plain = paired_test(PairedReturns(2 * champion, champion, DAY))
    judgement = judge(2 * champion + returns(0.2, 2, 1e-3), champion)
    assert plain.z > judgement.boundary, "twice the position earns more"
    assert judgement.z < judgement.boundary
    assert judge(1.2 * champion, champion).z is None, "at the champion's risk it is the champion"
    calmer = 0.8 * champion + returns(2, 2, 1e-3)
    assert judge(calmer, champion).z == pytest.approx(paired_test(PairedReturns(calmer, champion, DAY)).z), (
        "less risk is not scaled up"
    )


def test_risk_is_that_of_bars_so_that_chance_in_daily_sums_scales_nothing_down():
    shared, *own = np.random.default_rng(4).normal(size=(3, len(DAY)))
    bars = [0.001 * noise / noise.std() for noise in (3 * shared + own[0], 3 * shared + own[1])]
    by_day = [net.reshape(DAYS, BARS).sum(axis=1).std() for net in bars]
    champion, challenger = bars[np.argmin(by_day)], bars[np.argmax(by_day)]
    assert max(by_day) > 1.01 * min(by_day), "by chance"
    challenger = challenger + 5e-4
    plain = paired_test(PairedReturns(challenger, champion, DAY))
    assert judge(challenger, champion).z == pytest.approx(plain.z)


def test_a_position_that_has_not_met_the_markets_falls_is_not_shown_to_be_better_than_flat():
    calm = returns(4, 1, 0.01)
    fell = np.random.default_rng(2).normal(0.004, 0.01, 750)
    fell[::75] -= 0.4
    bare = judge(calm, market=MarketReturns(calm, np.empty(0)), position=ALWAYS)
    informed = judge(calm, market=MarketReturns(calm, fell), position=ALWAYS)
    assert bare.z > bare.boundary > 0 > informed.z


def test_a_passive_boundary_that_no_early_look_can_reach_is_undefined_and_holds_back():
    early = InterimAnalysis((0.035,), 1, False, 2190)
    judgement = judge(returns(60, 1), rule=JointRule(alpha=0.2, passive_alpha=1e-4), look=early)
    assert judgement.z > judgement.boundary
    assert judgement.verdict == "CONTINUE"
    assert judgement.guardrails["passive_boundary"] is None
    json.dumps(judgement.model_dump(), allow_nan=False)


def test_the_joint_rule_without_the_market_says_so():
    with pytest.raises(ValueError, match="market's returns"):
        judge(returns(3, 1), market=None)
