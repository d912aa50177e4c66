"""The simulator: bit-equal to plain Python, its invariants, and examples computed by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.simulator import simulate

FREE = Costs(fee_bps=0, slippage_bps=0)
BROKER = Costs(fee_bps=0, slippage_bps=0, per_share=0.01, minimum=2.5, cap=0.01)
ARRAYS = ("units", "cash", "equity", "cost")


def candles_of(prices):
    opens, closes = np.array(prices, "float64").reshape(-1, 2).T
    index = pd.date_range("2024-01-01", periods=len(opens), freq="4h", tz="UTC", name="open_time")
    body = {"open": opens, "high": np.maximum(opens, closes), "low": np.minimum(opens, closes), "close": closes}
    return pd.DataFrame(body, index)


@st.composite
def markets(draw, jump=0.3):
    """Candles whose price moves by up to `jump` within a bar and over each gap, some without volume."""
    steps = draw(st.lists(st.floats(-jump, jump), min_size=2, max_size=50))
    steps = steps[: len(steps) // 2 * 2]
    volume = draw(st.lists(st.sampled_from([0.0, 5.0]), min_size=len(steps) // 2, max_size=len(steps) // 2))
    return candles_of(draw(st.floats(0.5, 500)) * np.exp(np.cumsum(steps))).assign(volume=volume)


@st.composite
def costs(draw, broker=True, carried=True):
    bps = st.one_of(st.just(0.0), st.floats(0.1, 200))
    return Costs(
        fee_bps=draw(bps),
        slippage_bps=draw(bps),
        untraded_slippage_bps=draw(st.sampled_from([None, 0.0, 50.0])),
        per_share=draw(st.sampled_from([0.0, 0.01, 1.0])) if broker else 0.0,
        minimum=draw(st.sampled_from([0.0, 2.5, 400.0])) if broker else 0.0,
        cap=draw(st.sampled_from([0.01, 0.3])),
        borrow_bps=draw(bps) if carried else 0.0,
        funding_bps=draw(st.sampled_from([0.0, 5.0, -5.0])) if carried else 0.0,
    )


@st.composite
def accounts(draw, **fixed):
    options = {
        "capital": draw(st.sampled_from([1.0, 10_000.0, 1e6])),
        "whole_units": draw(st.booleans()),
        "allow_short": draw(st.booleans()),
        "max_leverage": draw(st.sampled_from([1.0, 1.5, 3.0])),
        "no_trade_band": draw(st.sampled_from([0.0, 0.2])),
    }
    return Account(**{**options, **fixed})


@st.composite
def targets(draw, candles, account):
    low = -account.max_leverage if account.allow_short else 0.0
    share = st.one_of(st.sampled_from([0.0, low, account.max_leverage]), st.floats(low, account.max_leverage))
    values = draw(st.lists(share, min_size=len(candles), max_size=len(candles)))
    keep = draw(st.lists(st.booleans(), min_size=len(candles), max_size=len(candles)))
    series = pd.Series(values, candles.index).where(keep).ffill()
    return series.fillna(0.0)


@st.composite
def worlds(draw, jump=0.3, account_options=None, **cost_options):
    candles = draw(markets(jump))
    account = draw(accounts(**(account_options or {})))
    return candles, draw(targets(candles, account)), draw(costs(**cost_options)), account


@settings(max_examples=300)
@given(worlds(), st.sampled_from([0.0, 0.4, 1.0]), st.floats(0.9, 1.1))
def test_equal_to_plain_python_to_the_last_bit(reference, world, position, gap):
    candles, target, cost, account = world
    position = min(position, account.max_leverage)
    entry = float(candles["open"].iloc[0]) * gap
    simulation = simulate(candles, target, cost, account, position, entry)
    expected = np.array(reference.simulate(candles, target, cost, account, position, entry)).T
    for name, values in zip(ARRAYS, expected, strict=True):
        assert np.array_equal(getattr(simulation, name)[:, 0], values), name


@given(worlds())
def test_cash_units_and_costs_balance_on_every_bar(world):
    """cash + units x price = equity, and equity changes only by price moves and costs."""
    candles, target, cost, account = world
    got = simulate(candles, target, cost, account)
    close, open_ = candles["close"].to_numpy(), candles["open"].to_numpy()
    units, equity = got.units[:, 0], got.equity[:, 0]
    assert np.array_equal(got.cash[:, 0] + units * close, equity)
    before = np.r_[0.0, units[:-1]]
    move = before * (open_ - np.r_[open_[0], close[:-1]]) + units * (close - open_)
    scale = np.abs(units).max(initial=1.0) * close.max() + account.capital + np.abs(got.cash).max()
    np.testing.assert_allclose(
        np.diff(equity, prepend=account.capital), move - got.cost[:, 0], rtol=0, atol=1e-12 * scale * 10
    )


@given(worlds(account_options={"allow_short": False, "max_leverage": 1.0}, carried=False))
def test_an_unlevered_account_never_owes_money(world):
    got = simulate(*world)
    assert (got.cash >= 0).all()
    assert (got.units >= 0).all()
    if world[3].whole_units:
        assert np.array_equal(got.units, np.trunc(got.units))


@given(worlds(carried=False))
def test_no_fill_leaves_a_position_larger_than_the_leverage_allows(world):
    candles, target, cost, account = world
    got = simulate(candles, target, cost, account)
    value = got.units[:, 0] * candles["open"].to_numpy()
    exposure, equity = np.abs(value), got.cash[:, 0] + value
    grew = np.abs(got.units[:, 0]) > np.abs(np.r_[0.0, got.units[:-1, 0]])
    assert (exposure[grew] <= account.max_leverage * equity[grew] * (1 + 1e-9) + 1e-9).all()


@given(markets(), accounts(whole_units=False))
def test_without_costs_and_trades_it_is_buy_and_hold(candles, account):
    target = pd.Series(min(1.0, account.max_leverage), candles.index)
    got = simulate(candles, target, FREE, account).equity[:, 0]
    share = target.iloc[0]
    hold = account.capital * (1 - share + share * candles["close"] / candles["open"].iloc[0])
    np.testing.assert_allclose(got, hold, rtol=1e-12)


@given(worlds(broker=False, account_options={"whole_units": False}), st.integers(-8, 8))
def test_the_currency_of_the_price_does_not_matter(world, power):
    candles, target, cost, account = world
    one = simulate(candles, target, cost, account)
    scaled = simulate(candles * 2.0**power, target, cost, account)
    assert np.array_equal(one.equity, scaled.equity)
    assert np.array_equal(one.net_return, scaled.net_return)


@given(st.data())
def test_columns_are_accounts_of_their_own_in_any_order(data):
    candles = data.draw(markets())
    account = data.draw(accounts())
    each = [data.draw(costs()) for _ in range(3)]
    table = pd.concat({name: data.draw(targets(candles, account)) for name in "abc"}, axis=1)
    together = simulate(candles, table, each, account)
    turned = simulate(candles, table[["c", "a", "b"]], [each[2], each[0], each[1]], account)
    for at, name in enumerate("abc"):
        alone = simulate(candles, table[name], each[at], account)
        for array in ARRAYS:
            assert np.array_equal(getattr(together, array)[:, at], getattr(alone, array)[:, 0])
            assert np.array_equal(getattr(together, array)[:, at], getattr(turned, array)[:, [1, 2, 0][at]])


def test_several_symbols_are_simulated_with_their_own_candles(walk):
    frames = [walk(50, seed) for seed in range(3)]
    table = pd.DataFrame({seed: (f["close"] > 100).astype(float) for seed, f in enumerate(frames)})
    together = simulate(frames, table)
    for seed, frame in enumerate(frames):
        assert np.array_equal(together.equity[:, seed], simulate(frame, table[seed]).equity[:, 0])


@given(worlds(), st.integers(1, 20))
def test_later_bars_change_nothing_before_them(world, cut):
    candles, target, cost, account = world
    cut = min(cut, len(candles))
    full_run, part = simulate(candles, target, cost, account), simulate(candles[:cut], target[:cut], cost, account)
    for array in ARRAYS:
        assert np.array_equal(getattr(full_run, array)[:cut], getattr(part, array))


@pytest.mark.parametrize(
    ("value", "price", "price_bad", "target_bad"),
    [
        (bad, price, True, bad != 0.0 and price == "open")
        for bad in (np.nan, np.inf, 0.0, -1.0)
        for price in ("open", "high", "low", "close")
    ],
)
def test_an_invalid_price_or_target_is_refused_with_its_bar(walk, value, price, price_bad, target_bad):
    candles, target = walk(9), pd.Series(0.5, walk(9).index, name="mine")
    at = str(candles.index[4])
    with pytest.raises(ValueError, match=f"bar {at}.*{price} is .*not positive and finite".replace("+", r"\+")):
        simulate(candles.assign(**{price: candles[price].where(candles.index != candles.index[4], value)}), target)
    if target_bad:
        with pytest.raises(ValueError, match=rf"bar {at}, mine: target .* is outside \[0, 1\]".replace("+", r"\+")):
            simulate(candles, target.where(candles.index != candles.index[4], value))


def test_a_target_that_the_account_does_not_allow_is_refused(walk):
    candles = walk(3)
    for target, account in ((-0.1, Account()), (1.1, Account()), (-3.1, Account(allow_short=True, max_leverage=3))):
        with pytest.raises(ValueError, match="allow_short and max_leverage"):
            simulate(candles, pd.Series(target, candles.index), FREE, account)
    with pytest.raises(ValueError, match="one target per bar"):
        simulate(candles, pd.Series(1.0, candles.index[1:]))
    for position, entry in ((0.5, None), (0.5, -1.0), (1.5, 100.0), (-0.5, 100.0), (0.5, np.inf), (0.0, np.nan)):
        with pytest.raises(ValueError, match="held at the start"):
            simulate(candles, pd.Series(0.5, candles.index), start_position=position, entry=entry)
    with pytest.raises(ValueError, match="2 candle frames for 1 column"):
        simulate([candles, candles], pd.Series(0.5, candles.index))
    with pytest.raises(ValueError, match="2 costs for 3 columns"):
        simulate(candles, pd.DataFrame(0.5, candles.index, list("abc")), [FREE, BROKER])


def test_one_round_trip_by_hand():
    """Fee 1 %, slippage 0.5 %: 10,000 buy 10000 / (100.5 * 1.01) = 98.5173 units; sold at 119.4 less 1 %."""
    candles = candles_of([(100, 110), (120, 121)])
    got = simulate(
        candles, pd.Series([1.0, 0.0], candles.index), Costs(fee_bps=100, slippage_bps=50), Account(capital=1e4)
    )
    units = 10_000 / (100.5 * 1.01)
    assert got.units[:, 0] == pytest.approx([units, 0])
    assert got.cash[:, 0] == pytest.approx([0, units * 119.4 * 0.99], abs=1e-9)
    assert got.cost[:, 0] == pytest.approx([units * (0.5 + 1.005), units * (0.6 + 1.194)])
    assert got.fill_price[:, 0] == pytest.approx([100.5, 119.4])
    assert got.turnover[:, 0] == pytest.approx([units * 100 / 1e4, units * 120 / (units * 110)])


@pytest.mark.parametrize(
    ("capital", "price", "share", "units", "commission"),
    [
        (10_000, 50, 0.5, 100, 2.50),  # 100 shares at 0.01 are 1.00: the minimum
        (40_000, 20, 0.5, 1000, 10.00),  # by share
        (20, 1, 0.5, 10, 0.10),  # the minimum would be 25 % of the trade: the cap of 1 %
        (200_000, 0.5, 0.5, 200_000, 1000.0),  # 0.01 a share is 2 % of the value: the cap again
        (100_000, 100, 1.0, 999, 9.99),  # 1000 shares and their commission cannot be paid
        (100_000, 250, 1.0, 399, 3.99),
        (500, 250, 1.0, 1, 2.50),
        (252.5, 250, 1.0, 1, 2.50),  # to the last cent
        (252.49, 250, 1.0, 0, 0.0),
    ],
)
def test_a_tiered_commission_by_hand(capital, price, share, units, commission):
    candles = candles_of([(price, price)])
    got = simulate(candles, pd.Series([share], candles.index), BROKER, Account(capital=capital, whole_units=True))
    assert got.units[0, 0] == units
    assert got.cost[0, 0] == pytest.approx(commission)
    assert got.cash[0, 0] == pytest.approx(capital - units * price - commission)


@pytest.mark.parametrize("capital", [50.0, 251.0, 5_000.0, 1e6])
def test_an_order_above_the_cash_is_cut_to_what_can_be_paid(capital):
    """Fractional units under each regime of the commission: all cash is spent, and a hair more would be too much."""
    candles = candles_of([(100, 100)])
    got = simulate(candles, pd.Series([1.0], candles.index), BROKER, Account(capital=capital))
    units, fee = got.units[0, 0], got.cost[0, 0]
    assert fee == pytest.approx(min(max(0.01 * units, 2.5), 0.01 * units * 100))
    assert 0 <= got.cash[0, 0] < 1e-9 * capital
    assert units * 100 + fee == pytest.approx(capital, rel=1e-12)


@pytest.mark.parametrize("move", [0.3, 0.5, 0.7, 0.9, 1.1])
def test_a_tiny_amount_of_cash_buys_a_tiny_amount_without_an_endless_loop(move):
    """Beside a position 1e16 times the cash left, equity - value is not the cash: it was an endless loop."""
    costs = Costs(fee_bps=10, slippage_bps=2)
    for entry in np.arange(1, 40) / 7:
        candles = candles_of([(entry * move, entry)])
        target = pd.Series(1.0, candles.index)
        for position in 1 - np.array([1, 2, 3]) * 2.0**-53:
            simulation = simulate(candles, target, costs, Account(capital=1.0), position, entry)
            assert 0 <= simulation.cash[0, 0] < 1e-15


@pytest.mark.parametrize("capital", [1e7, 1e9])
def test_whole_units_above_the_integers_of_a_float_can_be_paid(capital):
    candles = candles_of([(1e-10, 1e-10)])
    got = simulate(candles, pd.Series(1.0, candles.index), Costs(), Account(capital=capital, whole_units=True))
    assert 0 <= got.cash[0, 0] < 1e-9 * capital


def test_a_short_with_borrow_and_funding_by_hand():
    """Sell 50 at 100 for 5,000; borrow 1 % of the value, funding 0.5 % received, each bar; buy back at 90."""
    candles = candles_of([(100, 95), (95, 100), (90, 90)])
    target = pd.Series([-0.5, -0.5, 0.0], candles.index)
    costs = Costs(fee_bps=0, slippage_bps=0, borrow_bps=100, funding_bps=50)
    got = simulate(candles, target, costs, Account(capital=1e4, allow_short=True))
    assert got.units[:, 0].tolist() == [-50, -50, 0]
    carry = [47.5 - 23.75, 50 - 25, 0]
    assert got.cost[:, 0] == pytest.approx(carry)
    assert got.cash[:, 0] == pytest.approx([15_000 - 23.75, 15_000 - 48.75, 15_000 - 48.75 - 4_500])
    assert got.equity[:, 0] == pytest.approx([10_226.25, 9_951.25, 10_451.25])


def test_a_flip_is_one_order_and_a_full_short_pays_its_own_fee():
    """From 100 % long to 100 % short at 1 % fee: 200 sold, cut so that the short is worth the equity left."""
    candles = candles_of([(100, 100), (100, 100)])
    costs, account = Costs(fee_bps=100, slippage_bps=0), Account(capital=1e4, allow_short=True)
    got = simulate(candles, pd.Series([1.0, -1.0], candles.index), costs, account)
    bought = 1e4 / 101
    sold = (1e4 / 101 * 100 + bought * 100) / 101  # (E + u p) / (p (1 + f)) of E = bought * 100
    assert got.units[:, 0] == pytest.approx([bought, bought - sold])
    equity = got.cash[1, 0] + got.units[1, 0] * 100
    assert -got.units[1, 0] * 100 == pytest.approx(equity)
    assert got.cost[1, 0] == pytest.approx(sold * 1.0)


def test_the_band_suppresses_small_changes_but_never_an_exit():
    candles = candles_of([(100, 100)] * 5)
    target = pd.Series([0.5, 0.55, 0.62, 0.05, 0.0], candles.index)
    got = simulate(candles, target, FREE, Account(capital=1e4, no_trade_band=0.1))
    assert got.units[:, 0] == pytest.approx([50, 50, 62, 5, 0])


def test_units_are_held_between_changes_of_the_target(walk):
    candles = walk(40)
    got = simulate(candles, pd.Series(0.5, candles.index))
    assert (got.units[:, 0] == got.units[0, 0]).all()
    assert (got.cost[1:] == 0).all()
    assert got.position[-1, 0] != 0.5


def test_a_short_that_loses_everything_is_closed_and_trades_no_more():
    candles = candles_of([(100, 100), (250, 300), (200, 100), (100, 100)])
    got = simulate(candles, pd.Series(-1.0, candles.index), FREE, Account(capital=1e4, allow_short=True))
    assert got.units[:, 0].tolist() == [-100, 0, 0, 0], "at 250 nothing is left: flat at that open"
    assert got.equity[:, 0].tolist() == [1e4, -5e3, -5e3, -5e3]
    assert got.net_return[:, 0].tolist() == [0, -1.5, 0, 0]
    assert (got.position[1:] == 0).all()


def test_a_ruined_account_keeps_its_debt_without_interest():
    candles = candles_of([(100, 100), (250, 250), (250, 250)])
    costs = Costs(fee_bps=0, slippage_bps=0, borrow_bps=100, funding_bps=50)
    got = simulate(candles, pd.Series(-1.0, candles.index), costs, Account(capital=1e4, allow_short=True))
    assert got.equity[-1, 0] < 0
    assert got.cost[1:, 0].tolist() == [0, 0]


def test_leverage_borrows_cash_and_pays_for_it():
    candles = candles_of([(100, 110), (110, 110)])
    costs = Costs(fee_bps=0, slippage_bps=0, borrow_bps=10)
    got = simulate(candles, pd.Series(2.0, candles.index), costs, Account(capital=1e4, max_leverage=2))
    assert got.units[0, 0] == 200
    assert got.cost[:, 0] == pytest.approx([10.0, 10.01])
    assert got.equity[0, 0] == pytest.approx(12_000 - 10)


def test_a_position_open_at_the_end_is_marked_and_its_closing_cost_is_known():
    candles = candles_of([(100, 120)])
    got = simulate(candles, pd.DataFrame({"in": [1.0], "out": [0.0]}, candles.index), BROKER, Account(whole_units=True))
    assert got.equity[0].tolist() == pytest.approx([999 * 120 + 100_000 - 99_900 - 9.99, 100_000])
    assert got.closed_equity.tolist() == pytest.approx([got.equity[0, 0] - 9.99, 100_000])


def test_a_position_carried_in_costs_nothing_and_its_gap_counts():
    candles = candles_of([(110, 121), (121, 121)])
    got = simulate(
        candles, pd.Series([1.0, 1.0], candles.index), Costs(fee_bps=50), Account(), start_position=1.0, entry=100.0
    )
    assert got.cost.sum() == 0
    assert got.net_return[:, 0] == pytest.approx([0.21, 0])
    assert np.isnan(got.fill_price).all()


def test_a_frame_shows_one_account_in_fractions_of_the_equity_before(walk):
    candles = walk(60)
    table = pd.DataFrame({"a": (candles["close"] > 100).astype(float), "b": 0.5})
    got = simulate(candles, table)
    frame = got.frame("a")
    assert list(frame) == ["target", "fill_price", "position", "turnover", "cost", "gross_return", "net_return"]
    assert frame.index.equals(candles.index)
    assert np.prod(1 + frame["net_return"]) == pytest.approx(got.equity[-1, 0] / 1e5)
    np.testing.assert_allclose(frame["gross_return"] - frame["cost"], frame["net_return"], atol=1e-15)
    assert frame["fill_price"].notna().sum() == (np.diff(got.units[:, 0], prepend=0) != 0).sum()
