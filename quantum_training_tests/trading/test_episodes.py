"""Episodes: the simulator's equity to the last bit, rewards equal to its log returns, streams that can be repeated."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.episode_kernel import ACCOUNT, BUY, FLOOR, HOLD, SELL, uniform
from quantum_training.trading.episodes import Bars, Episodes, Trading, transitions
from quantum_training.trading.liquidity import UNTRADED
from quantum_training.trading.simulator import simulate

FREE = Costs(fee_bps=0, slippage_bps=0)
SHORT = Account(capital=1e4, allow_short=True)


def bars_of(prices, costs=FREE, account=SHORT, mark=0.0, untraded=()):
    """Bars of (open, close) pairs; all that the market shows is `mark`. untraded: numbers of bars without a fill."""
    opens, closes = np.array(prices, "float64").reshape(-1, 2).T
    rows = np.full((len(opens), 1), mark, "float32")
    index = pd.date_range("2024-01-01", periods=len(opens), freq="h", tz="UTC")
    extra = np.where(np.isin(np.arange(len(opens)), untraded), np.nan, 0.0)
    return Bars(index, np.ascontiguousarray(opens), np.ascontiguousarray(closes), extra, rows, 0.01, costs, account)


@st.composite
def markets(draw):
    bps = st.one_of(st.just(0.0), st.floats(0.1, 200))
    costs = Costs(
        fee_bps=draw(bps),
        slippage_bps=draw(bps),
        per_share=draw(st.sampled_from([0.0, 0.01, 1.0])),
        minimum=draw(st.sampled_from([0.0, 2.5, 400.0])),
        cap=draw(st.sampled_from([0.01, 0.3])),
        borrow_bps=draw(bps),
        funding_bps=draw(st.sampled_from([0.0, 5.0, -5.0])),
    )
    account = Account(
        capital=draw(st.sampled_from([1.0, 10_000.0, 1e6])),
        whole_units=draw(st.booleans()),
        allow_short=draw(st.booleans()),
        max_leverage=draw(st.sampled_from([1.0, 2.0])),
        no_trade_band=draw(st.sampled_from([0.0, 0.2])),
    )
    jump, count = draw(st.sampled_from([0.02, 0.3, 1.2])), draw(st.integers(3, 40))
    steps = np.random.default_rng(draw(st.integers(0, 10**6))).uniform(-jump, jump, 2 * count)
    untraded = draw(st.sets(st.integers(0, count - 1)))
    return bars_of(draw(st.floats(0.5, 500)) * np.exp(np.cumsum(steps)), costs, account, untraded=list(untraded))


@st.composite
def tradings(draw):
    return Trading(
        actions=draw(st.sampled_from(["discrete", "continuous"])),
        step=draw(st.sampled_from([0.0, 0.25, 0.2, 1.0])),
        episode_bars=draw(st.integers(2, 50)),
    )


def drawn_actions(trading, rng, count):
    if trading.actions == "discrete":
        return rng.integers(0, 3, count)
    return rng.uniform(-1.2, 1.2, (count, 1)).astype("float32")


def goals_of(actions, trading, low):
    """The targets of an episode's actions, computed independently of the episodes."""
    goals, level = [], 0.0
    for action in actions:
        if trading.actions == "discrete":
            level = min(max(level + {HOLD: 0, BUY: 1, SELL: -1}[int(action)], low), 1.0)
        else:
            level = min(max(float(action[0]), low), 1.0)
            if trading.step:
                steps = round(1 / trading.step)
                level = round(level * steps) / steps  # both round half to even
        goals.append(level)
    return goals


def play(episodes, trading, seed=0):
    """Step until each episode has ended once: (start, actions, equities, rewards, how it ended) of each."""
    rng, count = np.random.default_rng(seed), episodes.count
    starts = episodes.accounts["start"].tolist()
    actions, equities, rewards, ends = ([[] for _ in range(count)] for _ in range(4))
    while not all(ends):
        chosen = drawn_actions(trading, rng, count)
        _, reward, _, ended = episodes.step(chosen)
        over = {e.episode: e for e in ended}
        for i in range(count):
            if not ends[i]:
                actions[i].append(chosen[i])
                rewards[i].append(reward[i])
                equities[i].append(over[i].growth if i in over else episodes.accounts["equity"][i] / episodes.capital)
                ends[i] += [over[i]] if i in over else []
    return [(*rest, end) for *rest, (end,) in zip(starts, actions, equities, rewards, ends, strict=True)]


def simulate_goals(bars, start, goals):
    """Equity / capital of the simulator on these goals, from the bar after `start` on."""
    body = {name: bars.open[start + 1 : start + 1 + len(goals)] for name in ("open", "high", "low")}
    candles = pd.DataFrame({**body, "close": bars.close[start + 1 : start + 1 + len(goals)]})
    candles[UNTRADED] = np.isnan(bars.extra[start + 1 : start + 1 + len(goals)])
    candles.index = pd.date_range("2024-01-01", periods=len(goals), freq="h", tz="UTC")
    target = pd.Series(goals, candles.index, dtype="float64")
    return simulate(candles, target, bars.costs, bars.account).equity[:, 0] / bars.account.capital


@settings(max_examples=100)
@given(markets(), tradings(), st.integers(0, 10**6))
def test_the_equity_is_the_simulators_to_the_last_bit_and_the_rewards_add_up_to_its_log(bars, trading, seed):
    episodes = Episodes([bars], trading, 2)
    episodes.seed(seed)
    episodes.reset()
    for start, actions, equities, rewards, end in play(episodes, trading, seed):
        expected = simulate_goals(bars, start, goals_of(actions, trading, episodes.low))
        assert np.array_equal(equities, expected)
        assert end.bars == len(actions)
        waited = np.isnan(bars.extra[start + 1 : start + 1 + len(actions)]).any()  # a ruined account could not close
        assert end.ruined == (expected[-1] <= 0) or (end.ruined and waited)
        assert end.reward == pytest.approx(sum(rewards), rel=1e-12)
        if (np.array(expected) / np.r_[1.0, expected[:-1]] >= FLOOR).all():
            assert sum(rewards) == pytest.approx(math.log(expected[-1]), rel=1e-9, abs=1e-12)


def test_a_discrete_order_that_waits_is_filled_at_the_next_bar_with_trades_though_the_agent_holds():
    episodes = Episodes([bars_of([100, 100] * 2 + [110, 110] * 8, untraded=[1, 2])], Trading(actions="discrete"), 1)
    episodes.reset()
    episodes.accounts["row"] = episodes.accounts["start"] = 0
    held = []
    for action in (BUY, HOLD, HOLD, HOLD):
        episodes.step(np.array([action]))
        held.append(episodes.accounts["units"][0] * 110 / 1e4)
    assert held == pytest.approx([0, 0, 1, 1])


def test_the_penalties_weigh_the_squared_return_and_how_much_the_drawdown_deepens(ready):
    bars, plain = ready(400), Trading(actions="discrete")
    weighed = Trading(actions="discrete", risk_penalty=3.0, drawdown_penalty=0.5)
    one, other = Episodes([bars], plain, 2), Episodes([bars], weighed, 2, scale=10.0)
    one.reset(), other.reset()
    for (_, _, equity, gains, _), (_, _, same, rewards, _) in zip(play(one, plain), play(other, weighed), strict=True):
        assert equity == same
        log = np.log(np.r_[1.0, equity])
        drawdown = log - np.maximum.accumulate(log)
        deeper = np.maximum(-np.diff(drawdown), 0)
        assert deeper.max() > 0
        expected = 10 * (np.array(gains) - 3.0 * np.diff(log) ** 2 - 0.5 * deeper)
        np.testing.assert_allclose(rewards, expected, rtol=1e-9, atol=1e-12)


def test_a_flat_position_earns_nothing_whatever_the_reward_weights(ready):
    episodes = Episodes([ready()], Trading(actions="discrete", risk_penalty=5, drawdown_penalty=5), 4)
    episodes.reset()
    for _ in range(100):
        assert not episodes.step(np.full(4, HOLD))[1].any()


def test_a_ruin_terminates_with_a_finite_reward_and_a_flat_observation():
    """Short at 100, closed at 300: 10,000 owed twice. Three bars leave one stretch to play."""
    episodes = Episodes([bars_of([(100, 100), (100, 300), (300, 300)])], Trading(actions="discrete"), 1)
    episodes.reset()
    observation, rewards, done, (end,) = episodes.step(np.array([SELL]))
    assert done.all()
    assert (end.ruined, end.bars, end.growth) == (True, 1, -1.0)
    assert rewards[0] == end.reward == pytest.approx(math.log(FLOOR))
    assert end.observation[1:5].tolist() == [0, 0, 0, 0]
    assert observation[0, 1:].tolist() == [1, 0, 0, 0, 0], "the next episode has begun, all in cash"
    assert episodes.accounts[["equity", "row", "ruined"]].tolist() == [(1e4, 0, 0)]


def test_the_end_of_the_bars_truncates_with_the_position_open():
    episodes = Episodes([bars_of([(100, 100), (100, 110), (110, 121)])], Trading(actions="discrete"), 1)
    episodes.reset()
    _, _, done, ended = episodes.step(np.array([BUY]))
    assert not done.any()
    assert len(ended) == 0
    _, _, done, (end,) = episodes.step(np.array([HOLD]))
    assert done.all()
    assert (end.ruined, end.bars, end.growth) == (False, 2, pytest.approx(1.21))
    assert end.observation[1:3].tolist() == [0, 1]


def test_splitmix64_gives_its_published_numbers():
    account = np.zeros(1, ACCOUNT)[0]
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [uniform(account) for _ in published] == [(z >> 11) * 2.0**-53 for z in published]


def test_starts_and_lengths_of_episodes_cover_each_market_and_stay_inside_it():
    lengths = (12, 40, 3)
    bars = [bars_of(np.full(2 * n, 100.0), mark=mark) for mark, n in enumerate(lengths)]
    trading = Trading(actions="continuous", episode_bars=20)
    episodes = Episodes(bars, trading, 3000)
    episodes.reset()
    first, accounts = np.cumsum([0, *lengths]), episodes.accounts.copy()
    share = np.bincount(accounts["market"]) / len(accounts)
    np.testing.assert_allclose(share, np.array(lengths) / sum(lengths), atol=0.04)
    for market, (count, longest) in enumerate(zip(lengths, (11, 20, 2), strict=True)):
        of_market = accounts[accounts["market"] == market]
        bars_each, starts = of_market["end"] - of_market["start"], of_market["start"] - first[market]
        assert set(bars_each) == set(range(max(longest // 4, 2), longest + 1))
        assert starts.min() == 0
        assert (of_market["end"] - first[market]).max() == count - 1, "the last bar is played too"
    rng = np.random.default_rng(0)
    for _ in range(60):
        observations, _, _, ended = episodes.step(drawn_actions(trading, rng, 3000))
        assert np.array_equal(observations[:, 0], episodes.accounts["market"])
        assert all(e.bars <= 20 for e in ended)
    assert set(episodes.accounts["market"]) == {0, 1, 2}


def test_each_market_has_its_own_costs():
    still, fees = np.full(60, 100.0), np.array([0, 500])
    markets_ = [bars_of(still, Costs(fee_bps=fee, slippage_bps=0), Account()) for fee in fees]
    episodes = Episodes(markets_, Trading(actions="discrete"), 50)
    episodes.reset()
    episodes.step(np.full(50, BUY))
    assert episodes.accounts["equity"] == pytest.approx(1e5 / (1 + fees[episodes.accounts["market"]] / 1e4))


def stream(episodes, trading, columns, steps=150, seed=1):
    """Everything that the first `columns` episodes see and earn, with actions of their own."""
    rngs, record = [np.random.default_rng(seed + i) for i in range(episodes.count)], []
    for _ in range(steps):
        observations, rewards, done, ended = episodes.step(np.concatenate([drawn_actions(trading, g, 1) for g in rngs]))
        ends = [(e.episode, e.ruined, e.reward, e.bars, e.growth, e.observation.tobytes()) for e in ended]
        record.append(
            [
                observations[:columns].copy(),
                rewards[:columns].copy(),
                done[:columns].copy(),
                [e for e in ends if e[0] < columns],
            ]
        )
    return record


def same(one, other):
    return all(
        all(np.array_equal(a, b) for a, b in zip(left[:3], right[:3], strict=True)) and left[3] == right[3]
        for left, right in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("actions", ["discrete", "continuous"])
def test_an_episodes_stream_depends_on_its_own_seed_and_nothing_else(ready, actions):
    trading = Trading(actions=actions, episode_bars=20)
    bars = [ready(50, seed) for seed in range(2)]

    def streamed(count, seed, columns):
        episodes = Episodes(bars, trading, count)
        episodes.seed(seed)
        return [[episodes.reset()[:columns].copy(), [], [], []], *stream(episodes, trading, columns)]

    four = streamed(4, 7, 4)
    assert same(four, streamed(4, 7, 4))
    assert same(four, streamed(9, 7, 4)), "more episodes change nothing for the first"
    assert same(four, streamed(4, [7, 8, 9, 10], 4))
    assert not same(four, streamed(4, 8, 4))
    for i in range(4):
        alone = Episodes(bars, trading, 1)
        alone.seed(7 + i)
        assert np.array_equal(alone.reset()[0], four[0][0][i])
        for mine, all_ in zip(stream(alone, trading, 1, seed=1 + i), four[1:], strict=True):
            assert np.array_equal(mine[0][0], all_[0][i])
            assert (mine[1][0], mine[2][0]) == (all_[1][i], all_[2][i])
            assert [e[1:] for e in mine[3]] == [e[1:] for e in all_[3] if e[0] == i]


def test_without_a_seed_the_operating_system_supplies_one(ready):
    episodes = Episodes([ready(500)], Trading(actions="discrete"), 4)
    episodes.seed([None] * 4)
    assert len(set(episodes.accounts["random"].tolist())) == 4


def test_a_restored_state_goes_on_with_the_same_bits(ready):
    trading = Trading(actions="continuous", episode_bars=20)
    episodes = Episodes([ready(80)], trading, 5)
    episodes.reset()
    stream(episodes, trading, 5, 50)
    state = json.loads(json.dumps(episodes.state()["accounts"].tolist()))
    expected = stream(episodes, trading, 5)
    assert sum(len(step[3]) for step in expected) > 10, "new episodes were drawn after it"
    other = Episodes([ready(80)], trading, 5)
    other.restore({"accounts": np.array([tuple(row) for row in state], ACCOUNT)})
    assert same(expected, stream(other, trading, 5))


def test_arrays_of_a_step_are_valid_until_the_step_after_the_next(ready):
    episodes = Episodes([ready()], Trading(actions="discrete", episode_bars=8), 3)
    before = episodes.reset()
    copy = before.copy()
    ends = []
    for _ in range(30):
        now, _, _, ended = episodes.step(np.full(3, BUY))
        assert np.array_equal(before, copy)
        assert not np.shares_memory(now, before)
        before, copy = now, now.copy()
        ends += [(e.observation, e.observation.copy()) for e in ended]
    assert len(ends) > 5
    assert all(np.array_equal(a, b) for a, b in ends), "last observations are the reader's own"


def test_bars_or_settings_that_allow_no_episode_are_refused(ready):
    trading = Trading(actions="discrete")
    with pytest.raises(ValueError, match="2 bars are too few for an episode; at least 3"):
        Episodes([ready(), ready(2)], trading, 1)
    with pytest.raises(ValueError, match="same account; make one environment per account"):
        Episodes([ready(), ready(account=SHORT)], trading, 1)
    with pytest.raises(ValueError, match="reshape"):
        Episodes([ready()], trading, 3).step(np.zeros(2, "int64"))


@pytest.mark.parametrize("step", [0.3, 0.7])
def test_a_step_that_does_not_divide_one_is_refused(step):
    with pytest.raises(ValueError, match="must divide 1"):
        Trading(actions="continuous", step=step)


def test_transitions_end_where_the_account_is_ruined():
    prices = [100, 100, 100, 100, 100, 320, 320, 320, 320, 320]
    trading = Trading(actions="continuous", drawdown_penalty=0.1)
    bars = bars_of(prices)
    past = transitions(bars, trading, pd.Series(-1.0, bars.index), 1.0)
    assert len(past.reward) == 2, "short at the second open, ruined at the close of the third bar"
    assert {len(part) for part in past} == {2}
    assert np.isfinite(past.reward).all()
