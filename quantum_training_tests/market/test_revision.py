"""Completing stored candles: the stored bar stays, and a source that changed its mind is caught."""

import pandas as pd
import pytest

from quantum_training.market.revision import complete, revised
from quantum_training.market.schema import COLUMNS, as_candles, empty_candles


def candles(first, closes):
    index = pd.date_range(first, periods=len(closes), freq="D", tz="UTC")
    rows = [[c, c + 1, c - 1, c, 10.0] for c in closes]
    return as_candles(pd.DataFrame(rows, index, list(COLUMNS)))


def test_newer_bars_are_added_and_a_stored_bar_stays_as_it_was():
    stored, fetched = candles("2024-01-01", [10, 11]), candles("2024-01-02", [99, 12, 13])
    done = complete(stored, fetched)
    assert list(done["close"]) == [10, 11, 12, 13]
    assert done.index.is_monotonic_increasing
    assert done.index.is_unique
    assert done.index.equals(pd.date_range("2024-01-01", periods=4, tz="UTC"))
    assert stored.shape == (2, 5)


def test_with_nothing_stored_or_nothing_fetched_the_other_is_the_answer():
    frame = candles("2024-01-01", [10, 11])
    pd.testing.assert_frame_equal(complete(empty_candles(), frame), frame)
    pd.testing.assert_frame_equal(complete(frame, empty_candles()), frame, check_freq=False)
    assert complete(empty_candles(), empty_candles()).empty


def test_an_old_bar_that_is_fetched_late_does_not_slip_in_before_a_stored_one():
    """The quality gate judges gaps in stored bars; filling one here would change a closed month."""
    stored = candles("2024-01-01", [10, 11, 12]).drop(pd.Timestamp("2024-01-02", tz="UTC"))
    assert complete(stored, candles("2024-01-01", [10, 11, 12, 13])).index.day.tolist() == [1, 3, 4]


@pytest.mark.parametrize(
    ("factor", "caught"), [(1.0, False), (1.00009, False), (1.00011, True), (0.99989, True), (0.5, True)]
)
def test_the_newest_stored_bar_must_be_fetched_again_within_a_hundredth_of_a_percent(factor, caught):
    stored, fetched = candles("2024-01-01", [10, 20]), candles("2024-01-02", [20, 21])
    fetched[["open", "high", "low", "close"]] *= factor
    defects = revised("AAA", stored, fetched)
    assert bool(defects) == caught
    if caught:
        assert defects[0].rule == "revised_history"
        assert defects[0].severity == "error"
        assert defects[0].bars == (stored.index[-1],)
        for word in ("AAA", "2024-01-02", "refetch: true"):
            assert word in defects[0].message


def test_the_message_names_the_price_that_changed():
    stored = candles("2024-01-01", [10, 20])
    fetched = stored.copy()
    fetched.loc[fetched.index[1], "low"] = 18.5
    assert "low was 19, the source now says 18.5" in revised("AAA", stored, fetched)[0].message


def test_volume_may_be_revised():
    stored = candles("2024-01-01", [10, 20])
    assert revised("AAA", stored, stored.assign(volume=99.0)) == []


def test_without_a_bar_in_common_there_is_nothing_to_compare():
    assert revised("AAA", empty_candles(), candles("2024-01-01", [10])) == []
    assert revised("AAA", candles("2024-01-01", [10]), candles("2024-01-02", [10])) == []
    assert revised("AAA", candles("2024-01-01", [10]), empty_candles()) == []
