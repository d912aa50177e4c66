"""A/B tests as the ledger keeps them and the rollout shows them: registering one, and its state in a week.

The statistics are selection/ab.py. A test trades through decision/signals.py and promotes nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import ABState, WeeklyRollout
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.periods import WEEK
from quantum_training.selection.ab import ABTest, complete_pairs, registered_test, report
from quantum_training.selection.decision import Decision
from quantum_training.selection.hash_chain import Row
from quantum_training.selection.ledger_rows import AB_STOP, AB_TEST
from quantum_training.settings.schema import Symbol


class ABPlan(NamedTuple):
    """A test that an operator asks for. share: of the capital in the challenger's blocks of `block_days` days."""

    challenger: str
    share: float
    block_days: int
    weeks: int


class _End(NamedTuple):
    """When a test ended, and why."""

    time: pd.Timestamp
    reason: str


def registration(market: Symbol, rollout: WeeklyRollout, plan: ABPlan, now: pd.Timestamp) -> dict[str, Any]:
    """The payload that registers a test from the next UTC midnight on. rollout: the newest record of the symbol.

    ValueError if there is no champion to test against, if a test runs already, or if the share is above the ceiling.
    """
    if rollout.champion in (None, plan.challenger):
        raise ValueError(f"the champion is {rollout.champion or 'nobody'}; a test needs one and another recipe")
    if running_test(rollout, now) is not None:
        raise ValueError("a test runs already; end it by the job ab_stop first")
    if plan.share > rollout.ceiling:
        raise ValueError(
            f"share {plan.share:g} is above the ceiling of {rollout.ceiling:g}; order it by rollout_ceiling"
        )
    start, length = now.ceil("D"), pd.Timedelta(days=plan.block_days)
    blocks = 2 * (7 * plan.weeks // (2 * plan.block_days))
    bars = expected_open_times(market.calendar, market.timeframe, start, start + blocks * length)
    test = {
        "week": rollout.week,
        "champion": rollout.champion,
        "challenger": plan.challenger,
        "share": plan.share,
        "start": start.isoformat(),
        "block_days": plan.block_days,
        "blocks": blocks,
        "pairs": len(complete_pairs(start, length, blocks, bars)),
    }
    ABTest.model_validate({**test, "challenger_first": False})
    return test


def running_test(rollout: WeeklyRollout, time: pd.Timestamp) -> ABTest | None:
    """The test of a week's record that is registered, has not ended, and is not over at `time`."""
    state = rollout.ab
    if state is None or state.ended or time >= state.test.end:
        return None
    return state.test


def ab_state(
    history: MarketHistory, rows: Sequence[Row], decisions: Mapping[str, Decision], week: str
) -> ABState | None:
    """The state of the newest test in a week, from what was registered, decided and scored up to the week.

    rows: those of AB_KINDS, oldest first. decisions: by week. A change of the champion ends a test. None without a
    test, from the week after the one that saw its end, and if the challenger is no recipe of the symbol any more.
    """
    now = pd.Timestamp(week, tz="UTC")
    past = [row for row in rows if str(row.payload["week"]) <= week]
    registration_row = next((row for row in reversed(past) if row.kind == AB_TEST), None)
    if registration_row is None:
        return None
    test = registered_test(registration_row)
    if test.challenger not in history.market.recipes:
        return None
    stops = [row for row in past if row.kind == AB_STOP and row.number > registration_row.number]
    end = _end(test, stops, {w: d for w, d in decisions.items() if test.week <= w <= week}, now)
    if end is not None and end.time <= now - WEEK:
        return None
    last = now if end is None or end.time == test.end else min(end.time, now)
    weeks = {w: time for w in history.scored_weeks() if test.start < (time := pd.Timestamp(w, tz="UTC")) <= last}
    findings = report(test, _net_returns(history, [*weeks], test), weeks.values())
    return ABState(test=test, report=findings, ended=end.reason if end else None)


def _end(test: ABTest, stops: Sequence[Row], decisions: Mapping[str, Decision], now: pd.Timestamp) -> _End | None:
    """The earliest end of a test up to `now`; None while it goes on. stops, decisions: since its registration."""
    ends = [_End(test.end, "its blocks are over")] if test.end <= now else []
    ends += [_End(pd.Timestamp(row.effective), f"stopped by {row.actor}: {row.reason}") for row in stops]
    for week, decision in decisions.items():
        if decision.champion != test.champion:
            reason = f"the champion is {decision.champion or 'nobody'} since {week}"
            ends.append(_End(pd.Timestamp(week, tz="UTC"), reason))
    return min(ends, default=None)


def _net_returns(history: MarketHistory, weeks: Sequence[str], test: ABTest) -> pd.DataFrame:
    """Net returns per bar of both recipes in the scored weeks, open_time x recipe."""
    arms = [test.champion, test.challenger]
    if not weeks:
        return pd.DataFrame(columns=arms, index=pd.DatetimeIndex([], tz="UTC"), dtype="float64")
    scores = pd.concat([history.scores(week) for week in weeks])
    scores = scores[scores["strategy"].isin(arms)]
    return scores.pivot(columns="strategy", values="net_return").reindex(columns=arms).fillna(0.0)  # noqa: PD010 - it refuses a bar that is there twice
