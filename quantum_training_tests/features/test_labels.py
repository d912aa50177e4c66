"""Labels: tables worked out by hand, the oracle of the triple barrier, and nothing of the future."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from quantum_training.features.labels import ForwardReturn, Label, TripleBarrier, make_labels, triple_barrier
from quantum_training.market.schema import as_candles, empty_candles

NAN = float("nan")
FORWARD = ForwardReturn(kind="forward_return", horizon=2)
BARRIER = TripleBarrier(kind="triple_barrier", horizon=3, take_profit=1.0, stop_loss=1.0, volatility_bars=2)


def days(opens, closes=None):
    """Daily candles from 2024-01-01 with these opens (and closes)."""
    closes = opens if closes is None else closes
    index = pd.date_range("2024-01-01", periods=len(opens), tz="UTC")
    high, low = np.maximum(opens, closes), np.minimum(opens, closes)
    return as_candles(
        pd.DataFrame({"open": opens, "high": high, "low": low, "close": closes, "volume": 1.0}, index=index)
    )


def ends(labels):
    """Day of January of each label_end, None where unknown."""
    return [None if pd.isna(end) else end.day for end in labels["label_end"]]


def same(labels, expected):
    np.testing.assert_array_equal(labels["label"], expected)


def test_oracle():
    close = np.array([100, 101, 102.5, 99, 97, 97.5, 103])
    labels, touch = triple_barrier(close, np.full(7, 0.02), 3, 1, 1)
    assert labels.tolist() == [1, -1, -1, -1, 1, 1, 0]
    assert touch.tolist() == [2, 4, 3, 4, 6, 6, -1]


@pytest.mark.parametrize(
    ("close", "volatility", "labels", "touch"),
    [
        ([100, 101, 100, 101, 100], 0.05, [0, 0, 0, 0, 0], [2, 3, 4, -1, -1]),  # time barrier, then the end
        ([100, 105, 100, 100, 100], 0.05, [1, 0, 0, 0, 0], [1, 3, 4, -1, -1]),  # a barrier reached exactly counts
        ([100, 95, 100, 100, 100], 0.05, [-1, 1, 0, 0, 0], [1, 2, 4, -1, -1]),
        ([100, 120, 80, 80, 80], 0.05, [1, -1, 0, 0, 0], [1, 2, 4, -1, -1]),  # the first touch decides
        ([100, 120, 80, 80, 80], NAN, [0] * 5, [-1] * 5),
        ([100, 120, 80, 80, 80], 0.0, [0] * 5, [-1] * 5),
        ([100], 0.05, [0], [-1]),
        ([], 0.05, [], []),
    ],
)
def test_first_touch_decides(close, volatility, labels, touch):
    outcomes = triple_barrier(np.array(close, float), np.full(len(close), volatility), 2, 1.0, 1.0)
    assert outcomes[0].tolist() == labels
    assert outcomes[1].tolist() == touch


def test_barriers_have_their_own_widths():
    close, volatility = np.array([100.0, 103, 97, 90]), np.full(4, 0.02)
    assert triple_barrier(close, volatility, 3, 2, 1)[1].tolist() == [2, 2, 3, -1]
    assert triple_barrier(close, volatility, 3, 1, 5)[1].tolist() == [1, 3, -1, -1]


@settings(max_examples=50, deadline=None)
@given(
    close=st.lists(st.floats(50, 150), min_size=1, max_size=30),
    horizon=st.integers(1, 12),
    barriers=st.tuples(st.floats(0.1, 5), st.floats(0.1, 5)),
    volatility=st.floats(0.005, 0.2),
)
def test_equals_a_walk_along_each_path(close, horizon, barriers, volatility):
    close = np.array(close)
    expected = []
    for i, entry in enumerate(close):
        outcome = (0, -1)
        for j in range(i + 1, min(i + horizon, len(close) - 1) + 1):
            move = close[j] / entry - 1
            if move <= -barriers[1] * volatility or move >= barriers[0] * volatility:
                outcome = (1 if move > 0 else -1, j)
                break
            if j == i + horizon:
                outcome = (0, j)
        expected.append(outcome)
    outcomes = triple_barrier(close, np.full(len(close), volatility), horizon, *barriers)
    assert list(zip(*(part.tolist() for part in outcomes), strict=True)) == expected


def test_forward_return_goes_from_open_to_open():
    # Bar 1 (Jan 1) enters at the open of Jan 2 and leaves at the open of Jan 4; closes play no part.
    labels = make_labels(days([1, 100, 50, 101, 60, 100], [9, 9, 9, 9, 9, 9]), FORWARD, 0.0)
    same(labels, [1, 1, 0, NAN, NAN, NAN])
    assert ends(labels) == [4, 5, 6, None, None, None]
    assert labels["label"].dtype == "float64"
    assert labels["label_end"].dtype == "datetime64[ns, UTC]"
    assert labels.index.name == "open_time"


@pytest.mark.parametrize(("cost", "label"), [(0.0, 1), (0.0099, 1), (0.0101, 0), (0.5, 0)])
def test_costs_must_be_beaten(cost, label):
    assert make_labels(days([1, 100, 100, 101]), FORWARD, cost)["label"].iloc[0] == label


def test_a_constant_price_does_not_cover_costs():
    assert make_labels(days([100] * 4), FORWARD, 0.0)["label"].iloc[0] == 0


def test_label_end_follows_the_bars_over_gaps():
    candles = days([1, 2, 3, 4, 5, 6]).drop(pd.Timestamp("2024-01-03", tz="UTC"))
    assert ends(make_labels(candles, FORWARD, 0.0)) == [5, 6, None, None, None]


def test_triple_barrier_labels_by_hand():
    # Closes move by a factor 1.01 up and down, so the volatility is log(1.01) from the third bar on, and a barrier
    # lies log(1.01) * sqrt(3) = 1.7235 % from the entry at the next open.
    closes = [100, 101, 100, 101, 100, 101, 100, 101, 100, 101]
    opens = [100, 100, 100, 100, 101.7, 101.8, 100, 99.5, 98, 100]
    labels = make_labels(days(opens, closes), BARRIER, 0.0)
    #   decided in at          out at
    #   Jan 3   100 (Jan 4)    101.8 (6), after 101.7 (5) stayed short of the barrier: take profit
    #   Jan 4   101.7 (Jan 5)  99.5 (8), -2.16 %, after 100 (7), only -1.67 %: stop loss
    #   Jan 5   101.8 (Jan 6)  100 (7), -1.77 %: stop loss
    #   Jan 6   100 (Jan 7)    98 (9): stop loss
    #   Jan 7   99.5 (Jan 8)   neither 98 (-1.51 %) nor 100 passes, and the time barrier is after the last candle
    #   Jan 8   98 (Jan 9)     100 (10), +2.04 %: take profit
    same(labels, [NAN, NAN, 1, 0, 0, 0, NAN, 1, NAN, NAN])
    assert ends(labels) == [None, None, 6, 8, 7, 9, None, 10, None, None]


def test_the_time_barrier_asks_for_a_return_above_costs():
    opens = [100.0, 100, 100, 100, 100, 100, 100.5]
    closes = [100.0, 101, 100, 101, 100, 101, 100]
    assert make_labels(days(opens, closes), BARRIER, 0.004)["label"].iloc[2] == 1
    assert make_labels(days(opens, closes), BARRIER, 0.006)["label"].iloc[2] == 0


def test_take_profit_below_costs_does_not_pay():
    opens = [100.0, 100, 100, 100, 102, 102, 102]
    closes = [100.0, 101, 100, 101, 100, 101, 100]
    labels = make_labels(days(opens, closes), BARRIER, 0.03)
    assert labels["label"].iloc[2] == 0
    assert ends(labels)[2] == 5


def test_without_volatility_the_outcome_is_unknown():
    labels = make_labels(days([100.0, 101, 102, 103, 104, 105], [100.0] * 6), BARRIER, 0.0)
    assert labels["label"].isna().all()
    assert labels["label_end"].isna().all()


@pytest.mark.parametrize("label", [FORWARD, BARRIER])
def test_empty_and_tiny_frames(label):
    assert make_labels(empty_candles(), label, 0.0).empty
    assert make_labels(days([100.0]), label, 0.0)["label"].isna().all()


@pytest.mark.parametrize("label", [FORWARD, BARRIER])
def test_a_missing_price_never_becomes_an_outcome(label):
    candles = days([100.0, 101, 99, 102, 98, 103, 97, 104])
    candles.iloc[5, 0] = NAN
    labels = make_labels(candles, label, 0.0)
    assert np.isnan(labels["label"].iloc[4])


@settings(max_examples=30, deadline=None)
@given(
    t=st.integers(60, 198),
    seed=st.integers(1, 1000),
    factor=st.sampled_from([0.001, 1.0, 1000.0]),
    label=st.sampled_from(
        [
            ForwardReturn(kind="forward_return", horizon=5),
            TripleBarrier(kind="triple_barrier", horizon=12, take_profit=1, stop_loss=0.7, volatility_bars=20),
        ]
    ),
)
def test_labels_known_at_t_do_not_depend_on_later_bars(make_candles, t, seed, factor, label):
    candles = make_candles(200)
    changed = candles.copy()
    changed.iloc[t + 1 :] = make_candles(200 - t - 1, seed=seed).to_numpy() * factor
    before, now = (make_labels(frame, label, 0.001) for frame in (candles, changed))
    complete = (before["label_end"] <= candles.index[t]).to_numpy()
    assert complete.any()
    assert ((now["label_end"] <= candles.index[t]).to_numpy() == complete).all()
    pd.testing.assert_frame_equal(before[complete], now[complete], check_exact=True)
    # Cutting the later bars off, as a week in progress does, gives the same labels too.
    cut = make_labels(candles.iloc[: t + 1], label, 0.001)
    assert (cut["label"].notna().to_numpy() == complete[: t + 1]).all()
    pd.testing.assert_frame_equal(cut[complete[: t + 1]], before[complete], check_exact=True)


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "forward_return", "horizon": 0},
        {"kind": "forward_return", "horizon": 5, "take_profit": 1},
        {"kind": "triple_barrier", "horizon": 5, "take_profit": 0, "stop_loss": 1, "volatility_bars": 20},
        {"kind": "triple_barrier", "horizon": 5, "take_profit": 1, "stop_loss": 1, "volatility_bars": 1},
        {"kind": "fixed", "horizon": 5},
    ],
)
def test_wrong_options_are_refused(values):
    with pytest.raises(ValidationError):
        TypeAdapter(Label).validate_python(values)


def test_the_kind_chooses_the_label():
    assert TypeAdapter(Label).validate_python(FORWARD.model_dump()) == FORWARD
    assert TypeAdapter(Label).validate_python(BARRIER.model_dump()) == BARRIER
