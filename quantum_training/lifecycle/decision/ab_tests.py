"""A/B tests as the ledger keeps them and the rollout shows them: registering one, and its state in a week.

The test itself is selection/ab.py. It trades through `signals` and promotes nobody.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from quantum_training.lifecycle.records import SHADOW_SCORES
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.periods import WEEK
from quantum_training.resources.store.store import Store
from quantum_training.selection.ab import ABTest, registered, report, whole_pairs
from quantum_training.selection.ledger import Row
from quantum_training.settings.schema import Symbol

KINDS = AB_TEST, AB_STOP = "ab_test", "ab_stop"


def plan(
    market: Symbol,
    stage: Mapping[str, Any],
    challenger: str,
    share: float,
    block_days: int,
    weeks: int,
    now: pd.Timestamp,
) -> dict[str, Any]:
    """The payload that registers a test from the next UTC midnight on. ValueError where it may not be.

    stage: the newest record of `rollout`.
    """
    if stage["champion"] in (None, challenger):
        raise ValueError(f"the champion is {stage['champion'] or 'nobody'}; a test needs one and another recipe")
    if in_force(stage, now) is not None:
        raise ValueError("a test runs already; end it by the job ab_stop first")
    if share > stage["ceiling"]:
        raise ValueError(f"share {share:g} is above the ceiling of {stage['ceiling']:g}; order it by rollout_ceiling")
    start, length, blocks = now.ceil("D"), pd.Timedelta(days=block_days), 2 * (7 * weeks // (2 * block_days))
    bars = expected_open_times(market.calendar, market.timeframe, start, start + blocks * length)
    test = {
        "week": stage["week"],
        "champion": stage["champion"],
        "challenger": challenger,
        "share": share,
        "start": start.isoformat(),
        "block_days": block_days,
        "blocks": blocks,
        "pairs": len(whole_pairs(start, length, blocks, bars)),
    }
    ABTest.model_validate({**test, "challenger_first": False})
    return test


def in_force(stage: Mapping[str, Any], time: pd.Timestamp) -> ABTest | None:
    """The test of a record of `rollout` that is registered, not ended, and not over at `time`."""
    found = stage.get("ab")
    if not found or found["ended"]:
        return None
    test = ABTest.model_validate(found["test"])
    return test if time < test.end else None


def state(
    store: Store,
    symbol: str,
    recipes: Sequence[str],
    rows: Sequence[Row],
    champions: Mapping[str, Mapping[str, Any]],
    week: str,
) -> dict[str, Any] | None:
    """The newest test as it stands in a week: `test`, `report`, and why it `ended`, None while it goes on.

    rows: those of KINDS, oldest first. champions: decisions by week. Only what was registered, decided and scored up to
    the week is read. Another champion ends a test. None without one, from the week after the one that saw its end, and
    where the challenger is no recipe any more.
    """
    now = pd.Timestamp(week, tz="UTC")
    known = [row for row in rows if str(row.payload["week"]) <= week]
    begun = next((row for row in reversed(known) if row.kind == AB_TEST), None)
    test = registered(begun) if begun else None
    if begun is None or test is None or test.challenger not in recipes:
        return None
    ends = [(test.end, "its blocks are over")] if test.end <= now else []
    for row in known:
        if row.kind == AB_STOP and row.number > begun.number:
            ends.append((pd.Timestamp(row.effective), f"stopped by {row.actor}: {row.reason}"))
    for later, record in champions.items():
        if test.week <= later <= week and record["champion"] != test.champion:
            champion = record["champion"] or "nobody"
            ends.append((pd.Timestamp(later, tz="UTC"), f"the champion is {champion} since {later}"))
    at, ended = min(ends, default=(None, None))
    if at is not None and at <= now - WEEK:
        return None
    last = now if at in (None, test.end) else min(at, now)
    looks = {
        w: time
        for w in store.periods(SHADOW_SCORES, symbol)
        if test.start < (time := pd.Timestamp(w, tz="UTC")) <= last
    }
    arms = [test.champion, test.challenger]
    net = pd.DataFrame(columns=arms, index=pd.DatetimeIndex([], tz="UTC"), dtype="float64")
    if looks:
        scores = pd.concat([store.read_frame(SHADOW_SCORES, symbol, w) for w in looks])
        scores = scores[scores["strategy"].isin(arms)]
        net = scores.pivot(columns="strategy", values="net_return").reindex(columns=arms).fillna(0.0)  # noqa: PD010 - it refuses a bar that is there twice
    found = report(test, net, looks.values()).model_dump()
    return {"test": test.model_dump(mode="json"), "report": found, "ended": ended}


def shown(state: Mapping[str, Any]) -> pd.DataFrame:
    """A state as one row, for people."""
    test, report = state["test"], state["report"]
    told = {name: test[name] for name in ("champion", "challenger", "share", "start", "block_days", "blocks")}
    told |= {name: report[name] for name in ("pairs", "mean", "z", "boundary", "verdict")}
    return pd.DataFrame([{**told, "ended": state["ended"]}], dtype=object)
