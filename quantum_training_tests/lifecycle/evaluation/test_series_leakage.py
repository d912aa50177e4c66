"""Look-ahead in a feature set of a series is found, and the column and the time that moved are named."""

import numpy as np
import pandas as pd
import pytest

from quantum_training.features.sets.feature_set import FeatureSet
from quantum_training.features.sets.series_events import known_rows
from quantum_training.lifecycle.evaluation.series_leakage import examine_series_set
from quantum_training.market.series_schema import KNOWN_AT, TIME, VALUE

MODULE = "quantum_training_tests.support.series_modules"
TIMES = pd.date_range("2020-01-01", periods=60, freq="1D", tz="UTC")
ROWS = pd.DataFrame(
    {TIME: TIMES, KNOWN_AT: TIMES + pd.Timedelta("9h"), VALUE: np.random.default_rng(1).normal(size=60)}
)
REVISED = pd.DataFrame({TIME: TIMES[[20, 25]], KNOWN_AT: TIMES[[40, 45]] + pd.Timedelta("12h"), VALUE: [5.0, 6.0]})
WITH_REVISIONS = pd.concat([ROWS, REVISED]).sort_values([KNOWN_AT, TIME], ignore_index=True)


def examined(function, rows=ROWS):
    feature_set = FeatureSet(module=MODULE, params={"function": function}, series="s")
    stored = known_rows(feature_set, "mine", rows, TIMES[30])
    return examine_series_set(feature_set, "mine", rows, stored, cuts=6)


@pytest.mark.parametrize("rows", [ROWS, WITH_REVISIONS], ids=["plain", "revised"])
def test_an_honest_set_passes(rows):
    report = examined("mean_of_three", rows)
    assert report.failures == []
    assert report.rows > 20
    assert report.warmup_difference < 1e-12


@pytest.mark.parametrize("leak", ["centred", "z_score", "next_value", "filled_backwards"])
@pytest.mark.parametrize("rows", [ROWS, WITH_REVISIONS], ids=["plain", "revised"])
def test_a_leak_is_found(leak, rows):
    (failure, *_) = examined(leak, rows).failures
    assert failure.startswith("a feature looks ahead: with other values after 2020-0")
    assert "mine__result of the bar 2020-0" in failure


def test_a_set_that_is_not_deterministic_or_remembers_more_is_found():
    assert examined("not_deterministic").failures[0].startswith("a feature is not deterministic")
    assert examined("longer_memory").failures[-1].startswith("a feature remembers more than the warm-up")


def test_stored_rows_of_other_code_are_found():
    feature_set = FeatureSet(module=MODULE, params={"function": "mean_of_three"}, series="s")
    stored = known_rows(feature_set, "mine", ROWS, TIMES[30]) + 1.0
    (failure, *_) = examine_series_set(feature_set, "mine", ROWS, stored, cuts=6).failures
    assert failure.startswith("the stored bytes are not what the code computes")


def test_nothing_stored_is_nothing_to_examine():
    feature_set = FeatureSet(module=MODULE, params={"function": "mean_of_three"}, series="s")
    stored = known_rows(feature_set, "mine", ROWS, TIMES[-1] + pd.Timedelta("30D"))
    assert examine_series_set(feature_set, "mine", ROWS, stored, cuts=6).rows == 0
