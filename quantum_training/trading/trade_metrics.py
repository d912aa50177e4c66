"""Numbers of a trades table: how often and how much its trades win. No inf or NaN leaves this module.

From trades, never from bars. Not here: the table itself (trades.py) and numbers of a return series (metrics.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from quantum_training.trading.metrics import NOISE, Number, Reason, finite, with_reasons


def trade_metrics(trades: pd.DataFrame) -> dict[str, Any]:
    """Numbers of one strategy's trades, rows in time as trades() gives them; open trades count as they are marked.

    All but the counts come from net_return, a trade's net P&L as a fraction of the equity before it, so that early
    and late trades weigh the same however far the account has grown; the profit factor is therefore not that of money.
    A trade of no more than rounding (1e-12) neither wins nor loses. Keys:
    trades: rows. win_rate: wins / (wins + losses). profit_factor: sum of wins / |sum of losses|. payoff: mean win /
    |mean loss|. expectancy: mean of all. kelly: p - (1 - p) / payoff with p = win_rate, the bet that grows fastest if
    each trade won or lost its mean; negative where the edge is (Kelly 1956, for a binary bet).
    longest_win_streak, longest_loss_streak: trades in a row; one that neither wins nor loses is passed over.
    average_bars: mean of bars from entry to exit.
    reasons: of each key that is None: no_trades, no_win_or_loss, no_win, no_loss.

    ValueError names the position of a net_return that is not finite.
    """
    values = finite(trades["net_return"], "net return of trade")
    decided = values[np.abs(values) > NOISE]
    won = decided > 0
    numbers: dict[str, Number] = {
        "win_rate": (float(won.mean()), None) if len(won) else (None, _undecided(values)),
        **_ratios(decided[won], -decided[~won], _undecided(values)),
        "expectancy": (float(values.mean()), None) if len(values) else (None, "no_trades"),
        "longest_win_streak": (_streak(won), None),
        "longest_loss_streak": (_streak(~won), None),
        "average_bars": (float(trades["bars"].mean()), None) if len(values) else (None, "no_trades"),
    }
    return {"trades": len(trades), **with_reasons(numbers)}


def _undecided(values: np.ndarray) -> Reason:
    return "no_win_or_loss" if len(values) else "no_trades"


def _ratios(wins: np.ndarray, losses: np.ndarray, undecided: Reason) -> dict[str, Number]:
    """Profit factor, payoff and Kelly fraction of the sizes of wins and losses, both positive."""
    if not len(wins) or not len(losses):
        reason: Reason = "no_loss" if len(wins) else "no_win" if len(losses) else undecided
        none: Number = None, reason
        return {"profit_factor": (0.0, None) if len(losses) else none, "payoff": none, "kelly": none}
    payoff = float(wins.mean() / losses.mean())
    rate = len(wins) / (len(wins) + len(losses))
    return {
        "profit_factor": (float(wins.sum() / losses.sum()), None),
        "payoff": (payoff, None),
        "kelly": (rate - (1 - rate) / payoff, None),
    }


def _streak(marks: np.ndarray) -> int:
    """Length of the longest run of True."""
    ends = np.flatnonzero(~np.concatenate([[False], marks, [False]]))
    return int(np.diff(ends).max()) - 1
