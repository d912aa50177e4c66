"""Baselines: what they decide, by hand, and that they see no bar after the one they decide at."""

import numpy as np
import pandas as pd
import pytest

from quantum_training.trading.baselines import BASELINES, HOLDING_BARS, SLOW, decide, random_trader


def test_buy_and_hold_is_always_in(walk):
    assert (decide("buy_and_hold", walk(60), "AAA") == 1).all()


def test_the_crossover_is_long_while_the_fast_mean_is_above_the_slow_one(bars):
    up_then_down = [*range(100, 200), *range(200, 100, -1)]
    position = decide("ma_crossover", bars([(p, p) for p in up_then_down]), "AAA")
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
    assert (decide("ma_crossover", bars([(100.1, 100.1)] * 80), "AAA").dropna() == 0).all()


@pytest.mark.parametrize("name", BASELINES)
def test_later_bars_change_no_earlier_decision(walk, name):
    candles = walk(200)
    wild = candles.copy()
    wild.iloc[120:] *= 1.5
    pd.testing.assert_series_equal(
        decide(name, wild, "AAA").iloc[:120], decide(name, candles, "AAA").iloc[:120], check_exact=True
    )
    shorter = decide(name, candles.iloc[:120], "AAA")
    pd.testing.assert_series_equal(shorter, decide(name, candles, "AAA").iloc[:120], check_exact=True, check_freq=False)


def test_the_random_trader_needs_no_history():
    index = pd.date_range("2024-01-01", periods=3000, freq="h", tz="UTC")
    whole = random_trader(index, "AAA")
    for first, last in [(0, 2), (17, 23), (1000, 2000), (2990, 3000)]:
        pd.testing.assert_series_equal(
            random_trader(index[first:last], "AAA"), whole.iloc[first:last], check_freq=False
        )
    assert random_trader(index.as_unit("s"), "AAA").tolist() == whole.tolist()
    assert random_trader(index[:1], "AAA").isna().all()


@pytest.mark.parametrize("freq", ["1h", "1D"])
def test_the_random_trader_is_long_half_of_the_time_in_blocks_of_five_bars(freq):
    index = pd.date_range("1990-01-01", periods=10_000, freq=freq, tz="UTC")
    seeds = [random_trader(index, seed) for seed in ("AAA", "BBB", "CCC")]
    for coin in seeds:
        assert set(coin.unique()) == {0.0, 1.0}
        assert coin.mean() == pytest.approx(0.5, abs=0.045)  # four standard errors of 2,000 blocks
        changes = np.flatnonzero(np.diff(coin))
        assert len(set((changes + 1) % HOLDING_BARS)) == 1
        assert len(changes) == pytest.approx(1000, abs=90)
    assert abs(np.corrcoef(seeds)[np.triu_indices(3, 1)]).max() < 0.1


def test_an_unknown_baseline_is_named_with_the_known_ones(walk):
    with pytest.raises(ValueError, match=r"'momentum'.*buy_and_hold, ma_crossover, random"):
        decide("momentum", walk(3), "AAA")
