"""The refresh gate: may a newly trained version of a recipe replace the one before it?

A new version need not be better, only not broken. Whether one recipe is better than another is judged in rule.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from quantum_training.selection.paired_test import PairedReturns, paired_test
from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.metrics import NOISE
from quantum_training.trading.scoring import trade

MIN_DAYS = 20
"""UTC days with bars below which neither the positions nor the returns of two versions are compared."""

ERROR = 0.05


class RefreshPolicy(BaseModel):
    """When a newly trained version of a recipe takes over from the one before it; else the older one stays.

    Both decide the same past bars. Most of these lie in the training windows of both, so this finds a version that
    broke, not a small loss of skill: that is what the shadow is for. docs/learning_loop/refresh_rates.md has the rates.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weeks: int = Field(
        26, ge=4, le=260, description="Weeks before a version's as_of, as far as stored, on which it is compared."
    )
    max_change: float = Field(
        0.3,
        gt=0,
        le=1,
        description="Largest mean change of the position on bars that both versions learnt from, as a share of all "
        "that a position can change (1 long only, 2 where shorting is allowed); 1: off. With the margin it "
        "refuses 2 of 640 sound refits of the boosters on real markets, and all inverted, random and tossed positions. "
        "Agents are not held to it: it refused 21 of 66 sound refits of theirs.",
    )
    margin: float = Field(
        0.3,
        gt=0,
        le=10,
        description="Loss of mean daily return that is tolerated, in daily standard deviations (of the version that "
        "varies more): the one-sided 95 % bound of the difference must lie above it. Too wide a margin lets losses "
        "pass, too narrow a one refuses equal skill: 0.3 does so in 0.3 % of worlds where daily returns correlate by "
        ".8 over 182 days, 1.6 % over 130 days, 5.6 % where they correlate by .5 over 182.",
    )


class Refresh(BaseModel):
    """The gate's verdict on a version, with the numbers it used; None if one was not needed or is undefined.

    against: the older version's model_id. change: mean change of the position on the `shared_days` that both learnt
    from, as a share of all that it can change. days, difference, deviation, lower_bound: of the daily net returns,
    newer less older; lower_bound, one-sided 95 %, must be at least minus `margin`, all three in return a day.
    """

    model_config = ConfigDict(frozen=True)

    accepted: bool
    reason: str
    against: str | None = None
    shared_days: int = 0
    change: float | None = None
    days: int = 0
    difference: float | None = None
    deviation: float | None = None
    lower_bound: float | None = None
    margin: float | None = None


FIRST = Refresh(accepted=True, reason="first version")


class RefreshComparison(NamedTuple):
    """Two versions of a recipe on the same bars, from `start` on.

    candles: with at least one bar before `start`, known at the candidate's as_of. incumbent, candidate: positions by
    the bar that fills them, as trading.scoring.decisions gives them, each as if it had traded all these bars. shared:
    the time span that both were trained on, from the candidate's first training bar to the incumbent's as_of.
    """

    candles: pd.DataFrame
    start: pd.Timestamp
    incumbent: pd.Series
    candidate: pd.Series
    shared: tuple[pd.Timestamp, pd.Timestamp]


def judge_refresh(policy: RefreshPolicy, compared: RefreshComparison, costs: Costs, account: Account) -> Refresh:
    """Judge a newly trained version against the one before it: sanity first, then non-inferiority.

    A version is sane if its positions are finite and within the account's bounds, if it decides wherever the incumbent
    does, and if it decides much as the incumbent does on the bars that both were trained on. A version that always
    holds the same position is not refused for it: early stopping often finds nothing to learn, and a version that gives
    up what the incumbent earned fails by its change or by its returns.
    A version is non-inferior if its paired daily differences of net returns (Student's t, blocks of a day as in
    selection.rule) rule out a loss larger than the margin.

    The gate heals by itself. As the incumbent ages, its bars are more and more out of its sample, while the candidate
    was trained on all of them; once fewer than MIN_DAYS of the window are shared, positions are not compared any more.
    Only a version that is invalid or that loses money on its own training bars stays out for good. A person who knows
    better widens the policy and runs the partition again; a changed recipe belongs under a new name.
    """
    candles, start, incumbent, candidate, shared_span = compared
    entered = candles.index[candles.index.searchsorted(start) - 1 :]
    before, after = (positions.reindex(entered) for positions in (incumbent, candidate))
    if problem := _invalid_positions(before, after, account):
        return Refresh(accepted=False, reason=problem)
    index, before, after = pd.DatetimeIndex(entered[1:]), before.iloc[1:], after.iloc[1:]
    shared = before.notna() & (index >= shared_span[0]) & (index < shared_span[1])
    day = _day(index)
    counts = {"shared_days": len(np.unique(day[shared])), "days": len(np.unique(day))}
    change = None
    if counts["shared_days"] >= MIN_DAYS:
        change = float((after - before)[shared].abs().mean()) / (2 if account.allow_short else 1)
    if counts["days"] < MIN_DAYS:
        return Refresh(accepted=True, reason=f"sane; {counts['days']} of {MIN_DAYS} days to compare", **counts)
    net = trade(candles, start, {"older": incumbent, "newer": candidate}, costs, account).net_return
    difference = _paired_difference(policy, net[:, 0], net[:, 1], day)
    return _verdict(policy, change, counts, difference)


def _verdict(
    policy: RefreshPolicy, change: float | None, counts: dict[str, int], difference: dict[str, float]
) -> Refresh:
    """The verdict on a version with valid positions that was compared on enough days."""
    numbers: dict[str, Any] = {**counts, **difference, "change": change}
    if change is not None and change > policy.max_change:
        message = f"on the bars that both learnt from its position changes by {change:.0%} on average"
        return Refresh(accepted=False, reason=f"{message}, more than {policy.max_change:.0%}", **numbers)
    daily = "daily net return {difference:+.3%}, at least {lower_bound:+.3%}".format(**difference)
    margin = difference["margin"]
    if difference["lower_bound"] < -margin:
        return Refresh(accepted=False, reason=f"{daily}: a loss of {margin:.3%} is not ruled out", **numbers)
    return Refresh(accepted=True, reason=f"not inferior: {daily}, allowed {-margin:+.3%}", **numbers)


def _invalid_positions(incumbent: pd.Series, candidate: pd.Series, account: Account) -> str | None:
    """What is wrong with the candidate's positions by themselves, naming the first bar; None if nothing is."""
    low, high = (-account.max_leverage if account.allow_short else 0.0), account.max_leverage
    outside = candidate[candidate.notna() & ~candidate.between(low, high)]
    if len(outside):
        return f"bar {outside.index[0]}: position {outside.iloc[0]:g} is outside [{low:g}, {high:g}]"
    missing = candidate.index[candidate.isna() & incumbent.notna()]
    if len(missing):
        return f"decides nothing on {len(missing)} bars, the first {missing[0]}, on which the older version decides"
    return None


def _paired_difference(
    policy: RefreshPolicy, incumbent: np.ndarray, candidate: np.ndarray, day: np.ndarray
) -> dict[str, float]:
    """Paired daily differences of net returns, candidate less incumbent, and the loss that is tolerated."""
    from scipy.stats import t

    paired = paired_test(PairedReturns(candidate, incumbent, day))
    nothing = np.zeros(len(day))
    scale = max(paired_test(PairedReturns(net, nothing, day)).deviation for net in (incumbent, candidate))
    lower = paired.mean - float(t.isf(ERROR, paired.blocks - 1)) * paired.deviation / np.sqrt(paired.blocks)
    return {
        "difference": paired.mean,
        "deviation": paired.deviation,
        "lower_bound": float(lower),
        "margin": policy.margin * scale if scale > NOISE else 0.0,
    }


def _day(index: pd.Index) -> np.ndarray:
    """The number of each bar's UTC day."""
    return pd.DatetimeIndex(index).as_unit("s").asi8 // 86400
