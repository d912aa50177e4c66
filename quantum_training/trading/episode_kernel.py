"""One decision after another, compiled: an account that is observed, acts and is settled bar by bar.

Training, scoring and serving step through bars with these functions and no others. What is settled is kernel.py's.
Imports numba, so it is imported where it is used.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from quantum_training.trading.kernel import settle
from quantum_training.trading.observation import HALF_HELD, LIMIT, PORTFOLIO

ACCOUNT = np.dtype(
    [(name, "f8") for name in ("units", "cash", "equity", "target", "entry", "peak", "rewarded")]
    + [(name, "i8") for name in ("market", "row", "start", "end", "held", "ruined")]
)
"""target: in force; entry: mean fill price of what is held; peak: highest equity; rewarded: sum of rewards; row: of the
last close that was seen; start, end: first and last row of the episode; held: bars since the position was opened."""

SCHEME = np.dtype([(name, "f8") for name in ("discrete", "low", "steps", "risk", "drawdown", "scale")])
"""How actions become targets, and the weights of the reward."""

HOLD, BUY, SELL = 0, 1, 2
RUNNING, TRUNCATED, TERMINATED = 0, 1, 2
FLOOR = 1e-3
"""A bar's reward counts at least this share of the equity before as left: a ruin has no logarithm."""

WIDTH = len(PORTFOLIO)


@njit(cache=True)
def open_account(account, capital, row, end):
    """A new account, flat, at the close of `row`."""
    account.units = account.target = account.entry = account.rewarded = 0.0
    account.cash = account.equity = account.peak = capital
    account.row, account.start, account.end, account.held, account.ruined = row, row, end, 0, 0


@njit(cache=True)
def observe(account, close, unit, block, out):
    """Write what is known at the close of the account's bar: the market's row of `block`, then PORTFOLIO.

    unit: the standard deviation of a bar's log return, in which profit and drawdown are told. All within +-LIMIT.
    """
    width = block.shape[1]
    row = block[account.row]
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


@njit(cache=True)
def goal_of(action, target, scheme):
    """Target position that an action asks for: one level up or down from the one in force, or the rounded share."""
    if scheme.discrete != 0:
        if action == BUY:
            return min(target + 1, 1.0)
        return max(target - 1, scheme.low) if action == SELL else target
    share = min(max(action, scheme.low), 1.0)
    return np.round(share * scheme.steps) / scheme.steps if scheme.steps > 0 else share


@njit(cache=True)
def advance(account, goal, price, close, rule):
    """Fill `goal` at the open `price` of the next bar and mark the account at its `close`."""
    before = account.units
    carries = rule.borrow != 0 or rule.funding != 0
    units, cash, target, ruined, equity, _ = settle(
        before, account.cash, account.target, account.ruined != 0, goal, price, close, rule, carries
    )
    if units != before:
        fill = price * (1 + (rule.slippage if units > before else -rule.slippage))
        if units == 0:
            account.entry = 0.0
        elif before * units <= 0:
            account.entry, account.held = fill, 0
        elif abs(units) > abs(before):
            account.entry = (account.entry * abs(before) + fill * (abs(units) - abs(before))) / abs(units)
    account.units, account.cash, account.target, account.equity = units, cash, target, equity
    account.ruined = 1 if ruined else 0
    account.held = account.held + 1 if units != 0 else 0
    account.peak = max(account.peak, equity)
    account.row += 1


@njit(cache=True)
def reward_of(before, depth, account, scheme):
    """Log return of equity, less `risk` times its square and `drawdown` times how much the log drawdown deepened.

    before, depth: equity and equity / peak at the close before. Times `scale`.
    """
    gain = np.log(max(account.equity / before, FLOOR))
    now = max(account.equity / account.peak, FLOOR)
    return scheme.scale * (gain - scheme.risk * gain * gain - scheme.drawdown * max(np.log(depth / now), 0.0))


@njit(cache=True)
def step(accounts, actions, scheme, opens, closes, units, rules, block, out, rewards, ended, done):
    """One bar of every account: act, settle, observe. opens, closes, block: rows of all markets, one after another.

    units, rules: by market. out: (accounts, width) observations; rewards: (accounts,); ended: RUNNING, TRUNCATED or
    TERMINATED; done: not RUNNING. Returns how many are done.
    """
    over = 0
    for i in range(len(accounts)):
        account = accounts[i]
        before, depth = account.equity, account.equity / account.peak
        goal = goal_of(actions[i], account.target, scheme)
        market, row = account.market, account.row + 1
        advance(account, goal, opens[row], closes[row], rules[market])
        rewards[i] = reward_of(before, depth, account, scheme)
        account.rewarded += rewards[i]
        ended[i] = TERMINATED if account.ruined != 0 else (TRUNCATED if row >= account.end else RUNNING)
        done[i] = ended[i] != RUNNING
        over += done[i]
        observe(account, closes[row], units[market], block, out[i])
    return over


@njit(cache=True)
def begin(accounts, chosen, capital, rows, ends, markets, closes, units, block, out):
    """Open the accounts `chosen` anew at `rows` of `markets` and observe them."""
    for k in range(len(chosen)):
        i = chosen[k]
        account = accounts[i]
        account.market = markets[k]
        open_account(account, capital, rows[k], ends[k])
        observe(account, closes[rows[k]], units[markets[k]], block, out[i])


@njit(cache=True)
def follow(actions, scheme, opens, closes, unit, rule, block, capital, seen, rewards):
    """Take given actions from the first bar on. Writes what was observed at every close and each bar's reward."""
    accounts = np.zeros(1, ACCOUNT)
    account = accounts[0]
    open_account(account, capital, 0, len(closes))
    observe(account, closes[0], unit, block, seen[0])
    for t in range(len(actions)):
        before, depth = account.equity, account.equity / account.peak
        goal = goal_of(actions[t], account.target, scheme)
        advance(account, goal, opens[t + 1], closes[t + 1], rule)
        rewards[t] = reward_of(before, depth, account, scheme)
        observe(account, closes[t + 1], unit, block, seen[t + 1])
