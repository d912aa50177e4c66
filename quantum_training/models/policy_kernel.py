"""A small network and the account that it trades, compiled. Sums have a fixed order, so results are bit-identical.

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
    source, offset = x, 0
    for layer in range(len(sizes) - 1):
        inputs, outputs = sizes[layer], sizes[layer + 1]
        out = a if layer % 2 == 0 else b
        bias = offset + inputs * outputs
        for j in range(outputs):
            out[j] = weights[bias + j]
        for i in range(inputs):
            value = source[i]
            for j in range(outputs):
                out[j] += value * weights[offset + i * outputs + j]
        if layer < len(sizes) - 2:
            for j in range(outputs):
                out[j] = np.tanh(out[j]) if tanh else max(out[j], np.float32(0))
        source, offset = out, bias + outputs
    return source


@compiled
def trade_bars(accounts, block, prices, market, capital, sizes, weights, tanh, squash, goals, heads, equity):
    """Decide at every close and settle at the next bar. Writes goals, heads and equity, (bars,) or (bars, outputs).

    accounts: one row of ACCOUNT, allocated by the caller: numba would free an array of its own after its last use,
    while the row is still in use. If a number of the observation is missing, the position is flat, as trading.scoring
    counts it. prices: as in episode_kernel.step.
    """
    account = accounts[0]
    open_account(account, capital, 0, len(prices))
    observation = np.zeros(block.shape[1] + WIDTH, np.float32)
    widest = 0
    for size in sizes:
        widest = max(widest, size)
    a, b = np.zeros(widest, np.float32), np.zeros(widest, np.float32)
    goal = 0.0
    for t in range(len(prices)):
        price, close, extra = prices[t]
        if t > 0:
            advance(account, goal, price, close, extra, market)
        equity[t] = account.equity
        observe(account, close, market.unit, block[t], observation)
        complete = True
        for value in observation:
            complete = complete and not np.isnan(value)
        if not complete:
            goal = 0.0
            continue
        head = forward(observation, sizes, weights, tanh, a, b)
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
        goal = goal_of(action, account.asked, market)
        goals[t] = goal
