"""The label of a cross-section, against a plain loop over bars and members."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quantum_training.features.labels import ForwardReturn, make_labels
from quantum_training.trading.cross_section_label import CrossSection, outcomes
from quantum_training.trading.own_label import labels_of


def by_hand(entries, exits, is_member, horizon, min_members):
    labels = np.full(entries.shape, np.nan)
    for bar in range(entries.shape[1] - horizon - 1):
        gains = exits[:, bar + 1 + horizon] / entries[:, bar + 1] - 1
        there = [m for m in range(len(entries)) if is_member[m, bar] and not np.isnan(gains[m])]
        for member in there if len(there) >= min_members else ():
            worse = sum(gains[other] < gains[member] for other in there)
            better = sum(gains[other] > gains[member] for other in there)
            if worse != better:
                labels[member, bar] = float(worse > better)
    return labels


PRICES = st.sampled_from([1.0, 2.0, 3.0, 4.5, np.nan])


@given(
    st.tuples(st.integers(1, 5), st.integers(1, 9)).flatmap(
        lambda shape: st.tuples(
            arrays(float, shape, elements=PRICES), arrays(float, shape, elements=PRICES), arrays(bool, shape)
        )
    ),
    st.integers(1, 4),
    st.integers(2, 3),
)
def test_the_labels_are_those_of_a_plain_loop(market, horizon, min_members):
    np.testing.assert_array_equal(outcomes(*market, horizon, min_members), by_hand(*market, horizon, min_members))


def test_the_member_in_the_middle_has_no_label():
    prices = np.array([[1.0, 1.0, 1.1], [1.0, 1.0, 1.2], [1.0, 1.0, 1.3]])
    members = np.ones(prices.shape, dtype=bool)
    assert outcomes(prices, prices, members, 1, 2)[:, 0].tolist() == pytest.approx([0.0, np.nan, 1.0], nan_ok=True)


def test_on_a_single_market_it_is_the_sign_of_the_return():
    rng = np.random.default_rng(0)
    close = np.exp(rng.normal(0, 0.01, 50).cumsum())
    index = pd.date_range("2020-01-01", periods=50, freq="1h", tz="UTC")
    candles = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), close), index)
    label = CrossSection(kind="cross_section", within="top", horizon=3)
    plain = make_labels(candles, ForwardReturn(kind="forward_return", horizon=3), 0.0)
    pd.testing.assert_frame_equal(labels_of(candles, label, 0.5), plain)
    assert label.span_bars == 5
