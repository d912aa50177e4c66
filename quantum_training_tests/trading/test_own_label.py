"""A label of one's own: known no earlier than its horizon, checked, and otherwise as the project's labels are."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.features.labels import ForwardReturn, make_labels
from quantum_training.lifecycle.settings_check import examine_label
from quantum_training.models.feature_set_hash import label_hash
from quantum_training.monitoring.random_markets import random_candles
from quantum_training.trading.own_label import OwnLabel, OwnLabelError, labels_of

MODULE = "quantum_training_tests.support.label_modules"
CANDLES = random_candles(pd.date_range("2024-01-01", periods=200, freq="1h", tz="UTC"), 100.0, seed=2)


def own(function, horizon=5, **fields):
    return OwnLabel(kind="own", module=MODULE, horizon=horizon, params={"function": function}, **fields)


@given(st.integers(1, 220), st.floats(0, 0.05))
def test_the_forward_return_as_a_label_of_ones_own_is_that_of_the_project(horizon, cost):
    expected = make_labels(CANDLES, ForwardReturn(kind="forward_return", horizon=horizon), cost)
    pd.testing.assert_frame_equal(labels_of(CANDLES, own("forward", horizon), cost), expected)


@given(st.integers(1, 20), st.integers(30, 199))
def test_it_is_known_when_its_exit_opens_and_not_before(horizon, bars):
    whole, then = (labels_of(candles, own("forward", horizon), 0.001) for candles in (CANDLES, CANDLES.iloc[:bars]))
    known = then["label"].notna()
    assert known.sum() == max(bars - 1 - horizon, 0)
    pd.testing.assert_frame_equal(then[known], whole.iloc[:bars][known], check_freq=False)
    assert (then.loc[known, "label_end"] <= CANDLES.index[bars - 1]).all()


def test_bars_without_an_answer_or_with_too_few_before_them_have_no_label():
    labels = labels_of(CANDLES, own("after_two_down_bars", warmup_bars=50), 0.0)["label"]
    assert labels.iloc[:50].isna().all()
    assert 0.1 < labels.iloc[50:-6].notna().mean() < 0.5
    assert own("forward", 7, warmup_bars=50).span_bars == 59


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ("returns", r"returned .* for the bar .*; it is 1 where a long position pays off"),
        ("an_array", "returned a ndarray, not a Series of the 200 candles"),
        ("short", "returned a Series of 199 rows, not a Series of the 200 candles"),
    ],
)
def test_what_is_no_label_is_refused(function, problem):
    with pytest.raises(OwnLabelError, match=problem):
        labels_of(CANDLES, own(function), 0.0)


def test_what_the_module_raises_is_passed_on_and_an_import_is_explained():
    with pytest.raises(RuntimeError, match="no such barrier"):
        labels_of(CANDLES, own("failing"), 0.0)
    with pytest.raises(OwnLabelError, match=r"no_such_module\.outcome cannot be imported: ModuleNotFoundError"):
        labels_of(CANDLES, OwnLabel(kind="own", module="no_such_module", horizon=5), 0.0)


def test_a_label_that_reads_beyond_its_exit_or_is_not_deterministic_is_found():
    examine_label(own("forward"), "1h")
    examine_label(own("after_two_down_bars"), "4h")
    examine_label(ForwardReturn(kind="forward_return", horizon=5), "1h")
    with pytest.raises(OwnLabelError, match="changes with bars after its outcome is known"):
        examine_label(own("too_far"), "1h")
    with pytest.raises(OwnLabelError, match=r"reads more than 0 bars before it; set label\.warmup_bars"):
        examine_label(own("above_usual"), "1h")
    examine_label(own("above_usual", warmup_bars=51), "1h")
    with pytest.raises(OwnLabelError, match="returned what is no number"):
        labels_of(CANDLES, own("words"), 0.0)
    with pytest.raises(OwnLabelError, match="gives other values if it is called again"):
        examine_label(own("random"), "1h")


def test_its_code_is_hashed_and_that_of_the_project_is_not():
    assert label_hash(ForwardReturn(kind="forward_return", horizon=5)) is None
    assert len(label_hash(own("forward"))) == 16
    assert len({own("forward"), own("forward"), own("too_far")}) == 2


def test_the_candles_and_costs_of_the_caller_are_its_own():
    before = CANDLES.copy()
    labels_of(CANDLES, own("forward"), np.full(len(CANDLES), 0.001))
    pd.testing.assert_frame_equal(CANDLES, before)
