"""The rules of severity as a table, and that more evidence never calms them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.monitoring.severity import Severity, calibrated, fixed

N, MINOR, MODERATE, SEVERE, CRITICAL = Severity


@pytest.mark.parametrize(
    ("tested", "drifted", "before", "extreme", "harm", "severity"),
    [
        (24, 0, 0, 0, False, N),
        (24, 0, 5, 0, True, N),
        (24, 1, 0, 0, False, MINOR),
        (24, 5, 1, 0, False, MINOR),
        (24, 2, 2, 0, False, MODERATE),
        (24, 2, 2, 0, True, SEVERE),
        (24, 1, 1, 0, False, MINOR),
        (10, 1, 1, 0, False, MODERATE),
        (24, 6, 6, 0, False, SEVERE),
        (24, 6, 5, 0, False, MODERATE),
        (24, 12, 0, 12, False, CRITICAL),
        (24, 12, 0, 11, False, MINOR),
        (0, 0, 0, 0, False, N),
    ],
)
def test_the_rules_as_a_table(tested, drifted, before, extreme, harm, severity):
    assert calibrated(tested, drifted, before, extreme, harm) is severity


@given(st.integers(1, 60), st.data(), st.booleans())
def test_more_drift_is_never_less_severe(tested, data, harm):
    drifted, before = data.draw(st.integers(0, tested)), data.draw(st.integers(0, tested))
    extreme = data.draw(st.integers(0, drifted))
    here = calibrated(tested, drifted, before, extreme, harm)
    assert calibrated(tested, min(drifted + 1, tested), before, extreme, harm) >= here
    assert calibrated(tested, drifted, min(before + 1, tested), extreme, harm) >= here
    assert calibrated(tested, drifted, before, min(extreme + 1, drifted), harm) >= here
    assert calibrated(tested, drifted, before, extreme, True) >= here


@pytest.mark.parametrize(("psi", "severity"), [(0.1, N), (0.11, MINOR), (0.21, MODERATE), (0.26, SEVERE)])
def test_fixed_limits_are_the_conventional_ones(psi, severity):
    assert fixed(psi) is severity
