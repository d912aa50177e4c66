"""One decision after another, compiled: an account that is observed, acts and is settled bar by bar.

Training, scoring and serving step through bars with these functions and no others. What is settled is kernel.py's.
Imports numba, so it is imported where it is used.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from quantum_training.trading.compiled import compiled
from quantum_training.trading.kernel import RULES, settle
from quantum_training.trading.observation import HALF_HELD, LIMIT, PORTFOLIO
from quantum_training.trading.own_reward import NotFiniteRewardError
from quantum_training.trading.own_reward_kernel import call_reward

fast = partial(compiled, error_model="numpy")
"""No check of every divisor, which takes a sixth of the time: no account that acts has an equity of 0."""

ACCOUNT = np.dtype(
    [(name, "f8") for name in ("units", "cash", "equity", "target", "entry", "peak", "rewarded", "asked")]
    + [(name, "i8") for name in ("market", "row", "start", "end", "held", "ruined")]
    + [("random", "u8")]
)
"""target: in force; asked: the newest that was asked for, not yet in force while an order waits; entry: mean fill price
of what is held; peak: highest equity; rewarded: sum of rewards; row: of the last close that was seen; start, end:
first and last row of the episode; held: bars since the position was opened;
random: state of the account's random numbers."""

SCHEME = np.dtype([(name, "f8") for name in ("discrete", "low", "steps", "risk", "drawdown", "scale")])
"""How actions become targets, and the weights of the reward."""

MARKET = np.dtype(
    [*RULES.descr, *SCHEME.descr, ("unit", "f8"), ("share", "f8")]
    + [(name, "i8") for name in ("first", "end", "longest")]
)
"""The rules and the scheme of one market; unit: as in `observe`; share: of all bars that lie in this market and those
before it; first, end: its rows are first .. end - 1; longest: most bars of an episode."""

HOLD, BUY, SELL = 0, 1, 2
FLOOR = 1e-3
"""A bar's reward counts at least this share of the equity before as left: a ruin has no logarithm."""

WIDTH = len(PORTFOLIO)


@fast
def open_account(account, capital, row, end):
    """A new account, flat, at the close of `row`."""
    account.units = account.target = account.asked = account.entry = account.rewarded = 0.0
    account.cash = account.equity = account.peak = capital
    account.row, account.start, account.end, account.held, account.ruined = row, row, end, 0, 0


@fast(inline="always")
def observe(account, close, unit, row, out):
    """Write what is known at a close into `out`: the market's `row` of numbers, then PORTFOLIO.

    unit: the standard deviation of a bar's log return, the unit of profit and drawdown. All within +-LIMIT.
    """
    width = len(row)
    for j in range(width):
        out[j] = row[j]
    equity = account.equity
    if equity > 0:
        share = account.units * close / equity
        out[width] = min(max(account.cash / equity, -LIMIT), LIMIT)
        out[width + 1] = min(max(share, -LIMIT), LIMIT)
        out[width + 2] = min(max(account.units * (close - account.entry) / equity / unit, -LIMIT), LIMIT)
        out[width + 3] = max((equity / account.peak - 1) / unit, -LIMIT)
    else:
        out[width : width + 4] = 0.0
    out[width + 4] = account.held / (account.held + HALF_HELD)


@fast
def goal_of(action, target, scheme):
    """Target position that an action asks for: one level up or down from the one in force, or the rounded share."""
    if scheme.discrete != 0:
        if action == BUY:
            return min(target + 1, 1.0)
        return max(target - 1, scheme.low) if action == SELL else target
    share = min(max(action, scheme.low), 1.0)
    return np.round(share * scheme.steps) / scheme.steps if scheme.steps > 0 else share


@fast
def advance(account, goal, price, close, extra, rule):
    """Fill `goal` at the open `price` of the next bar and mark the account at its `close`. extra: see kernel.settle.

    Returns the cost of the bar.
    """
    before = account.units
    carries = rule.borrow != 0 or rule.funding != 0
    units, cash, target, ruined, equity, cost = settle(
        before, account.cash, account.target, account.ruined != 0, goal, price, close, extra, rule, carries
    )
    if units != before:
        slippage = rule.slippage + extra
        fill = price * (1 + (slippage if units > before else -slippage))
        if units == 0:
            account.entry = 0.0
        elif before * units <= 0:
            account.entry, account.held = fill, 0
        elif abs(units) > abs(before):
            account.entry = (account.entry * abs(before) + fill * (abs(units) - abs(before))) / abs(units)
    account.units, account.cash, account.target, account.equity = units, cash, target, equity
    account.asked = goal
    account.ruined = 1 if ruined else 0
    account.held = account.held + 1 if units != 0 else 0
    account.peak = max(account.peak, equity)
    account.row += 1
    return cost


@fast
def own_reward(own, gain, cost, account):
    """What the reward of one's own at the address `own` gives. gain, cost: as in own_reward.OwnReward.

    NotFiniteRewardError if it is not finite.
    """
    drawdown = 1 - max(account.equity / account.peak, FLOOR)
    position = 1 - account.cash / account.equity if account.equity > 0 else 0.0
    reward = call_reward(own, gain, cost, drawdown, position)
    if not np.isfinite(reward):
        raise NotFiniteRewardError(account.row, gain, cost, drawdown, position, reward)
    return reward


@fast
def reward_of(before, depth, cost, account, scheme, own):
    """Log return of equity, less `risk` times its square and `drawdown` times how much the log drawdown deepened.

    before, depth: equity and equity / peak at the close before. cost: of the bar. own: address of a reward of one's own
    that is taken instead, or None. Times `scale`.
    """
    gain = np.log(max(account.equity / before, FLOOR))
    if own is not None:
        return scheme.scale * own_reward(own, gain, cost / before, account)
    reward = gain - scheme.risk * gain * gain
    if scheme.drawdown != 0:
        now = max(account.equity / account.peak, FLOOR)
        reward -= scheme.drawdown * max(np.log(depth / now), 0.0)
    return scheme.scale * reward


@fast
def uniform(account):
    """The next number in [0, 1) of an account's own stream.

    SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
    """
    account.random += np.uint64(0x9E3779B97F4A7C15)
    z = account.random
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


@fast
def begin(account, markets, capital, prices, block, out):
    """Open the account at a random place for a random while, `longest` // 4 to `longest` bars, and observe it."""
    which, length, place = uniform(account), uniform(account), uniform(account)
    account.market = 0
    while which >= markets[account.market].share:
        account.market += 1
    market = markets[account.market]
    shortest = max(market.longest // 4, 2)
    bars = shortest + int(length * (market.longest - shortest + 1))
    start = market.first + int(place * (market.end - market.first - bars))
    open_account(account, capital, start, start + bars)
    observe(account, prices[start, 1], market.unit, block[start], out)


@fast
def begin_all(accounts, markets, capital, prices, block, out):
    """Begin every account."""
    for i in range(len(accounts)):
        begin(accounts[i], markets, capital, prices, block, out[i])


@fast
def step(accounts, actions, markets, capital, prices, block, out, rewards, done, last, summaries, own):
    """One bar of every account: act, settle, observe, and begin anew where the episode ended or the account is ruined.

    markets: rows of MARKET; prices: (rows, 3), open, close and `extra` of kernel.settle, and block: (rows, numbers) of
    all markets, one after another. out: (accounts, numbers) observations; rewards, done: (accounts,). The first rows of
    last and summaries are for those that ended: the last observation, and which account, is it ruined, its sum of
    rewards, bars and equity. own: as in reward_of. Returns how many ended.
    """
    over = 0
    for i in range(len(accounts)):
        account = accounts[i]
        market, row = markets[account.market], account.row + 1
        before, depth = account.equity, account.equity / account.peak
        close = prices[row, 1]
        goal = goal_of(actions[i], account.asked, market)
        cost = advance(account, goal, prices[row, 0], close, prices[row, 2], market)
        rewards[i] = reward_of(before, depth, cost, account, market, own)
        account.rewarded += rewards[i]
        done[i] = account.ruined != 0 or row >= account.end
        observe(account, close, market.unit, block[row], out[i])
        if done[i]:
            last[over] = out[i]
            summaries[over, 0], summaries[over, 1], summaries[over, 2] = i, account.ruined, account.rewarded
            summaries[over, 3], summaries[over, 4] = row - account.start, account.equity
            over += 1
            begin(account, markets, capital, prices, block, out[i])
    return over


@fast
def follow(accounts, actions, market, capital, prices, block, observations, rewards, own):
    """Take given actions from the first bar on, until the account is ruined. Returns how many were taken.

    Writes the observation at every close and the reward of every bar. prices, own: as in step.

    accounts: one row of ACCOUNT. It must be the caller's: numba would free an array of its own after its last use,
    while the row is still in use.
    """
    account = accounts[0]
    open_account(account, capital, 0, len(prices))
    observe(account, prices[0, 1], market.unit, block[0], observations[0])
    for t in range(len(actions)):
        if account.ruined != 0:
            return t
        before, depth = account.equity, account.equity / account.peak
        price, close, extra = prices[t + 1]
        cost = advance(account, goal_of(actions[t], account.asked, market), price, close, extra, market)
        rewards[t] = reward_of(before, depth, cost, account, market, own)
        observe(account, close, market.unit, block[t + 1], observations[t + 1])
    return len(actions)
