"""The stationary bootstrap draws what arch draws, and its block lengths are arch's."""

import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap, optimal_block_length

from quantum_training.trading.bootstrap import block_length, resampled_rows


@pytest.mark.parametrize(("rows", "block"), [(20, 1), (20, 6), (125, 3), (4368, 40)])
@pytest.mark.parametrize("seed", [0, 7])
def test_resamples_are_those_of_arch(rows, block, seed):
    draws = StationaryBootstrap(block, np.arange(rows), seed=seed).bootstrap(50)
    expected = [drawn for (drawn,), _ in draws]
    np.testing.assert_array_equal([*resampled_rows(rows, block, 50, seed)], expected)


def autoregression(generator, rows, weight):
    noise = generator.standard_t(4, rows)
    series = np.empty(rows)
    series[0] = noise[0]
    for at in range(1, rows):
        series[at] = weight * series[at - 1] + noise[at]
    return series


@pytest.mark.parametrize("weight", [-0.9, 0.0, 0.3, 0.7, 0.97])
@pytest.mark.parametrize("rows", [20, 21, 64, 125, 1000, 4368])
def test_block_lengths_are_those_of_arch(rows, weight):
    generator = np.random.default_rng(rows)
    for _ in range(20):
        series = autoregression(generator, rows, weight) * 10.0 ** generator.integers(-6, 3)
        assert block_length(series) == optimal_block_length(series)["stationary"].iloc[0]


def test_positions_that_seldom_change_have_arch_block_lengths_too():
    generator = np.random.default_rng(3)
    for share in (0.001, 0.01, 0.2):
        series = np.where(generator.random(2000) < share, generator.normal(size=2000), 0.0)
        assert block_length(series) == optimal_block_length(series)["stationary"].iloc[0]


def test_a_series_that_does_not_vary_has_no_block_length():
    assert np.isnan(block_length(np.zeros(50)))
    with np.errstate(all="ignore"):
        assert np.isnan(optimal_block_length(np.zeros(50))["stationary"].iloc[0])
