"""What an agent does with its account, in numbers, and which of them look like a collapse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from quantum_training.models.policy import Lived
from quantum_training.trading.episodes import Trading

ALWAYS = 0.99
"""Share of bars with the same side from which a policy is said to always hold it."""

LITTLE_ENTROPY = 0.02
MUCH_TURNOVER = 0.25
"""Mean change of the position per bar: a round trip every eight bars, as a coin would toss."""


def behaviour(
    lived: Lived, close: np.ndarray, trading: Trading, curves: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """Numbers of a policy on its training bars; `close` of the same bars.

    growth_per_bar, buy_and_hold_per_bar: log growth of its account and of the close. flat_share, long_share,
    short_share: of the bars. turnover: mean change of the position per bar. action_entropy: discrete, mean entropy of
    the action's probabilities; continuous, entropy of the positions' distribution over tenths of [0, 1], of [-1, 1]
    where it is ever short; both as a share of the largest possible. mean_reward_first, _last: of the first and last
    tenth of the curve, per episode.
    """
    goal = lived.goal[~np.isnan(lived.goal)]
    equity = np.maximum(lived.equity, 1e-9)
    rewards = [point["mean_reward"] for point in curves if "mean_reward" in point]
    tenth = max(len(rewards) // 10, 1)
    return {
        "growth_per_bar": float(np.log(equity[-1]) / len(equity)),
        "buy_and_hold_per_bar": float(np.log(close[-1] / close[0]) / len(close)),
        "flat_share": float((goal == 0).mean()),
        "long_share": float((goal > 0).mean()),
        "short_share": float((goal < 0).mean()),
        "turnover": float(np.abs(np.diff(goal, prepend=0.0)).mean()),
        "action_entropy": _action_entropy(lived, trading),
        **(
            {
                "mean_reward_first": float(np.mean(rewards[:tenth])),
                "mean_reward_last": float(np.mean(rewards[-tenth:])),
            }
            if rewards
            else {}
        ),
    }


def action_shares(lived: Lived, trading: Trading) -> dict[str, float]:
    """How often each action was taken: hold, buy, sell; or the target position, to a tenth, as `0.3`. Sums to 1."""
    known = ~np.isnan(lived.goal)
    if trading.actions == "discrete":
        taken = lived.heads[known].argmax(axis=1)
        return {name: float((taken == number).mean()) for number, name in enumerate(("hold", "buy", "sell"))}
    tenths, counts = np.unique(np.round(lived.goal[known], 1) + 0.0, return_counts=True)
    return {f"{tenth:.1f}": float(count / counts.sum()) for tenth, count in zip(tenths, counts, strict=True)}


def _action_entropy(lived: Lived, trading: Trading) -> float:
    known = ~np.isnan(lived.goal)
    goal = lived.goal[known]
    if trading.actions == "discrete":
        heads = lived.heads[known].astype("float64")
        p = np.exp(heads - heads.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return float(-(p * np.log(np.maximum(p, 1e-300))).sum(axis=1).mean() / np.log(p.shape[1]))
    counts = np.histogram(goal, bins=10, range=(-1.0 if (goal < 0).any() else 0.0, 1.0))[0]
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum() / np.log(10))


def collapses(report: Mapping[str, float]) -> list[str]:
    """Sentences on what looks like a collapsed policy; none where all looks well."""
    found = []
    for name in ("flat", "long", "short"):
        if report[f"{name}_share"] >= ALWAYS:
            found.append(f"it is {name} on {report[f'{name}_share']:.1%} of its training bars")
    if report["action_entropy"] < LITTLE_ENTROPY:
        found.append(f"its action entropy is {report['action_entropy']:.3f} of the largest possible")
    if report["turnover"] > MUCH_TURNOVER:
        found.append(f"its position changes by {report['turnover']:.2f} a bar")
    first, last = report.get("mean_reward_first"), report.get("mean_reward_last")
    if first is not None and last is not None and last > first and report["growth_per_bar"] < 0:
        loss = -report["growth_per_bar"]
        found.append(f"its reward rose from {first:.3g} to {last:.3g}, but its account loses {loss:.2e} a bar")
    return found
