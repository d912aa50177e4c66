"""Taking a champion back: the paired harm boundary and the drawdown that its record explains."""

import numpy as np
import pytest
from scipy import stats

from quantum_training.selection.boundary import boundaries
from quantum_training.selection.harm import RollbackPolicy, drawdown_limit, harm_is_building, monitor_harm
from quantum_training.selection.paired_test import PairedReturns
from quantum_training_tests.support import records

POLICY = RollbackPolicy()


def pair(z, days=60):
    """Former less champion: daily differences with exactly this z; the champion itself stays flat."""
    noise = np.random.default_rng(1).normal(size=days)
    statistic = stats.t.isf(stats.norm.sf(abs(z)), days - 1) * np.sign(z)
    daily = 0.01 * ((noise - noise.mean()) / noise.std(ddof=1) + statistic / np.sqrt(days))
    return PairedReturns(daily, np.zeros(days), np.arange(days))


@pytest.mark.parametrize(("beyond", "crossed"), [(0.01, True), (-0.01, False), (-5.0, False)])
def test_harm_is_reported_if_the_former_champion_is_better_beyond_the_boundary(beyond, crossed):
    bound = boundaries(POLICY.alpha, (0.3, 0.5))[-1]
    harm = monitor_harm(POLICY, pair(bound + beyond), (0.3, 0.5), 0.5, "old")
    assert (harm.reason is not None) == crossed
    assert harm.boundary == pytest.approx(bound)
    assert harm.z == pytest.approx(bound + beyond)
    assert harm.against == "old"
    if crossed:
        assert "worse than old" in harm.reason


def test_before_the_first_look_and_after_the_last_only_the_drawdown_counts():
    assert monitor_harm(POLICY, pair(9.0), (), 0.5, None).reason is None
    assert monitor_harm(POLICY, pair(9.0), (), 0.5, None).against == "staying flat"
    falls = PairedReturns(np.zeros(5), np.full(5, -0.02), np.arange(5))
    harm = monitor_harm(POLICY, falls, (), 0.05, "old")
    assert harm.drawdown == pytest.approx(1 - 0.98**5)
    assert "drawdown 9.6% since its promotion, beyond the 5.0%" in harm.reason


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (None, False),
        (records.harm(z=None), False),
        (records.harm(z=9.0, boundary=None), False),
        (records.harm(z=0.99), False),
        (records.harm(z=1.0), True),
    ],
)
def test_harm_counts_as_building_from_a_fraction_of_its_boundary(harm, expected):
    assert harm_is_building(harm, 0.5) == expected


def test_the_drawdown_limit_is_exceeded_as_often_as_its_quantile_says():
    """Independent normal days, so that fresh paths of the same law are the oracle."""
    rng = np.random.default_rng(3)
    daily = rng.normal(0.001, 0.01, 4000)
    limit = drawdown_limit(daily, 182, 0.99)
    equity = np.cumprod(1 + rng.normal(daily.mean(), daily.std(), (20_000, 182)), axis=1)
    falls = (1 - equity / np.maximum(np.maximum.accumulate(equity, axis=1), 1)).max(axis=1)
    assert (falls > limit).mean() == pytest.approx(0.01, abs=0.008)
    assert drawdown_limit(daily, 182, 0.99) == limit
    assert drawdown_limit(daily, 60, 0.99) < limit
    assert drawdown_limit(daily, 182, 0.8) < limit


@pytest.mark.parametrize("daily", [[], [0.01], [0.01, -0.01] * 9, [0.0] * 50, [0.01] * 50])
def test_a_record_too_short_or_without_variance_sets_no_limit(daily):
    assert drawdown_limit(np.array(daily), 100, 0.99) is None
    falls = PairedReturns(np.zeros(5), np.full(5, -0.5), np.arange(5))
    assert monitor_harm(POLICY, falls, (), None, "old").reason is None


def test_a_record_shorter_than_the_horizon_is_resampled_to_it():
    daily = np.random.default_rng(0).normal(0, 0.01, 30)
    assert 0.05 < drawdown_limit(daily, 182, 0.99) < 0.9
