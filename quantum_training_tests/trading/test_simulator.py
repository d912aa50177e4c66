"""The one accounting: fills by hand, and the invariants that DESIGN.md's rule 2 promises."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.trading.simulator import COLUMNS, simulate

NAN = float("nan")


def account(candles, targets, rate, held=0.0, entry=None):
    return simulate(candles, pd.Series(targets, candles.index, dtype="float64"), rate, held, entry)


def test_entry_gap_partial_exit_and_exit_by_hand(bars):
    """1 % costs. Worked out in fractions: buys spend 1/1.01 of the cash, a gap belongs to who holds, exits pay too."""
    got = account(bars([(100, 110), (120, 132), (130, 117), (110, 121)]), [1, 1, 0.5, 0], 0.01)
    expected = [
        [1.0, 100.0, 1.0, 1 / 101, 10 / 101, 9 / 101],
        [1.0, NAN, 1.0, 0.0, 0.2, 0.2],
        [0.5, 130.0, 9 / 19, 0.004948987361047662, -0.06414649002588702, -0.06909547738693467],
        [0.0, 110.0, 0.0, 0.004453441295546558, -0.02834008097165992, -0.03279352226720648],
    ]
    assert tuple(got.columns) == COLUMNS
    np.testing.assert_allclose(got.to_numpy(), expected, rtol=0, atol=1e-15)
    assert np.prod(1 + got["net_return"]) == pytest.approx(1.176730185581372, abs=1e-15)


def test_a_position_held_at_the_start_is_kept_free_of_charge_and_then_raised(bars):
    got = account(bars([(110, 121), (121, 121), (100, 110)]), [0.5, 0.5, 1], 0.01, held=0.5, entry=100.0)
    expected = [
        [0.5, NAN, 121 / 221, 0.0, 0.105, 0.105],
        [0.5, NAN, 121 / 221, 0.0, 0.0, 0.0],
        [1.0, 100.0, 1.0, 0.0044800860176515385, -0.004972895479593208, -0.009452981497244746],
    ]
    np.testing.assert_allclose(got.to_numpy(), expected, rtol=0, atol=1e-15)


def test_a_position_held_at_the_start_and_sold_at_the_first_open_gains_the_gap_and_pays_the_exit(bars):
    got = account(bars([(110, 121)]), [0], 0.01, held=0.5, entry=100.0)
    np.testing.assert_allclose(got.to_numpy(), [[0, 110, 0, 0.0055, 0.05, 0.0445]], rtol=0, atol=1e-15)


def test_flat_costs_and_earns_nothing_and_no_bars_are_no_rows(walk):
    got = account(walk(20), [0.0] * 20, 0.01)
    assert got["fill_price"].isna().all()
    assert (got.drop(columns="fill_price") == 0).all(axis=None)
    assert account(walk(20).iloc[:0], [], 0.01).empty


@st.composite
def accounts(draw):
    """Candles, targets, a cost rate and a position held at the start."""
    n = draw(st.integers(1, 25))
    steps = draw(st.lists(st.floats(-0.4, 0.4), min_size=2 * n, max_size=2 * n))
    prices = 50 * np.exp(np.cumsum(steps)).reshape(n, 2)
    index = pd.date_range("2024-01-01", periods=n, freq="h", tz="UTC")
    candles = pd.DataFrame(prices, index, ["open", "close"])
    share = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1))
    targets = draw(st.lists(share, min_size=n, max_size=n))
    held = draw(st.one_of(st.just(0.0), share))
    return candles, pd.Series(targets, index), draw(st.floats(0, 0.2)), held, draw(st.floats(20, 100))


@given(accounts())
def test_cash_and_position_make_the_equity_and_only_prices_and_costs_move_it(case):
    """Cash and units are rebuilt from what the rows say of the fills, then every bar is checked against them."""
    candles, target, rate, held, entry = case
    rows = simulate(candles, target, rate, held, entry)
    units, cash, close, equity, current = held / entry, 1 - held, entry, 1.0, held
    for (open_, next_close), row in zip(candles.to_numpy(), rows.itertuples(), strict=True):
        cost, moved = 0.0, units * (open_ - close)
        assert np.isnan(row.fill_price) == (row.target == current)
        if not np.isnan(row.fill_price):
            assert row.fill_price == open_
            cost = row.cost * equity
            after = cash + units * open_ - cost
            bought = row.target * after / open_ - units
            assert cost == pytest.approx(rate * abs(bought) * open_, abs=1e-12)
            cash -= bought * open_ + cost
            units, current = units + bought, row.target
            assert cash >= -1e-12
        else:
            assert row.cost == 0
        moved += units * (next_close - open_)
        value = equity * (1 + row.net_return)
        assert cash + units * next_close == pytest.approx(value, rel=1e-9)
        assert value - equity == pytest.approx(moved - cost, abs=1e-9)
        assert row.position == pytest.approx(units * next_close / value, abs=1e-9)
        assert row.net_return == pytest.approx(row.gross_return - row.cost, abs=1e-12)
        assert value > 0
        close, equity = next_close, value


@given(accounts())
def test_right_after_a_fill_the_position_is_the_target(case):
    candles, target, rate, held, entry = case
    rows = simulate(candles.assign(close=candles["open"]), target, rate, held, entry)
    filled = rows["fill_price"].notna()
    np.testing.assert_allclose(rows.loc[filled, "position"], target[filled], rtol=0, atol=1e-12)


@given(accounts())
def test_without_costs_a_target_of_one_is_buy_and_hold(case):
    candles = case[0]
    rows = account(candles, [1.0] * len(candles), 0.0)
    equity = np.cumprod(1 + rows["net_return"])
    np.testing.assert_allclose(equity, candles["close"] / candles["open"].iloc[0], rtol=1e-12)


@given(accounts(), st.floats(1e-3, 1e3))
def test_the_currency_unit_does_not_matter(case, factor):
    candles, target, rate, held, entry = case
    one = simulate(candles, target, rate, held, entry)
    other = simulate(candles * factor, target, rate, held, entry * factor)
    np.testing.assert_allclose(other["fill_price"], one["fill_price"] * factor, rtol=1e-9)
    pd.testing.assert_frame_equal(
        other.drop(columns="fill_price"), one.drop(columns="fill_price"), rtol=1e-9, atol=1e-9
    )


@given(accounts(), st.integers(0, 25), st.floats(0.5, 2))
def test_later_bars_and_targets_change_no_bit_of_earlier_rows(case, cut, factor):
    candles, target, rate, held, entry = case
    later = np.arange(len(target)) >= cut
    wild, other = candles * np.where(later, factor, 1.0)[:, None], target.mask(later, 1 - target)
    before = simulate(candles, target, rate, held, entry).iloc[:cut]
    pd.testing.assert_frame_equal(simulate(wild, other, rate, held, entry).iloc[:cut], before, check_exact=True)


@pytest.mark.parametrize("column", ["open", "close"])
@pytest.mark.parametrize("price", [0.0, -1.0, NAN, float("inf")])
def test_a_price_that_is_none_is_refused_with_its_bar(walk, column, price):
    candles = walk(5)
    candles.loc[candles.index[3], column] = price
    with pytest.raises(ValueError, match=r"2024-01-01 12:00.*price"):
        account(candles, [0.0] * 5, 0.01)


@pytest.mark.parametrize("wanted", [-0.1, 1.0000001, NAN])
def test_a_target_outside_of_0_and_1_is_refused_with_its_bar(walk, wanted):
    with pytest.raises(ValueError, match=r"2024-01-01 08:00.*target"):
        account(walk(4), [0, 1, wanted, 0], 0.01)


def test_targets_of_other_bars_are_refused(walk):
    candles = walk(4)
    with pytest.raises(ValueError, match="3 targets do not belong to the 4 bars"):
        simulate(candles, pd.Series(0.0, candles.index[:3]), 0.01)
    with pytest.raises(ValueError, match="4 targets do not belong"):
        simulate(candles, pd.Series(0.0, candles.index + pd.Timedelta(hours=4)), 0.01)


@pytest.mark.parametrize(("held", "entry"), [(0.5, None), (0.5, 0.0), (1.5, 100.0), (-0.5, 100.0), (NAN, 100.0)])
def test_a_start_that_cannot_be_is_refused(walk, held, entry):
    with pytest.raises(ValueError, match="held at the start"):
        account(walk(2), [0, 0], 0.01, held, entry)
