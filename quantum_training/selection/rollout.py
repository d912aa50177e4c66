"""The champion's share of capital by week: a pure fold over decisions, returns, drift and operators' orders.

What can be set and ordered is rollout_policy.py; what the fold reads is gathered in lifecycle/decision/rollout.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import pandas as pd
from pydantic import BaseModel, ConfigDict

from quantum_training.selection.decision import Decision
from quantum_training.selection.guardrails import BROKEN
from quantum_training.selection.harm import Harm, harm_is_building
from quantum_training.selection.history import WEEK
from quantum_training.selection.position_limits import Guard, guard, percent
from quantum_training.selection.rollout_policy import Order, RolloutPolicy

NANOSECOND = pd.Timedelta("1ns")
BLOCKING = ("SEVERE", BROKEN)
"""Severities of drift in which no stage is entered."""
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


class _State(NamedTuple):
    """Of the champion in office. guarded: from when losses count; stopped: why it is at 0 %; halted: in this week."""

    champion: str | None
    since: str
    guarded: pd.Timestamp
    ceiling: float
    stage: int = 0
    stopped: str | None = None
    halted: bool = False


class _Step(NamedTuple):
    """The state after a week or an order, and what changed by it."""

    state: _State
    change: Change | None
    reason: str


class _Week(NamedTuple):
    """The inputs of the fold for a week. gap: the week before was never decided."""

    monday: pd.Timestamp
    harm: Harm | None
    faults: list[str]
    drift: str | None
    tripped: str | None
    gap: bool


def fold(
    decisions: Mapping[str, Decision],
    drift: Mapping[str, str | None],
    returns: pd.Series,
    policy: RolloutPolicy,
    orders: Sequence[Order] = (),
) -> Iterator[Stage]:
    """One stage per decided week, oldest first. A week depends on nothing that came after it, except its own orders.

    decisions: by week (`YYYY-MM-DD`), of which champion, harm and faults are read. drift: worst severity known at the
    week; None or absent if it was not measured. returns: net return per UTC day of the champion of that day, at full
    size; days before the week count at the week. orders: an order takes effect in its week, after the week's own step,
    so that running the week again applies it at once.
    """
    if returns.isna().any():
        raise ValueError(f"the champion's return of {returns.index[returns.isna()][0]} is no number; score it again")
    state: _State | None = None
    share = 0.0
    expected: pd.Timestamp | None = None
    for week in sorted(decisions):
        monday, decision = pd.Timestamp(week, tz="UTC"), decisions[week]
        if state is None or decision.champion != state.champion:
            step = _enter(state, week, decision.champion, share, policy)
        elif state.champion is None:
            step = _Step(state, None, "no champion")
        else:
            tripped = guard(returns.loc[state.guarded : monday - NANOSECOND], policy).tripped
            faults = decision.faults.get(state.champion, [])
            inputs = _Week(monday, decision.harm, faults, drift.get(week), tripped, gap=monday != expected)
            step = _advance(state, inputs, policy)
        first = f"{expected or monday:%Y-%m-%d}"
        for order in orders:
            if step.state.champion == order.recipe and first <= order.week <= week:
                step = _apply_order(step, monday, order, policy)
        state = step.state
        share, expected = 0.0 if state.halted else policy.stages[state.stage], monday + WEEK
        losses = guard(returns.loc[state.guarded : monday - NANOSECOND], policy)
        yield _stage(step, week, share, losses, policy)


def _stage(step: _Step, week: str, share: float, losses: Guard, policy: RolloutPolicy) -> Stage:
    """The record of a week."""
    state, monday = step.state, pd.Timestamp(week, tz="UTC")
    return Stage(
        week=week,
        champion=state.champion,
        share=share,
        stage=state.stage,
        since=state.since,
        days=(monday - pd.Timestamp(state.since, tz="UTC")).days,
        change=step.change,
        reason=step.reason,
        next_step=_next_step(state, policy, monday),
        ceiling=state.ceiling,
        stopped=state.stopped,
        guarded_from=state.guarded.isoformat(),
        worst_day=losses.worst_day if state.champion else None,
        drawdown=losses.drawdown if state.champion else None,
    )


def _enter(state: _State | None, week: str, champion: str | None, share: float, policy: RolloutPolicy) -> _Step:
    """The first week of a champion, or without one. share: of the week before."""
    left = f"{state.champion} left office; " if state and state.champion else ""
    begins = f"{champion} begins in the shadow" if champion else "no champion"
    entered = _State(champion, week, pd.Timestamp(week, tz="UTC"), policy.ceiling)
    return _Step(entered, "back" if share > 0 else None, left + begins)


def _advance(state: _State, week: _Week, policy: RolloutPolicy) -> _Step:
    """A week of a champion that stays in office."""
    name = str(week.monday.date())
    if state.halted:
        state = state._replace(halted=False, since=name)
    if week.tripped and not state.stopped:
        state = state._replace(stage=0, since=name, stopped=week.tripped)
    if state.stopped:
        return _Step(state, "stop", f"the risk guard stopped {state.champion}: {state.stopped}")
    if policy.kill_switch:
        return _Step(state, "stop", "the kill switch is on")
    if problem := _shown_problem(week):
        if state.stage == 0:
            return _Step(state, "hold", f"stays at 0 %: {problem}")
        return _Step(state._replace(stage=0, since=name), "back", problem)
    if week.drift == BROKEN and state.stage > 0:
        reason = f"halted at 0 %: the data of the week are broken, drift {week.drift}"
        return _Step(state._replace(halted=True), "stop", reason)
    return _climb(state, week, policy)


def _shown_problem(week: _Week) -> str | None:
    """Why the champion goes back to 0 %: it does not work, or harm is shown."""
    if week.faults:
        return f"operational fault: {'; '.join(week.faults)}"
    return f"harm is shown: {week.harm.reason}" if week.harm and week.harm.reason else None


def _climb(state: _State, week: _Week, policy: RolloutPolicy) -> _Step:
    """One stage up, unless a check blocks it."""
    now = percent(policy.stages[state.stage])
    if limit := _highest_stage(state, policy):
        return _Step(state, "hold", f"stays at {now}: {limit}")
    checks = _checks(state, week, policy)
    if blocking := [message for blocks, message in checks if blocks]:
        return _Step(state, "hold", f"stays at {now}: {'; '.join(blocking)}")
    stepped = state._replace(stage=state.stage + 1, since=str(week.monday.date()))
    reasons = "; ".join(message for _, message in checks)
    return _Step(stepped, "step", f"{now} to {percent(policy.stages[stepped.stage])}: {reasons}")


def _highest_stage(state: _State, policy: RolloutPolicy) -> str | None:
    """Why there is no higher stage for the champion; None if there is one."""
    if state.stage + 1 == len(policy.stages):
        return "the last stage"
    following = policy.stages[state.stage + 1]
    return (
        f"{percent(following)} is above the ceiling of {percent(state.ceiling)}" if following > state.ceiling else None
    )


def _checks(state: _State, week: _Week, policy: RolloutPolicy) -> list[tuple[bool, str]]:
    """Everything that is checked before the next stage: does it block, and a message."""
    days, needed = (week.monday - pd.Timestamp(state.since, tz="UTC")).days, policy.min_days[state.stage]
    harm, drift = week.harm, week.drift
    tested = harm is not None and harm.z is not None and harm.boundary is not None
    unmeasured_blocks = drift is None and policy.without_drift_report == "hold"
    return [
        (days < needed, f"{days} of {needed} days"),
        (drift in BLOCKING or unmeasured_blocks, f"drift {drift}" if drift else "drift was not measured"),
        (
            harm_is_building(harm, policy.harm_fraction),
            f"harm z {harm.z:.2f} of {harm.boundary:.2f}" if harm and tested else "harm is not tested in this week",
        ),
        *([(True, "the week before was never decided")] if week.gap else []),
    ]


def _apply_order(step: _Step, monday: pd.Timestamp, order: Order, policy: RolloutPolicy) -> _Step:
    """The step of a week after an operator's order."""
    state, ceiling, week = step.state, order.share, str(monday.date())
    if ceiling is None:
        # the operator knew the losses up to the order, so they do not stop the champion again
        guarded = min(max(pd.Timestamp(order.effective).ceil("D"), monday), monday + WEEK)
        return _Step(_State(state.champion, week, guarded, policy.ceiling), "back", str(order))
    state = state._replace(ceiling=ceiling)
    allowed = sum(share <= ceiling for share in policy.stages) - 1
    if state.stage > allowed:
        return _Step(state._replace(stage=allowed, since=week), "back", str(order))
    return _Step(state, step.change, f"{step.reason}; {order}")


def _next_step(state: _State, policy: RolloutPolicy, monday: pd.Timestamp) -> str:
    """What has to happen before the share grows."""
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
    day = max(served, monday + WEEK)
    return f"{percent(share)} from {day:%Y-%m-%d} on, with drift below SEVERE and no harm building"
