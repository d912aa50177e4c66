"""Numbers that describe how a trained agent trades, and findings on those that look like a collapsed policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from quantum_training.models.policy import Trajectory
from quantum_training.trading.episodes import Trading

ALWAYS = 0.99
"""A policy that holds the same side on this share of the bars counts as always holding it."""

MIN_ENTROPY = 0.02
MAX_TURNOVER = 0.25
"""Mean change of the position per bar: a round trip every eight bars, as random decisions would give."""


def policy_metrics(
    trajectory: Trajectory, close: np.ndarray, trading: Trading, curves: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """Metrics of a policy on its training bars. close: of the same bars.

    growth_per_bar, buy_and_hold_per_bar: log growth of its account and of the close. flat_share, long_share,
    short_share: of the bars. turnover: mean change of the position per bar. action_entropy: discrete, mean entropy of
    the action's probabilities; continuous, entropy of the positions' distribution over tenths of [0, 1], or of
    [-1, 1] if it is ever short; both as a share of the largest possible. mean_reward_first, _last:
    reward per episode, over the first and the last tenth of the curve.
    """
    goal = trajectory.goal[~np.isnan(trajectory.goal)]
    equity = np.maximum(trajectory.equity, 1e-9)
    rewards = [point["mean_reward"] for point in curves if "mean_reward" in point]
    tenth = max(len(rewards) // 10, 1)
    return {
        "growth_per_bar": float(np.log(equity[-1]) / len(equity)),
        "buy_and_hold_per_bar": float(np.log(close[-1] / close[0]) / len(close)),
        "flat_share": float((goal == 0).mean()),
        "long_share": float((goal > 0).mean()),
        "short_share": float((goal < 0).mean()),
        "turnover": float(np.abs(np.diff(goal, prepend=0.0)).mean()),
        "action_entropy": _action_entropy(trajectory, trading),
        **(
            {
                "mean_reward_first": float(np.mean(rewards[:tenth])),
                "mean_reward_last": float(np.mean(rewards[-tenth:])),
            }
            if rewards
            else {}
        ),
    }


def action_shares(trajectory: Trajectory, trading: Trading) -> dict[str, float]:
    """How often each action was taken: hold, buy, sell; or the target position, to a tenth, as `0.3`. Sums to 1."""
    decided = ~np.isnan(trajectory.goal)
    if trading.actions == "discrete":
        taken = trajectory.heads[decided].argmax(axis=1)
        return {name: float((taken == number).mean()) for number, name in enumerate(("hold", "buy", "sell"))}
    tenths, counts = np.unique(np.round(trajectory.goal[decided], 1) + 0.0, return_counts=True)
    return {f"{tenth:.1f}": float(count / counts.sum()) for tenth, count in zip(tenths, counts, strict=True)}


def _action_entropy(trajectory: Trajectory, trading: Trading) -> float:
    decided = ~np.isnan(trajectory.goal)
    goal = trajectory.goal[decided]
    if trading.actions == "discrete":
        heads = trajectory.heads[decided].astype("float64")
        p = np.exp(heads - heads.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return float(-(p * np.log(np.maximum(p, 1e-300))).sum(axis=1).mean() / np.log(p.shape[1]))
    counts = np.histogram(goal, bins=10, range=(-1.0 if (goal < 0).any() else 0.0, 1.0))[0]
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum() / np.log(10))


def collapse_findings(report: Mapping[str, float]) -> list[str]:
    """A sentence on each metric that looks like a collapsed policy; empty for a healthy one."""
    findings = []
    for name in ("flat", "long", "short"):
        if report[f"{name}_share"] >= ALWAYS:
            findings.append(f"it is {name} on {report[f'{name}_share']:.1%} of its training bars")
    if report["action_entropy"] < MIN_ENTROPY:
        findings.append(f"its action entropy is {report['action_entropy']:.3f} of the largest possible")
    if report["turnover"] > MAX_TURNOVER:
        findings.append(f"its position changes by {report['turnover']:.2f} a bar")
    first, last = report.get("mean_reward_first"), report.get("mean_reward_last")
    if first is not None and last is not None and last > first and report["growth_per_bar"] < 0:
        loss = -report["growth_per_bar"]
        findings.append(f"its reward rose from {first:.3g} to {last:.3g}, but its account loses {loss:.2e} a bar")
    return findings
