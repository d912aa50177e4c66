"""PSI and KS against published numbers, against scipy, and by their invariants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from quantum_training.monitoring.psi import (
    DECILES,
    fit_bins,
    ks,
    leave_one_out_ks,
    leave_one_out_psi,
    psi,
    shares,
    week_counts,
)

FINITE = st.floats(-1e6, 1e6)
COUNTS = arrays(np.int64, (6, 10), elements=st.integers(0, 500))


@pytest.mark.parametrize(
    ("actual", "expected", "oracle"),
    [([0.4, 0.6], [0.5, 0.5], 0.0405465), ([0.35, 0.25, 0.4], [0.4, 0.3, 0.3], 0.0445609)],
)
def test_psi_of_shares_is_the_published_one(actual, expected, oracle):
    assert psi(np.array(actual), np.array(expected)) == pytest.approx(oracle, abs=1e-6)


@pytest.mark.parametrize(
    ("shift", "scale", "oracle"),
    [
        (0.1, 1, 0.00959),
        (0.25, 1, 0.05982),
        (0.5, 1, 0.23775),
        (1, 1, 0.92614),
        (0, 1.25, 0.06376),
        (0, 1.5, 0.19354),
        (0, 2, 0.49075),
    ],
)
def test_psi_of_exact_normal_deciles_is_the_known_one(shift, scale, oracle):
    edges = stats.norm.ppf(DECILES)
    moved = np.diff(stats.norm.cdf(edges, shift, scale), prepend=0, append=1)
    assert psi(moved, np.full(10, 0.1)) == pytest.approx(oracle, abs=1e-4)


def test_psi_of_samples_comes_near_the_exact_one():
    rng = np.random.default_rng(0)
    reference, moved = rng.standard_normal(400_000), rng.standard_normal(400_000) + 0.5
    bins = fit_bins(reference)
    weeks = np.zeros(len(moved), dtype=int)
    expected = shares(week_counts(bins, reference, weeks, 1))
    assert psi(shares(week_counts(bins, moved, weeks, 1)), expected) == pytest.approx(0.23775, abs=0.005)


@given(COUNTS, COUNTS)
def test_psi_is_never_negative_and_the_same_both_ways(one, other):
    forth, back = psi(shares(one), shares(other)), psi(shares(other), shares(one))
    assert (forth >= 0).all()
    np.testing.assert_allclose(forth, back, atol=1e-12)
    np.testing.assert_allclose(psi(shares(one), shares(one)), 0)


@given(st.lists(FINITE, min_size=1, max_size=200), st.lists(FINITE, max_size=50))
def test_every_value_has_one_bin_and_equal_edges_are_one(reference, values):
    bins = fit_bins(np.array(reference))
    assert (np.diff(bins.edges) > 0).all()
    assert bins.categorical == (len(set(reference)) < 4)
    codes = bins.codes(np.array(values))
    assert ((codes >= 0) & (codes < bins.number)).all()
    counts = week_counts(bins, np.array(values), np.zeros(len(values), dtype=int), 2)
    assert counts.sum(axis=1).tolist() == [len(values), 0]


def test_fewer_than_four_values_are_categories_and_any_other_value_is_one_more():
    bins = fit_bins(np.array([0.0, 1.0, 1.0, 5.0]))
    assert bins.codes(np.array([0.0, 1.0, 5.0, 0.5, -1.0, 9.0])).tolist() == [0, 1, 2, 3, 3, 3]


def test_an_empty_reference_has_no_bins():
    with pytest.raises(ValueError, match="has no values to make bins of"):
        fit_bins(np.array([]))


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=60), st.lists(st.integers(-5, 5), min_size=1, max_size=60))
def test_ks_is_scipys_also_with_ties(reference, values):
    ours = ks(np.array(values, float), np.ones(len(values), dtype=int), 3, np.sort(np.array(reference, float)))
    assert ours[1] == pytest.approx(stats.ks_2samp(reference, values).statistic, abs=1e-12)
    assert np.isnan(ours[[0, 2]]).all()


def test_leave_one_out_is_each_week_against_the_others():
    rng = np.random.default_rng(1)
    values, weeks = rng.standard_normal(500).round(1), rng.integers(0, 5, 500)
    bins = fit_bins(values)
    counts = week_counts(bins, values, weeks, 5)
    psis, distances = leave_one_out_psi(counts), leave_one_out_ks(values, weeks, 5)
    for week in range(5):
        week_values, rest = values[weeks == week], values[weeks != week]
        alone = [week_counts(bins, part, np.zeros(len(part), dtype=int), 1)[0] for part in (week_values, rest)]
        assert psis[week] == pytest.approx(psi(*map(shares, alone)), abs=1e-12)
        assert distances[week] == pytest.approx(stats.ks_2samp(week_values, rest).statistic, abs=1e-12)
