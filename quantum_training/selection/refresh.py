"""The refresh gate: may a newly trained version of a recipe go on in place of the older one?

Whether one recipe is better than another is rule.py's; here nothing has to be better, only not broken.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from quantum_training.selection.rule import PairedReturns, paired_test
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
    """What the gate says of a version, with the numbers it used; None where one was not needed or is undefined.

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


def judge_refresh(
    policy: RefreshPolicy,
    candles: pd.DataFrame,
    start: pd.Timestamp,
    older: pd.Series,
    newer: pd.Series,
    learnt: tuple[pd.Timestamp, pd.Timestamp],
    costs: Costs,
    account: Account,
) -> Refresh:
    """Compare two versions of a recipe on the bars from `start` on: sanity first, then non-inferiority.

    candles: with at least one bar before `start`, known at the newer version's as_of. older, newer: positions by the
    bar that fills them, as trading.scoring.decisions gives them, each as if it had traded all these bars. learnt: what
    both were trained on, from the newer one's first training bar to the older one's as_of.

    Sane is a version whose positions are finite and within the account's bounds, that decides wherever the older one
    does, and that decides much as the older one does on what both have learnt. A version that always holds the same is
    not refused for it: early stopping often finds nothing to learn, and one that gives up what the older one earned
    fails by its change or by its returns.
    Non-inferior is a version whose paired daily differences of net returns (Student's t, blocks of a day as in
    selection.rule) leave a loss larger than the margin out of question.

    It heals by itself. As the older version ages its bars are more and more out of its sample, while the newer one has
    learnt from all of them; once fewer than MIN_DAYS of the window are shared, positions are not compared any more.
    Only a version that is invalid or that costs money on its own training bars stays out for good. A person who knows
    better widens the policy and runs the partition again; a changed recipe belongs under a new name.
    """
    entered = candles.index[candles.index.searchsorted(start) - 1 :]
    before, after = (positions.reindex(entered) for positions in (older, newer))
    if problem := _insane(before, after, account):
        return Refresh(accepted=False, reason=problem)
    index, before, after = pd.DatetimeIndex(entered[1:]), before.iloc[1:], after.iloc[1:]
    shared = before.notna() & (index >= learnt[0]) & (index < learnt[1])
    day = _day(index)
    numbers = {"shared_days": len(np.unique(day[shared])), "days": len(np.unique(day))}
    reach = 2 if account.allow_short else 1
    change = None
    if numbers["shared_days"] >= MIN_DAYS:
        change = float((after - before)[shared].abs().mean()) / reach
    if numbers["days"] < MIN_DAYS:
        return Refresh(accepted=True, reason=f"sane; {numbers['days']} of {MIN_DAYS} days to compare", **numbers)
    net = trade(candles, start, {"older": older, "newer": newer}, costs, account).net_return
    measured = _measured(policy, net[:, 0], net[:, 1], day)
    told = {**numbers, **measured, "change": change}
    if change is not None and change > policy.max_change:
        said = f"on the bars that both learnt from its position changes by {change:.0%} on average"
        return Refresh(accepted=False, reason=f"{said}, more than {policy.max_change:.0%}", **told)
    daily = "daily net return {difference:+.3%}, at least {lower_bound:+.3%}".format(**measured)
    if measured["lower_bound"] < -measured["margin"]:
        return Refresh(accepted=False, reason=f"{daily}: a loss of {measured['margin']:.3%} is not ruled out", **told)
    return Refresh(accepted=True, reason=f"not inferior: {daily}, allowed {-measured['margin']:+.3%}", **told)


def _insane(older: pd.Series, newer: pd.Series, account: Account) -> str | None:
    """What is wrong with the newer version's positions by themselves, naming the first bar; None where nothing is."""
    low, high = (-account.max_leverage if account.allow_short else 0.0), account.max_leverage
    outside = newer[newer.notna() & ~newer.between(low, high)]
    if len(outside):
        return f"bar {outside.index[0]}: position {outside.iloc[0]:g} is outside [{low:g}, {high:g}]"
    missing = newer.index[newer.isna() & older.notna()]
    if len(missing):
        return f"decides nothing on {len(missing)} bars, the first {missing[0]}, on which the older version decides"
    return None


def _measured(policy: RefreshPolicy, older: np.ndarray, newer: np.ndarray, day: np.ndarray) -> dict[str, float]:
    """Paired daily differences of net returns, newer less older, and the loss that is tolerated."""
    from scipy.stats import t

    paired = paired_test(PairedReturns(newer, older, day))
    nothing = np.zeros(len(day))
    scale = max(paired_test(PairedReturns(net, nothing, day)).deviation for net in (older, newer))
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
