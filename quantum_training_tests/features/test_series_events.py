"""A feature set of a series as it was known: with revisions, late values and several values at once."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.features.sets.feature_set import FeatureSet
from quantum_training.features.sets.series_events import known_rows
from quantum_training.market.series_schema import KNOWN_AT, TIME, VALUE

START, DAY = pd.Timestamp("2020-01-01", tz="UTC"), pd.Timedelta("1D")
RAW = FeatureSet(module="quantum_training.features.sets.series_values", series="s")
MEAN = FeatureSet(
    module="quantum_training_tests.support.series_modules", params={"function": "mean_of_three"}, series="s"
)


def publications(*rows):
    """Rows (day that a value is about, day on which it became known, value), in order."""
    frame = pd.DataFrame(
        [(START + t * DAY, START + k * DAY, float(v)) for t, k, v in rows], columns=[TIME, KNOWN_AT, VALUE]
    )
    return frame.sort_values([KNOWN_AT, TIME], kind="stable", ignore_index=True)


def as_known(feature_set, rows, since):
    """The same, computed plainly: for each time at which something became known, from all that was known then."""
    known = {}
    for time in rows.loc[rows[KNOWN_AT] >= since, KNOWN_AT].unique():
        table = rows[rows[KNOWN_AT] <= time].drop_duplicates(TIME, keep="last").set_index(TIME).sort_index()
        known[time] = feature_set.compute("x", table[[VALUE]], table.index[-1], "1d").iloc[-1, 0]
    return pd.Series(known, dtype="float64")


def test_a_revised_value_counts_from_its_revision_on():
    rows = publications((0, 31, 1.0), (31, 60, 2.0), (0, 74, 1.5), (60, 91, 3.0), (31, 91, 2.5))
    known = known_rows(RAW, "x", rows, START)["x__value"]
    assert known.tolist() == [1.0, 2.0, 2.0, 3.0]
    assert [*known.index] == [START + day * DAY for day in (31, 60, 74, 91)]


def test_a_late_value_changes_what_is_computed_and_not_which_value_is_the_newest():
    rows = publications((0, 0, 1.0), (1, 1, 2.0), (3, 3, 4.0), (4, 4, 5.0), (2, 5, 9.0))
    known = known_rows(MEAN, "x", rows, START + 4 * DAY)["x__result"]
    assert known.tolist() == [(2 + 4 + 5) / 3, (9 + 4 + 5) / 3]


def test_of_several_values_at_once_the_newest_is_the_row():
    rows = publications((0, 5, 1.0), (1, 5, 2.0), (2, 5, 3.0))
    known = known_rows(RAW, "x", rows, START)["x__value"]
    assert (known.index == START + 5 * DAY).tolist() == [True]
    assert known.tolist() == [3.0]


def test_nothing_known_gives_no_row():
    known = known_rows(RAW, "x", publications((0, 5, 1.0)), START + 6 * DAY)
    assert (len(known), [*known]) == (0, ["x__value"])


PUBLICATIONS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 8), st.integers(0, 9)),
    min_size=1,
    max_size=25,
    unique_by=lambda r: r[:2],
)


@given(PUBLICATIONS, st.integers(0, 20))
def test_each_row_is_what_the_values_known_then_give(rows, since):
    rows = publications(*((time, time + delay, value) for time, delay, value in rows))
    for feature_set, column in ((RAW, "x__value"), (MEAN, "x__result")):
        known = known_rows(feature_set, "x", rows, START + since * DAY)[column]
        expected = as_known(feature_set, rows, START + since * DAY)
        assert [*known.index] == [*expected.index]
        np.testing.assert_allclose(known, expected, rtol=1e-12)


@given(PUBLICATIONS, st.integers(0, 20))
def test_what_becomes_known_later_changes_no_earlier_row(rows, cut):
    rows = publications(*((time, time + delay, value) for time, delay, value in rows))
    end = START + cut * DAY
    whole = known_rows(MEAN, "x", rows, START).loc[:end]
    known = known_rows(MEAN, "x", rows[rows[KNOWN_AT] <= end], START)
    pd.testing.assert_frame_equal(whole, known, check_exact=True)
