"""What limits a champion's position beside its share of capital: the largest size, and the guard on its losses."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from quantum_training.selection.rollout_policy import RolloutPolicy
from quantum_training.trading.metrics import max_drawdown


class Guard(NamedTuple):
    """Worst daily loss and deepest drawdown as positive fractions, None without a day; `tripped`: the limit reached."""

    worst_day: float | None
    drawdown: float | None
    tripped: str | None


def guard(returns: pd.Series, policy: RolloutPolicy) -> Guard:
    """Compare daily net returns, oldest first, with the two loss limits. A limit that is reached is tripped."""
    if returns.empty:
        return Guard(None, None, None)
    worst, drawdown = max(0.0, -float(returns.min())), abs(max_drawdown(returns.to_numpy()))
    tripped = None
    if worst >= policy.max_daily_loss:
        tripped = f"lost {worst:.1%} on {returns.idxmin():%Y-%m-%d}, the limit is {policy.max_daily_loss:.1%}"
    elif drawdown >= policy.max_drawdown:
        tripped = f"fell {drawdown:.1%} below its peak, the limit is {policy.max_drawdown:.1%}"
    return Guard(worst, drawdown, tripped)


def position(target: float, share: float, policy: RolloutPolicy) -> float:
    """The target position times the share of capital, cut to max_position_size on either side."""
    return max(-policy.max_position_size, min(policy.max_position_size, target * share))


def percent(share: float) -> str:
    """A share as people read it: 0.05 is `5 %`."""
    return f"{100 * share:g} %"
