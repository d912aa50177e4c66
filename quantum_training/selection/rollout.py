"""The share of capital that the champion may use, week by week: a pure fold over the decisions and its returns.

What can be set is rollout_policy.py. It trades nothing and reads nothing: assets/rollout.py does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import pandas as pd
from pydantic import BaseModel, ConfigDict

from quantum_training.selection.guardrails import BROKEN
from quantum_training.selection.harm import building
from quantum_training.selection.history import WEEK
from quantum_training.selection.rollout_policy import Order, RolloutPolicy
from quantum_training.trading.metrics import max_drawdown

NANOSECOND = pd.Timedelta("1ns")
BLOCKING = ("SEVERE", BROKEN)
Change = Literal["step", "hold", "back", "stop"]


class Stage(BaseModel):
    """The share from `week` on and why.

    share: of the capital, stages[stage] of the policy, for `days` since the week `since`. change: step, one stage up;
    hold; back, to 0 % because the champion changed or does not work, harm was shown or an operator ordered it; stop,
    0 % by the risk guard, the kill switch or broken data, in every week that it lasts; None, there is nothing to take
    back. Broken data keep the stage: it begins anew in the first week after them. guarded_from: UTC time from which
    worst_day and drawdown count, positive fractions of the record at full size; None before its first bar.
    """

    model_config = ConfigDict(frozen=True)

    week: str
    champion: str | None
    share: float
    stage: int
    since: str
    days: int
    change: Change | None
    reason: str
    next_step: str
    ceiling: float
    stopped: str | None
    guarded_from: str
    worst_day: float | None
    drawdown: float | None


class Guard(NamedTuple):
    """Worst daily loss and deepest fall as positive fractions, None without a day; what they crossed."""

    worst_day: float | None
    drawdown: float | None
    tripped: str | None


class _State(NamedTuple):
    """Of the champion in office. guarded: from when losses count; stopped: what took it to 0 %; halted: this week."""

    champion: str | None
    since: str
    guarded: pd.Timestamp
    ceiling: float
    stage: int = 0
    stopped: str | None = None
    halted: bool = False


def fold(
    champions: Mapping[str, Mapping[str, Any]],
    drift: Mapping[str, str | None],
    returns: pd.Series,
    policy: RolloutPolicy,
    orders: Sequence[Order] = (),
) -> Iterator[Stage]:
    """One stage per decided week, oldest first. A week depends on nothing that came after it, its own orders excepted.

    champions: records of selection.champion by week (`YYYY-MM-DD`), of which champion, harm and faults are read. drift:
    worst severity known at the week; None or absent where it was not measured. returns: net return per UTC day of
    whoever was champion on it, at full size; days before the week count at the week. orders: an order takes effect in
    its week, after the week's own step, so that it holds at once where the week is run again.
    """
    if returns.isna().any():
        raise ValueError(f"the champion's return of {returns.index[returns.isna()][0]} is no number; score it again")
    state: _State | None = None
    share = 0.0
    expected: pd.Timestamp | None = None
    for week in sorted(champions):
        at = pd.Timestamp(week, tz="UTC")
        record = champions[week]
        if state is None or record["champion"] != state.champion:
            state, change, reason = _enter(state, week, record["champion"], share, policy)
        elif state.champion is None:
            change, reason = None, "no champion"
        else:
            gap = at != expected
            state, change, reason = _week(state, at, record, drift.get(week), returns, policy, gap)
        for order in orders:
            if state.champion == order.recipe and f"{expected or at:%Y-%m-%d}" <= order.week <= week:
                state, change, reason = _obey(state, at, order, policy, change, reason)
        share, expected = 0.0 if state.halted else policy.stages[state.stage], at + WEEK
        found = guard(returns.loc[state.guarded : at - NANOSECOND], policy)
        yield Stage(
            week=week,
            champion=state.champion,
            share=share,
            stage=state.stage,
            since=state.since,
            days=(at - pd.Timestamp(state.since, tz="UTC")).days,
            change=change,
            reason=reason,
            next_step=_next_step(state, policy, at),
            ceiling=state.ceiling,
            stopped=state.stopped,
            guarded_from=state.guarded.isoformat(),
            worst_day=found.worst_day if state.champion else None,
            drawdown=found.drawdown if state.champion else None,
        )


def guard(returns: pd.Series, policy: RolloutPolicy) -> Guard:
    """Hold daily net returns, oldest first, against the two limits. A limit that is reached is crossed."""
    if returns.empty:
        return Guard(None, None, None)
    worst, fall = max(0.0, -float(returns.min())), abs(max_drawdown(returns.to_numpy()))
    tripped = None
    if worst >= policy.max_daily_loss:
        tripped = f"lost {worst:.1%} on {returns.idxmin():%Y-%m-%d}, the limit is {policy.max_daily_loss:.1%}"
    elif fall >= policy.max_drawdown:
        tripped = f"fell {fall:.1%} below its peak, the limit is {policy.max_drawdown:.1%}"
    return Guard(worst, fall, tripped)


def position(target: float, share: float, policy: RolloutPolicy) -> float:
    """The target's share of the capital, cut to max_position_size on either side."""
    return max(-policy.max_position_size, min(policy.max_position_size, target * share))


def _enter(
    state: _State | None, week: str, champion: str | None, share: float, policy: RolloutPolicy
) -> tuple[_State, Change | None, str]:
    """The first week of a champion, or of none."""
    left = f"{state.champion} left office; " if state and state.champion else ""
    begins = f"{champion} begins in the shadow" if champion else "no champion"
    entered = _State(champion, week, pd.Timestamp(week, tz="UTC"), policy.ceiling)
    return entered, "back" if share > 0 else None, left + begins


def _week(
    state: _State,
    at: pd.Timestamp,
    record: Mapping[str, Any],
    drift: str | None,
    returns: pd.Series,
    policy: RolloutPolicy,
    gap: bool,
) -> tuple[_State, Change, str]:
    """A week of a champion that stays in office."""
    week = str(at.date())
    if state.halted:
        state = state._replace(halted=False, since=week)
    tripped = guard(returns.loc[state.guarded : at - NANOSECOND], policy).tripped
    if tripped and not state.stopped:
        state = state._replace(stage=0, since=week, stopped=tripped)
    if state.stopped:
        return state, "stop", f"the risk guard stopped {state.champion}: {state.stopped}"
    if policy.kill_switch:
        return state, "stop", "the kill switch is on"
    harm = record["harm"] or {}
    broken = record.get("faults", {}).get(state.champion)
    if broken or harm.get("reason"):
        shown = f"operational fault: {'; '.join(broken)}" if broken else f"harm is shown: {harm['reason']}"
        if state.stage == 0:
            return state, "hold", f"stays at 0 %: {shown}"
        return state._replace(stage=0, since=week), "back", shown
    if drift == BROKEN and state.stage > 0:
        return state._replace(halted=True), "stop", f"halted at 0 %: the data of the week are broken, drift {drift}"
    blocked, told = _blocked(state, at, harm, drift, policy, gap)
    now = percent(policy.stages[state.stage])
    if blocked:
        return state, "hold", f"stays at {now}: {'; '.join(blocked)}"
    stepped = state._replace(stage=state.stage + 1, since=week)
    return stepped, "step", f"{now} to {percent(policy.stages[stepped.stage])}: {'; '.join(told)}"


def _blocked(
    state: _State, at: pd.Timestamp, harm: Mapping[str, Any], drift: str | None, policy: RolloutPolicy, gap: bool
) -> tuple[list[str], list[str]]:
    """What speaks against the next step, and all that was looked at."""
    days = (at - pd.Timestamp(state.since, tz="UTC")).days
    if state.stage + 1 == len(policy.stages):
        return ["the last stage"], []
    if policy.stages[state.stage + 1] > state.ceiling:
        return [f"{percent(policy.stages[state.stage + 1])} is above the ceiling of {percent(state.ceiling)}"], []
    known = harm.get("z") is not None and harm.get("boundary") is not None
    tested = f"harm z {harm['z']:.2f} of {harm['boundary']:.2f}" if known else "harm is not tested in this week"
    needed = policy.min_days[state.stage]
    checks = [
        (days < needed, f"{days} of {needed} days"),
        (
            drift in BLOCKING or (drift is None and policy.without_drift_report == "hold"),
            f"drift {drift}" if drift else "drift was not measured",
        ),
        (building(harm, policy.harm_fraction), tested),
        *([(True, "the week before was never decided")] if gap else []),
    ]
    return [said for blocks, said in checks if blocks], [said for _, said in checks]


def _obey(
    state: _State, at: pd.Timestamp, order: Order, policy: RolloutPolicy, change: Change | None, reason: str
) -> tuple[_State, Change | None, str]:
    ceiling, week = order.share, str(at.date())
    if ceiling is None:
        seen = pd.Timestamp(order.effective).ceil("D")  # losses until then were known, and do not stop it again
        guarded = min(max(seen, at), at + WEEK)
        return _State(state.champion, week, guarded, policy.ceiling), "back", str(order)
    state = state._replace(ceiling=ceiling)
    allowed = sum(share <= ceiling for share in policy.stages) - 1
    if state.stage > allowed:
        return state._replace(stage=allowed, since=week), "back", str(order)
    return state, change, f"{reason}; {order}"


def _next_step(state: _State, policy: RolloutPolicy, at: pd.Timestamp) -> str:
    """What has to happen for a larger share."""
    if state.champion is None:
        return "a champion"
    if policy.kill_switch:
        return "the kill switch off"
    if state.stopped:
        return "another champion, or an operator's reset"
    if state.halted:
        return f"{percent(policy.stages[state.stage])} again in a week whose drift is below {BROKEN}"
    if state.stage + 1 == len(policy.stages):
        return "none: the last stage"
    share = policy.stages[state.stage + 1]
    if share > state.ceiling:
        return f"{percent(share)} by an operator's order of that ceiling"
    served = pd.Timestamp(state.since, tz="UTC") + pd.Timedelta(days=policy.min_days[state.stage])
    day = max(served, at + WEEK)
    return f"{percent(share)} from {day:%Y-%m-%d} on, with drift below SEVERE and no harm building"


def percent(share: float) -> str:
    """A share as people read it: 0.05 is `5 %`."""
    return f"{100 * share:g} %"
