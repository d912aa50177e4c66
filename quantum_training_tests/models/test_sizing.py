"""Sizing: the one rule from a probability to a position."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quantum_training.models.sizing import Sizing

SIZINGS = st.builds(
    lambda low, width, parts: Sizing(break_even=low, full=low + width * (1 - low), step=1 / parts),
    st.floats(0.01, 0.95),
    st.floats(0.05, 1),
    st.integers(1, 20),
)


@pytest.mark.parametrize(
    ("probability", "position"),
    [
        (0.0, 0.0),
        (0.5, 0.0),
        (0.512, 0.0),  # 0.12 of the way, nearer to 0 than to 0.25
        (0.52, 0.25),
        (0.55, 0.5),
        (0.56, 0.5),
        (0.57, 0.75),
        (0.59, 1.0),
        (0.6, 1.0),
        (1.0, 1.0),
    ],
)
def test_positions_by_hand(probability, position):
    assert Sizing(break_even=0.5, full=0.6, step=0.25).positions(np.array([probability])) == position


def test_a_step_of_one_gives_positions_of_0_or_1():
    sizing = Sizing(break_even=0.4, full=0.8, step=1.0)
    assert list(sizing.positions(np.array([0.4, 0.59, 0.61, 0.9]))) == [0, 0, 1, 1]


def test_nan_stays_nan_and_the_shape_is_kept():
    out = Sizing().positions(np.array([[np.nan, 0.7], [0.1, np.nan]]))
    np.testing.assert_array_equal(out, [[np.nan, 1.0], [0.0, np.nan]])


@given(SIZINGS, st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_positions_rise_with_the_probability_in_steps_within_0_and_1(sizing, probabilities):
    positions = sizing.positions(np.sort(probabilities))
    assert (np.diff(positions) >= 0).all()
    assert ((positions >= 0) & (positions <= 1)).all()
    np.testing.assert_allclose(positions / sizing.step, np.round(positions / sizing.step), atol=1e-9)


@given(SIZINGS)
def test_flat_at_break_even_and_fully_invested_at_full_for_every_rule(sizing):
    assert list(sizing.positions(np.array([0.0, sizing.break_even, sizing.full, 1.0]))) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"break_even": 0.6, "full": 0.6}, "must be above break_even"),
        ({"step": 0.3}, "must divide 1"),
        ({"step": 0.6}, "must divide 1"),
        ({"step": 0.0}, "greater than 0"),
        ({"break_even": 1.0}, "less than 1"),
        ({"half": 0.5}, "Extra inputs"),
    ],
)
def test_an_impossible_sizing_rule_is_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        Sizing(**options)
