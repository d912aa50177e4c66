"""Splits and dividends: what earlier bars are multiplied by."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.market.corporate_actions import Adjustment, adjusted, of_action
from quantum_training.market.schema import as_candles


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def days(closes: list[float], volume: float = 100.0) -> pd.DataFrame:
    times = pd.date_range("2024-06-03", periods=len(closes), freq="D", tz="UTC")
    bars = dict.fromkeys(("open", "high", "low", "close"), closes)
    return as_candles(pd.DataFrame({**bars, "volume": volume}, index=times))


def test_a_split_divides_earlier_prices_and_multiplies_earlier_volumes():
    got = adjusted(days([70.0, 70.0, 10.0]), [of_action(utc("2024-06-05"), 7, 0, 70)])
    assert got["close"].tolist() == pytest.approx([10, 10, 10])
    assert got["volume"].tolist() == [700, 700, 100]


def test_a_dividend_keeps_the_return_of_who_reinvests_it():
    got = adjusted(days([100.0, 98.0]), [of_action(utc("2024-06-04"), 1, 2, 100)])
    assert got["close"].tolist() == pytest.approx([98, 98])
    assert got["volume"].tolist() == [100, 100]


def test_a_dividend_on_the_day_of_a_split_is_of_the_new_shares():
    action = of_action(utc("2024-06-04"), 2, 1, 100)
    assert adjusted(days([100.0, 49.0]), [action])["close"].tolist() == pytest.approx([49, 49])


def test_no_action_changes_no_bit_and_the_frame_is_a_copy():
    bars = days([1 / 3, 0.1])
    got = adjusted(bars, [])
    pd.testing.assert_frame_equal(got, bars, check_exact=True)
    got.iloc[:] = 0
    assert bars["close"].iloc[0] == 1 / 3


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0.1, 10), st.floats(0.1, 10)), max_size=5))
def test_each_bar_has_the_product_of_the_later_ones(actions):
    bars = days([100.0] * 9)
    got = adjusted(bars, [Adjustment(utc("2024-06-03") + n * pd.Timedelta("1D"), p, v) for n, p, v in actions])
    for number, (close, volume) in enumerate(zip(got["close"], got["volume"], strict=True)):
        later = [(p, v) for n, p, v in actions if n > number]
        assert close == pytest.approx(100 * np.prod([p for p, _ in later]))
        assert volume == pytest.approx(100 * np.prod([v for _, v in later]))


def test_what_leaves_no_price_is_refused():
    with pytest.raises(ValueError, match="a dividend of 120 at a close of 100 leave no price"):
        of_action(utc("2024-06-04"), 1, 120, 100)
    with pytest.raises(ValueError, match="a split of -2"):
        of_action(utc("2024-06-04"), -2, 0, 100)
