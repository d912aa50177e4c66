"""What an agent sees: numbers that can be checked by hand, the same in training and in serving, and nothing later."""

import json

import numpy as np
import pandas as pd
import pytest

from quantum_training.trading import episode_kernel as kernel
from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.episodes import Bars, Episodes, Market, Trading
from quantum_training.trading.observation import HALF_HELD, LIMIT, PORTFOLIO, View
from quantum_training.trading.simulator import rule_rows

CAPITAL = 1e4


def view_of(candles, lags=2):
    x = np.random.default_rng(0).normal(5, 3, (len(candles), 2))
    features = pd.DataFrame(x, candles.index, ["a", "b"])
    return View.fit(("a", "b"), x, candles["close"].to_numpy(), lags), features


def test_a_row_is_the_normalised_features_and_the_last_returns(walk):
    candles = walk(50)
    view, features = view_of(candles)
    close = candles["close"].to_numpy()
    rows = view.rows(features.to_numpy(), close)
    assert rows.dtype == np.float32
    assert rows.shape == (50, 4)
    assert view.width == 4 + len(PORTFOLIO)
    unit = np.std([np.log(close[i] / close[i - 1]) for i in range(1, 50)])
    assert view.unit == pytest.approx(unit)
    for t in range(2, 50):
        by_hand = [(features.iloc[t][c] - features[c].mean()) / features[c].std(ddof=0) for c in ("a", "b")]
        by_hand += [np.log(close[t - lag] / close[t - lag - 1]) / unit for lag in range(2)]
        assert rows[t] == pytest.approx(by_hand, rel=1e-5, abs=1e-6)
    assert np.isnan(rows).any(axis=1).tolist() == [True, True] + [False] * 48


def test_no_observed_number_is_beyond_the_limit(walk):
    candles = walk(50)
    view, features = view_of(candles)
    rows = view.rows(features.to_numpy() * [1e6, -1e6], candles["close"].to_numpy() * 10.0 ** np.arange(50))
    assert np.abs(rows[2:]).max(axis=0).tolist() == [LIMIT] * 4


def test_a_close_that_does_not_move_has_no_unit():
    with pytest.raises(ValueError, match="does not move in 5 training bars"):
        View.fit(("a",), np.arange(5.0)[:, None], np.full(5, 3.0), 1)


def test_a_view_is_the_same_after_json(walk):
    candles = walk(50)
    view, features = view_of(candles)
    again = View.from_dict(json.loads(json.dumps(view.to_dict())))
    x, close = features.to_numpy(), candles["close"].to_numpy()
    assert (again.columns, again.lags, again.unit) == (view.columns, view.lags, view.unit)
    assert again.rows(x, close).tobytes() == view.rows(x, close).tobytes()


def test_lags_use_candles_before_the_window_and_unobservable_bars_are_left_out(walk):
    candles = walk(50)
    view, features = view_of(candles)
    all_rows = view.rows(features.to_numpy(), candles["close"].to_numpy())
    bars = Bars.of(view, Market(candles), features[20:40][["b", "a"]])
    assert np.array_equal(bars.rows, all_rows[20:40]), "columns by name, lags from the candles before"
    assert np.array_equal(bars.open, candles["open"][20:40])
    assert np.array_equal(bars.close, candles["close"][20:40])
    assert len(Bars.of(view, Market(candles), features).close) == 48, "no candles before the first for its lags"
    holed = features.copy()
    holed.iloc[25, 0] = np.nan
    bars = Bars.of(view, Market(candles), holed[20:40])
    assert np.array_equal(bars.rows, np.delete(all_rows[20:40], 5, axis=0))
    assert np.array_equal(bars.close, np.delete(candles["close"][20:40].to_numpy(), 5))


def test_later_bars_change_no_earlier_observation(walk):
    candles = walk(60)
    view, features = view_of(candles)
    later = candles.index > candles.index[30]
    other_candles = candles.mul(np.where(later, 1.5, 1.0), axis=0)
    other_features = features.add(np.where(later, 7.0, 0.0), axis=0)
    one = Bars.of(view, Market(candles), features)
    other = Bars.of(view, Market(other_candles), other_features)
    assert np.array_equal(one.rows[:29], other.rows[:29])
    assert not np.array_equal(one.rows[29], other.rows[29])
    actions, account = np.random.default_rng(0).integers(0, 3, 28), Account()
    observations = [serve(bars, actions, account, view.width) for bars in (one, other)]
    assert np.array_equal(*observations)


def serve(bars, actions, account, width, start=0, low=0.0):
    """Observations of an account that takes these actions from the close of row `start` on, one call at a time."""
    (rule,) = rule_rows([bars.costs], account)
    scheme = np.array([(1, low, 0, 0, 0, 1)], kernel.SCHEME)[0]
    state = np.zeros(1, kernel.ACCOUNT)[0]
    kernel.open_account(state, account.capital, start, start + len(actions))
    observations = np.empty((len(actions) + 1, width), "float32")
    watch(state, bars, observations[0])
    for out, action in zip(observations[1:], actions, strict=True):
        goal = kernel.goal_of(action, state["target"], scheme)
        row = state["row"] + 1
        kernel.advance(state, goal, bars.open[row], bars.close[row], bars.extra[row], rule)
        watch(state, bars, out)
    return observations


def watch(state, bars, out):
    kernel.observe(state, bars.close[state["row"]], bars.unit, bars.rows[state["row"]], out)


def test_training_and_serving_observe_the_same_bits(ready):
    account = Account(allow_short=True, whole_units=True)
    bars = ready(300, costs=Costs(per_share=0.01, minimum=2.5, borrow_bps=1), account=account)
    episodes = Episodes([bars], Trading(actions="discrete"), 3)
    first = episodes.reset().copy()
    starts, ends = episodes.accounts["start"].tolist(), episodes.accounts["end"].tolist()
    steps = min(end - start for start, end in zip(starts, ends, strict=True)) - 1
    actions = np.random.default_rng(0).integers(0, 3, (steps, 3))
    trained = np.array([first, *(episodes.step(chosen)[0].copy() for chosen in actions)])
    for i, start in enumerate(starts):
        assert np.array_equal(trained[:, i], serve(bars, actions[:, i], account, episodes.width, start, -1.0))


def portfolio(moves, account, costs, unit=0.01):
    """PORTFOLIO, entry price and units after each (goal, open, close)."""
    (rule,) = rule_rows([costs], account)
    state, states = np.zeros(1, kernel.ACCOUNT)[0], []
    kernel.open_account(state, account.capital, 0, len(moves))
    for goal, price, close in moves:
        kernel.advance(state, goal, price, close, 0.0, rule)
        out = np.empty(len(PORTFOLIO), "float32")
        kernel.observe(state, close, unit, np.empty(0, "float32"), out)
        states.append((out.tolist(), float(state["entry"]), float(state["units"])))
    return states


def test_the_portfolio_by_hand():
    """10,000 without costs: half in at 100, all in at 120, half out at 110, short a half at 100, flat at 90."""
    moves = [(0.5, 100, 100), (0.5, 110, 110), (1.0, 120, 132), (0.5, 110, 110), (-0.5, 100, 100), (0.0, 90, 90)]
    free, account = Costs(fee_bps=0, slippage_bps=0), Account(capital=CAPITAL, allow_short=True)
    half, unchanged, full, partial, short, flat = portfolio(moves, account, free)

    assert half[0] == pytest.approx([0.5, 0.5, 0, 0, 1 / (1 + HALF_HELD)])
    assert half[1:] == (100, 50)

    assert unchanged[0] == pytest.approx([5000 / 10500, 5500 / 10500, 500 / 10500 / 0.01, 0, 2 / (2 + HALF_HELD)])

    units = 11_000 / 120
    entry = (50 * 100 + (units - 50) * 120) / units
    assert full[1:] == pytest.approx((entry, units))
    assert full[0][:2] == pytest.approx([0, 1], abs=1e-7)
    assert full[0][2] == LIMIT, "(132 - entry) x units is far more than ten typical bars"

    equity = units * 110
    left = equity / 2 / 110
    assert partial[1:] == pytest.approx((entry, left)), "selling a part leaves the mean price of the rest"
    drawdown = (equity / (units * 132) - 1) / 0.01
    profit = left * (110 - entry) / equity / 0.01
    assert partial[0] == pytest.approx([0.5, 0.5, profit, max(drawdown, -LIMIT), 4 / (4 + HALF_HELD)])

    equity = equity / 2 + left * 100
    assert short[1:] == pytest.approx((100, -equity / 2 / 100)), "a flip is a new position at its own price"
    assert short[0][:3] == pytest.approx([1.5, -0.5, 0], abs=1e-6)
    assert short[0][4] == pytest.approx(1 / (1 + HALF_HELD))

    assert flat[1:] == (0, 0)
    assert flat[0][:3] == [1, 0, 0]
    assert flat[0][4] == 0


def test_the_entry_price_is_the_fill_price():
    account = Account(capital=CAPITAL, allow_short=True)
    (_, bought, _), (_, sold, _) = portfolio([(0.5, 100, 100), (-0.5, 100, 100)], account, Costs(slippage_bps=50))
    assert (bought, sold) == pytest.approx((100.5, 99.5))


def test_adding_to_a_short_means_its_entry_prices_too():
    """10,000 short a half at 100 is 50 units; at 80 the equity is 11,000, all of it short 137.5 units."""
    account = Account(capital=CAPITAL, allow_short=True)
    moves = [(-0.5, 100, 80), (-1.0, 80, 80), (-0.25, 80, 80)]
    _, more, less = portfolio(moves, account, Costs(fee_bps=0, slippage_bps=0))
    entry = (50 * 100 + 87.5 * 80) / 137.5
    assert more[1:] == pytest.approx((entry, -137.5))
    assert less[1:] == pytest.approx((entry, -11_000 / 4 / 80)), "buying a part back leaves it"


def test_a_short_that_lost_nearly_all_stays_within_the_limit():
    account = Account(capital=CAPITAL, allow_short=True)
    ((observation, _, _),) = portfolio([(-1.0, 100, 199)], account, Costs(fee_bps=0, slippage_bps=0))
    assert observation == pytest.approx([LIMIT, -LIMIT, -LIMIT, -LIMIT, 1 / (1 + HALF_HELD)])
