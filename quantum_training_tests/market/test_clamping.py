"""Opens and closes that lie outside of low to high by rounding are clamped and counted; what lies further is not."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.market.clamping import clamp
from quantum_training.market.schema import COLUMNS, as_candles, candle_schema

KIA = [9936.366819, 10022.853571, 9907.537902, 9878.708984, 21185.0]
"""000020.KS on 2024-01-15 as Yahoo had it: the close is 0.3 % below the low."""


def candles(rows):
    index = pd.date_range("2024-01-01", periods=len(rows), freq="D", tz="UTC")
    return as_candles(pd.DataFrame(rows, index, list(COLUMNS)))


SOUND = [[100.0, 101.0, 99.0, 100.5, 10.0]] * 20


def test_a_close_below_the_low_by_rounding_is_the_low():
    bars, clamped = clamp(candles([*SOUND, KIA]), 0.005)
    assert [*clamped] == [bars.index[-1]]
    assert bars.iloc[-1].tolist() == [9936.366819, 10022.853571, 9878.708984, 9878.708984, 21185.0]
    pd.testing.assert_frame_equal(bars.iloc[:-1], candles(SOUND), check_freq=False)
    candle_schema().validate(bars)


@pytest.mark.parametrize("tolerance", [0.0, 0.002])
def test_beyond_the_tolerance_a_bar_stays_as_it_is(tolerance):
    rows = candles([*SOUND, KIA])
    bars, clamped = clamp(rows, tolerance)
    assert clamped.empty
    assert bars is rows


def test_closes_outside_in_many_bars_are_of_another_series_unless_it_is_rounding():
    rows = np.array(SOUND)
    rows[:3, 3] = 101.3
    assert clamp(candles(rows), 0.005)[1].empty
    rows[:3, 3] = 101.005
    assert len(clamp(candles(rows), 0.005)[1]) == 3


@pytest.mark.parametrize(
    "row", [[np.nan, 101, 99, 100, 1], [100, 99.9, 100.1, 100, 1], [0, 1, 0, 1, 1], [1, 1, -1, 1, 1]]
)
def test_rows_that_are_broken_otherwise_stay(row):
    rows = candles([*SOUND, row])
    bars, _ = clamp(rows, 0.0005)
    pd.testing.assert_frame_equal(bars, rows)


@given(st.floats(0.9, 1.1), st.floats(0.9, 1.1))
def test_a_clamped_bar_is_sound_and_keeps_open_close_and_volume(open_, close):
    rows = candles([*SOUND, [100 * open_, 102, 98, 100 * close, 5]])
    bars, clamped = clamp(rows, 0.005)
    pd.testing.assert_frame_equal(bars[["open", "close", "volume"]], rows[["open", "close", "volume"]])
    outside = max(open_ / 1.02, close / 1.02, 0.98 / open_, 0.98 / close) - 1
    assert len(clamped) == (1e-9 < outside <= 0.005)
    if outside <= 0.005:
        candle_schema().validate(bars)
