"""A campaign: which look this is, of how many, and what each challenger shows. Who takes over is champion.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from quantum_training.selection.decision import Campaign, DecisionPolicy
from quantum_training.selection.guardrails import guardrails, whole
from quantum_training.selection.history import WEEK, History
from quantum_training.selection.rule import EvidenceRule, InterimAnalysis, Judgement


def campaign_at(
    history: History, at: int, opened: int, challengers: Sequence[str], out: Sequence[str], terms: DecisionPolicy
) -> Campaign:
    """The campaign that opened in week number `opened`, as it stands in week number `at`."""
    weeks, first = terms.rule.campaign_weeks, history.weeks[opened]
    return Campaign(
        opened=first,
        week=1 + (pd.Timestamp(history.weeks[at]) - pd.Timestamp(first)) // WEEK,
        weeks=weeks,
        challengers=[*challengers],
        out=[*out],
        planned_days=planned(first, weeks, terms),
    )


def planned(first: str, weeks: int, terms: DecisionPolicy) -> int:
    """Days with bars that the calendar plans in `weeks` weeks of records from week `first` on."""
    start = pd.Timestamp(first, tz="UTC") - WEEK
    return terms.planned_days(start, start + weeks * WEEK)


def fractions(
    history: History, first: int, at: int, days: int, enough: Callable[[int, int], bool]
) -> tuple[float, ...]:
    """Share of the planned `days` at each look so far: the weeks with enough bars and days, and more than the last."""
    looks: list[float] = []
    for last in range(first, at + 1):
        seen = history.day[history.bars(first, last)]
        blocks = len(set(seen))
        fraction = min(blocks / days, 1.0)
        if enough(len(seen), blocks) and fraction > (looks[-1] if looks else 0.0):
            looks.append(fraction)
    return tuple(looks)


def judge(
    history: History,
    at: int,
    incumbent: str | None,
    campaign: Campaign,
    terms: DecisionPolicy,
    faults: Mapping[str, list[str]],
) -> dict[str, Judgement]:
    """What the rule says in week number `at` of each challenger that is not out, guardrails included.

    faults: asked, last of all, of each that would be promoted.
    """
    first = history.weeks.index(campaign.opened)
    rows = history.bars(first, at)
    looks = fractions(history, first, at, campaign.planned_days, terms.rule.enough)
    look = InterimAnalysis(looks, len(campaign.challengers), campaign.week >= campaign.weeks, terms.periods)
    found = {}
    for recipe in campaign.challengers:
        if recipe in campaign.out:
            continue
        judgement = terms.rule.judge(history.pair(recipe, incumbent, rows), look)
        judgement = judgement.model_copy(update={"undecided": history.undecided(recipe, rows)})
        if judgement.verdict == "PROMOTE":
            numbers, failures = whole(terms.rule, history.undecided_share(recipe, rows), terms.drift(history.weeks[at]))
            if isinstance(terms.rule, EvidenceRule):
                held = guardrails(
                    terms.rule,
                    recipe,
                    incumbent,
                    history.net[rows],
                    history.turnover[rows],
                    history.trials(at),
                    terms.seeds,
                )
                numbers, failures = {**held.numbers, **numbers}, [*held.failures, *failures]
            failures = failures or faults[recipe]
            update: dict[str, Any] = {"guardrails": numbers}
            if failures:
                reason = f"held back, {'; '.join(failures)}; {judgement.reason}"
                update |= {"verdict": "EXPIRED" if look.last else "CONTINUE", "reason": reason}
            judgement = judgement.model_copy(update=update)
        found[recipe] = judgement
    return found
