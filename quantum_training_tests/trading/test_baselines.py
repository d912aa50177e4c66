"""Baselines: their decisions by hand, and no decision depends on a later bar."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.trading.baselines import BASELINES, SLOW, decide, random_timing


def test_buy_and_hold_is_always_invested(walk):
    assert (decide("buy_and_hold", walk(60)) == 1).all()


def test_the_crossover_is_long_while_the_fast_mean_is_above_the_slow_one(bars):
    up_then_down = [*range(100, 200), *range(200, 100, -1)]
    position = decide("ma_crossover", bars([(p, p) for p in up_then_down]))
    assert position.iloc[: SLOW - 1].isna().all()
    assert position.iloc[SLOW - 1 :].notna().all()
    assert (position.iloc[SLOW - 1 : 100] == 1).all()
    assert (position.iloc[150:] == 0).all()
    # On a line the means differ by 15; after the peak at bar 100 they cross where the closes' own means say so.
    closes = np.array(up_then_down, "float64")
    for bar in range(100, 150):
        assert position.iloc[bar] == float(closes[bar - 19 : bar + 1].mean() > closes[bar - 49 : bar + 1].mean())
    assert position.iloc[100:150].nunique() == 2


def test_an_equal_pair_of_means_is_no_reason_to_be_long(bars):
    assert (decide("ma_crossover", bars([(100.1, 100.1)] * 80)).dropna() == 0).all()


@pytest.mark.parametrize("name", BASELINES)
def test_later_bars_change_no_earlier_decision(walk, name):
    candles = walk(200)
    wild = candles.copy()
    wild.iloc[120:] *= 1.5
    pd.testing.assert_series_equal(decide(name, wild).iloc[:120], decide(name, candles).iloc[:120], check_exact=True)
    shorter = decide(name, candles.iloc[:120])
    pd.testing.assert_series_equal(shorter, decide(name, candles).iloc[:120], check_exact=True, check_freq=False)


def runs(values):
    """Lengths of the stretches of equal values, going round from the end to the start."""
    start = next((i for i in range(len(values)) if values[i] != values[i - 1]), 0)
    values = np.roll(values, -start)
    edges = np.flatnonzero(np.diff(values)) + 1
    return sorted(zip(values[np.r_[0, edges]], np.diff(np.r_[0, edges, len(values)]), strict=True))


@given(st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=2, max_size=60), st.integers(0, 9))
def test_random_traders_hold_the_same_positions_for_the_same_times(values, seed):
    target = pd.Series(values, pd.date_range("2024-01-01", periods=len(values), freq="h", tz="UTC"))
    moved = random_timing(target, 20, seed)
    assert moved.shape == (len(target), 20)
    assert moved.index.equals(target.index)
    for trader in moved:
        assert runs(moved[trader].to_numpy()) == runs(target.to_numpy())


def test_random_traders_are_the_same_for_a_seed_and_others_for_another():
    target = pd.Series(np.arange(500.0), pd.date_range("2024-01-01", periods=500, freq="h", tz="UTC"))
    one, again, other = (random_timing(target, 50, seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, again)
    assert not one.equals(other)
    assert (one.nunique(axis=1) > 40).all(), "they differ among themselves"
    assert not (one.to_numpy() == target.to_numpy()[:, None]).all(axis=0).any(), "none is the strategy itself"


def test_one_bar_gives_no_random_trader():
    assert random_timing(pd.Series([1.0]), 10, 0).shape == (1, 0)


def test_an_unknown_baseline_is_refused_with_the_names_that_exist(walk):
    with pytest.raises(ValueError, match=r"'momentum'.*buy_and_hold, ma_crossover$"):
        decide("momentum", walk(3))
