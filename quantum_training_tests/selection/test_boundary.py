"""Group-sequential boundaries: published values, the error they promise, and looks that cannot be known beforehand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from quantum_training.selection.boundary import boundaries, spent


def test_five_equal_looks_as_published():
    """The O'Brien-Fleming form of Lan and DeMets, one-sided 0.025: the table of every textbook on the subject."""
    fifths = tuple(k / 5 for k in range(1, 6))
    assert boundaries(0.025, fifths) == pytest.approx([4.8769, 3.3569, 2.6803, 2.2898, 2.0310], abs=2e-4)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_weekly_looks_end_near_the_classic_constants(alpha):
    """C = 1.855 and 2.47 for 26 equal looks (simulated, +- .01); spending comes near it, above the plain z."""
    bounds = boundaries(alpha, tuple(k / 26 for k in range(1, 27)))
    assert bounds[-1] == pytest.approx({0.05: 1.855, 0.01: 2.47}[alpha], abs=0.03)
    assert bounds[-1] > norm.isf(alpha)
    assert list(bounds) == sorted(bounds, reverse=True)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize("first", [1, 3, 20])
def test_paths_without_drift_cross_with_probability_alpha(alpha, first):
    rng = np.random.default_rng(first)
    weeks = [*np.sort(rng.choice(np.arange(first, 26), min(15, 26 - first), replace=False)).tolist(), 26]
    bounds = np.array(boundaries(alpha, tuple(w / 26 for w in weeks)))
    paths = rng.normal(size=(100_000, 26)).cumsum(axis=1)[:, np.array(weeks) - 1] / np.sqrt(weeks)
    crossed = (paths >= bounds).any(axis=1).mean()
    assert crossed == pytest.approx(alpha, abs=4 * np.sqrt(alpha / 100_000))


def test_one_look_at_everything_is_the_plain_test():
    assert boundaries(0.05, (1.0,)) == pytest.approx([norm.isf(0.05)], abs=1e-8)


@settings(max_examples=20)
@given(st.lists(st.integers(1, 60), min_size=2, max_size=8, unique=True))
def test_a_boundary_does_not_depend_on_later_looks(steps):
    fractions = tuple(s / 60 for s in sorted(steps))
    all_looks = boundaries(0.05, fractions)
    for cut in range(len(fractions)):
        assert boundaries(0.05, fractions[:cut]) == all_looks[:cut]
    assert all(b >= norm.isf(0.05) for b in all_looks)


def test_the_boundary_of_the_first_hours_cannot_be_reached():
    assert boundaries(0.05, (0.005, 0.5))[0] == np.inf
    assert np.isfinite(boundaries(0.05, (0.005, 0.5))[1])


def test_the_error_is_spent_late_and_in_full():
    shares = [spent(0.05, t) for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert shares[0] == 0
    assert shares[1] < 0.0001
    assert shares[2] == pytest.approx(2 - 2 * norm.cdf(1.959964 / np.sqrt(0.5)), abs=1e-8)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("alpha", "fractions"),
    [(0.05, (0.5, 0.5)), (0.05, (0.6, 0.5)), (0.05, (0.0, 0.5)), (0.05, (0.9, 1.01)), (0.6, (1.0,))],
)
def test_impossible_looks_are_refused(alpha, fractions):
    with pytest.raises(ValueError, match=r"fraction"):
        boundaries(alpha, fractions)
