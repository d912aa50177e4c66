"""Stored candles and what their source says of them later: what differs, and what is done by each policy."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.market.revision import compare, complete
from quantum_training.market.revision_policy import settle
from quantum_training.market.schema import COLUMNS, PRICES, as_candles, empty_candles

MONTH = pd.Timestamp("2024-01-01", tz="UTC")


def candles(first, closes, freq="D"):
    index = pd.date_range(first, periods=len(closes), freq=freq, tz="UTC")
    rows = [[c, c + 1, c - 1, c, 10.0] for c in closes]
    return as_candles(pd.DataFrame(rows, index, list(COLUMNS)))


def changed(bars, position, **values):
    bars = bars.copy()
    bars.iloc[position, [bars.columns.get_loc(name) for name in values]] = [*values.values()]
    return bars


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


@pytest.mark.parametrize("policy", ["refuse", "restate", "keep"])
@pytest.mark.parametrize(("factor", "differs"), [(1.0, False), (1.00009, False), (1.00011, True), (0.5, True)])
def test_bars_are_the_same_within_a_hundredth_of_a_percent(policy, factor, differs):
    stored, fetched = candles("2024-01-01", [10, 20]), candles("2024-01-01", [10, 20, 21])
    fetched[list(PRICES)] *= factor
    settled = settle("AAA", compare(stored, fetched), policy, MONTH)
    assert bool(settled.defects) == differs
    assert settled.bars.equals(stored)
    if differs:
        (defect,) = settled.defects
        assert (defect.rule, defect.severity) == ("revised_history", "error")
        assert defect.bars == tuple(stored.index)
        assert defect.message.startswith("AAA bar 2024-01-01 00:00:00+00:00: revised_history: ")


def test_the_message_names_what_changed_and_the_remedy():
    stored = candles("2024-01-01", [10, 20, 30, 40])
    fetched = changed(changed(stored, 1, low=18.5), 2, close=33)
    message = settle("AAA", compare(stored, fetched), "refuse", MONTH).defects[0].message
    assert "AAA bar 2024-01-02 00:00:00+00:00: revised_history: low was 19, the source now says 18.5" in message
    assert "2 bar(s) refused; set `revisions: restate`" in message
    assert "refetch: true" in message


@pytest.mark.parametrize("policy", ["refuse", "restate"])
@pytest.mark.parametrize("values", [{"volume": 17.0}, {"high": 21.01}, {"high": 25.0, "close": 24.0, "volume": 12.0}])
def test_a_newest_bar_that_was_not_final_is_renewed(policy, values):
    stored = candles("2024-01-01", [10, 15, 20])
    fetched = changed(candles("2024-01-01", [10, 15, 20, 21]), 2, **values)
    settled = settle("AAA", compare(stored, fetched), policy, MONTH)
    pd.testing.assert_frame_equal(settled.bars, fetched.iloc[:3], check_freq=False)
    assert [*settled.renewed] == [stored.index[-1]]
    far = values.get("high") == 25.0
    assert [defect.rule for defect in settled.defects] == ["renewed_bar"] * far
    assert {defect.severity for defect in settled.defects} <= {"warning"}


def test_bars_of_the_last_hour_may_all_not_have_been_final():
    stored = candles("2024-01-01", [10, 11, 12, 13], "10min")
    fetched = changed(changed(stored, 3, volume=20.0), 2, volume=15.0)
    settled = settle("AAA", compare(stored, fetched), "refuse", MONTH)
    assert settled.bars["volume"].tolist() == [10, 10, 15, 20]
    assert settled.defects == []


@pytest.mark.parametrize(
    ("policy", "closes", "rules"),
    [
        ("refuse", [10, 20, 30], ["corrected_bar"]),
        ("restate", [10, 20.1, 30], []),
        ("keep", [10, 20, 30], ["kept_bar"]),
    ],
)
def test_an_older_bar_that_moves_by_half_a_percent_stops_nothing(policy, closes, rules):
    stored = candles("2024-01-01", [10, 20, 30])
    settled = settle("AAA", compare(stored, changed(stored, 1, close=20.1)), policy, MONTH)
    assert settled.bars["close"].tolist() == closes
    assert [(defect.rule, defect.severity) for defect in settled.defects] == [(rule, "warning") for rule in rules]


def test_by_restating_bars_of_the_month_follow_and_those_before_it_need_all_months():
    stored = candles("2023-12-30", [10, 20, 30, 40])
    in_month = settle("AAA", compare(stored, changed(stored, 2, close=30.9)), "restate", MONTH)
    assert in_month.bars["close"].tolist() == [10, 20, 30.9, 40]
    assert [defect.rule for defect in in_month.defects] == ["renewed_bar"]
    before = settle("AAA", compare(stored, changed(stored, 1, close=20.1)), "restate", MONTH)
    assert [(defect.rule, defect.severity) for defect in before.defects] == [("revised_history", "error")]
    assert before.bars.equals(stored)


def test_by_restating_a_bar_that_was_missing_is_added_and_one_that_is_gone_stays():
    every = candles("2024-01-01", [10, 20, 30, 40])
    stored, fetched = every.drop(every.index[1]), every.drop(every.index[2])
    settled = settle("AAA", compare(stored, fetched), "restate", MONTH)
    pd.testing.assert_frame_equal(settled.bars, every, check_freq=False)
    assert [*settled.renewed] == [every.index[1]]
    for policy in ("refuse", "keep"):
        assert settle("AAA", compare(stored, fetched), policy, MONTH).bars.equals(stored)


def test_kept_bars_stay_unless_newer_ones_would_not_follow_on_from_them():
    stored = candles("2024-01-01", [10, 20, 30, 40])
    fetched = stored.copy()
    fetched.iloc[:2, :4] *= 0.92
    settled = settle("AAA", compare(stored, fetched), "keep", MONTH)
    assert [defect.rule for defect in settled.defects] == ["kept_bar"]
    assert settled.bars.equals(stored)
    fetched.iloc[2:, :4] *= 0.92
    (defect,) = settle("AAA", compare(stored, fetched), "keep", MONTH).defects
    assert (defect.rule, defect.severity) == ("revised_history", "error")


def test_a_late_dividend_is_a_step_between_bars_whose_later_ones_are_as_they_were():
    stored = candles("2024-01-01", [10, 20, 30, 40])
    fetched = stored.copy()
    fetched.iloc[:2, :4] *= 0.92
    revision = compare(stored, fetched)
    assert revision.price_factors == pytest.approx([0.92, 0.92, 1, 1])
    assert (revision.volume_factors == 1).all()
    assert [*revision.altered] == [stored.index[2]]
    np.testing.assert_allclose(revision.bars, fetched, rtol=1e-12)


def test_a_split_divides_prices_and_multiplies_volumes():
    stored = candles("2024-01-01", [10, 20, 30, 40])
    fetched = stored.copy()
    fetched.iloc[:3, :4] /= 1.2
    fetched.iloc[:3, 4] *= 1.2
    revision = compare(stored, fetched)
    assert revision.volume_factors == pytest.approx([1.2, 1.2, 1.2, 1])
    assert not revision.replaced.any()
    np.testing.assert_allclose(revision.bars, fetched, rtol=1e-12)


@given(
    steps=st.lists(st.tuples(st.integers(1, 18), st.sampled_from([0.5, 0.8333, 0.92, 0.99, 0.9995])), max_size=3),
    corrections=st.lists(
        st.tuples(st.integers(0, 19), st.sampled_from(COLUMNS), st.sampled_from([0.9, 0.999, 1.004])), max_size=3
    ),
)
def test_whatever_a_source_does_to_its_history_the_restated_bars_are_its_own(steps, corrections):
    stored = candles("2024-01-01", np.random.default_rng(1).uniform(50, 60, 20))
    fetched = stored.copy()
    for end, factor in steps:
        fetched.iloc[:end, :4] *= factor
    for at, column, factor in corrections:
        fetched.iloc[at, fetched.columns.get_loc(column)] *= factor
    revision = compare(stored, fetched)
    np.testing.assert_allclose(revision.bars, fetched, rtol=2.1e-4)
    after = revision.bars["close"].pct_change().to_numpy()[1:]
    same = ~stored.index[1:].isin(revision.altered) & ~stored.index[:-1].isin(stored.index[revision.replaced])
    np.testing.assert_allclose(after[same], stored["close"].pct_change().to_numpy()[1:][same], atol=1e-12)


def test_bars_before_the_first_fetched_one_are_not_compared():
    stored = candles("2024-01-01", [10, 20, 30])
    revision = compare(stored, candles("2024-01-03", [30]))
    assert [*revision.times] == [stored.index[-1]]
    assert not revision.differing.any()


def test_without_a_bar_in_common_there_is_nothing_to_compare():
    for stored, fetched in (
        (empty_candles(), candles("2024-01-01", [10])),
        (candles("2024-01-01", [10]), candles("2024-01-02", [10])),
        (candles("2024-01-01", [10]), empty_candles()),
    ):
        settled = settle("AAA", compare(stored, fetched), "restate", MONTH)
        assert settled.defects == []
        assert settled.renewed.empty


def test_a_stored_bar_that_is_fetched_without_a_price_stays():
    stored = candles("2024-01-01", [10, 20])
    revision = compare(stored, changed(stored, 1, close=np.nan))
    assert [*revision.missing] == [stored.index[1]]
    assert settle("AAA", revision, "restate", MONTH).bars.equals(stored)
