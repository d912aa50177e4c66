"""A small network and the account that it trades, compiled. Sums run in one order, so a bit is the same everywhere.

Imports numba, so it is imported where it is used.
"""

from __future__ import annotations

import numpy as np

from quantum_training.trading.compiled import compiled
from quantum_training.trading.episode_kernel import WIDTH, advance, goal_of, observe, open_account


@compiled
def forward(x, sizes, weights, tanh, a, b):
    """The last layer's output for observation x, in `a` or `b`, which must hold the widest layer.

    weights: for each layer its matrix (in, out) and its bias, flat.
    """
    source, at = x, 0
    for layer in range(len(sizes) - 1):
        wide, count = sizes[layer], sizes[layer + 1]
        out = a if layer % 2 == 0 else b
        bias = at + wide * count
        for j in range(count):
            out[j] = weights[bias + j]
        for i in range(wide):
            value = source[i]
            for j in range(count):
                out[j] += value * weights[at + i * count + j]
        if layer < len(sizes) - 2:
            for j in range(count):
                out[j] = np.tanh(out[j]) if tanh else max(out[j], np.float32(0))
        source, at = out, bias + count
    return source


@compiled
def live(accounts, block, opens, closes, market, capital, sizes, weights, tanh, squash, goals, heads, equity):
    """Decide at every close and settle at the next bar. Writes goals, heads and equity, (bars,) or (bars, outputs).

    accounts: one row of ACCOUNT. It must be the caller's: numba would free an array of its own after its last use,
    while the row is still in use. Where a number of the row is missing nothing is decided, which is flat, as
    trading.scoring counts it.
    """
    account = accounts[0]
    open_account(account, capital, 0, len(closes))
    seen = np.zeros(block.shape[1] + WIDTH, np.float32)
    widest = 0
    for size in sizes:
        widest = max(widest, size)
    a, b = np.zeros(widest, np.float32), np.zeros(widest, np.float32)
    goal = 0.0
    for t in range(len(closes)):
        if t > 0:
            advance(account, goal, opens[t], closes[t], market)
        equity[t] = account.equity
        observe(account, closes[t], market.unit, block[t], seen)
        whole = True
        for value in seen:
            whole = whole and not np.isnan(value)
        if not whole:
            goal = 0.0
            continue
        head = forward(seen, sizes, weights, tanh, a, b)
        for j in range(heads.shape[1]):
            heads[t, j] = head[j]
        if market.discrete != 0:
            best = 0
            for j in range(1, heads.shape[1]):
                if head[j] > head[best]:
                    best = j
            action = float(best)
        elif squash:
            action = market.low + (1 - market.low) * 0.5 * (np.tanh(float(head[0])) + 1)
        else:
            action = float(head[0])
        goal = goal_of(action, account.target, market)
        goals[t] = goal
