"""Ranks within a cross-section, against pandas' ranks of each bar."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from quantum_training.features.sets.ranks import ranks_within


def by_pandas(values, min_members):
    """Bar by bar: the mean rank of pandas, from 0 to 1."""
    ranks = np.full(values.shape, np.nan)
    for bar, column in np.ndindex(values.shape[1:]):
        row = pd.Series(values[:, bar, column])
        if row.count() >= min_members:
            ranks[:, bar, column] = (row.rank() - 1) / (row.count() - 1)
    return ranks


VALUES = st.sampled_from([-1.5, -0.0, 0.0, 1e-300, 2.0, 1e300, np.nan])


@given(arrays(float, array_shapes(min_dims=3, max_dims=3, max_side=6), elements=VALUES), st.integers(2, 4))
def test_ranks_are_those_of_pandas_at_each_bar(values, min_members):
    np.testing.assert_allclose(ranks_within(values, min_members), by_pandas(values, min_members), rtol=1e-15)


def test_the_lowest_has_0_and_the_highest_1_and_ties_share_their_mean():
    ranks = ranks_within(np.array([[[3.0]], [[1.0]], [[np.nan]], [[3.0]], [[2.0]], [[9.0]]]), 2)
    assert ranks[:, 0, 0].tolist() == pytest.approx([0.625, 0.0, np.nan, 0.625, 0.25, 1.0], nan_ok=True)


def test_too_few_values_and_a_single_one_have_no_rank():
    values = np.array([[[1.0, 1.0]], [[2.0, np.nan]], [[np.nan, np.nan]]])
    assert ranks_within(values, 2)[:, 0, 0].tolist() == pytest.approx([0.0, 1.0, np.nan], nan_ok=True)
    assert np.isnan(ranks_within(values, 2)[:, 0, 1]).all()
    assert np.isnan(ranks_within(values, 3)).all()
    assert ranks_within(values[:0], 2).shape == (0, 1, 2)
