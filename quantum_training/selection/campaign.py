"""A campaign: which interim analysis this is, of how many, and the judgement of each challenger.

Who takes over is decided in champion.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from quantum_training.selection.decision import Campaign, DecisionPolicy
from quantum_training.selection.guardrails import Guardrails, ScoredReturns, data_is_complete, guardrails
from quantum_training.selection.history import WEEK, History
from quantum_training.selection.joint_rule import JointRule, least_correlation
from quantum_training.selection.paired_test import PairedReturns
from quantum_training.selection.rule import ImprovementRule, InterimAnalysis, Judgement


def campaign_at(
    history: History,
    at: int,
    opened: int,
    challengers: Sequence[str],
    eliminated: Sequence[str],
    policy: DecisionPolicy,
) -> Campaign:
    """The campaign that opened in week number `opened`, and its state in week number `at`."""
    weeks, first = policy.rule.campaign_weeks, history.weeks[opened]
    return Campaign(
        opened=first,
        week=1 + (pd.Timestamp(history.weeks[at]) - pd.Timestamp(first)) // WEEK,
        weeks=weeks,
        challengers=[*challengers],
        out=[*eliminated],
        planned_days=planned(first, weeks, policy),
    )


def planned(first: str, weeks: int, policy: DecisionPolicy) -> int:
    """Days with bars that the calendar plans in `weeks` weeks of records from week `first` on."""
    start = pd.Timestamp(first, tz="UTC") - WEEK
    return policy.planned_days(start, start + weeks * WEEK)


def fractions(
    history: History, first: int, at: int, days: int, enough: Callable[[int, int], bool]
) -> tuple[float, ...]:
    """Share of the planned `days` at each interim analysis so far.

    These are the weeks with enough bars and days, and with more of them than at the analysis before.
    """
    shares: list[float] = []
    for last in range(first, at + 1):
        day_of_bar = history.day[history.bars(first, last)]
        blocks = len(set(day_of_bar))
        share = min(blocks / days, 1.0)
        if enough(len(day_of_bar), blocks) and share > (shares[-1] if shares else 0.0):
            shares.append(share)
    return tuple(shares)


def judge(
    history: History,
    at: int,
    incumbent: str | None,
    campaign: Campaign,
    policy: DecisionPolicy,
    faults: Mapping[str, list[str]],
) -> dict[str, Judgement]:
    """The judgement of each challenger in the campaign in week number `at`, guardrails included.

    faults: looked up last, and only for a challenger that would be promoted.
    """
    first = history.weeks.index(campaign.opened)
    rows = history.bars(first, at)
    shares = fractions(history, first, at, campaign.planned_days, policy.rule.enough)
    pairs = _pairs(history, campaign, incumbent, rows, policy)
    correlation = least_correlation([p.challenger - p.incumbent for p in pairs.values()], history.day[rows])
    analysis = InterimAnalysis(shares, len(pairs), campaign.week >= campaign.weeks, policy.periods, correlation)
    judgements = {}
    for recipe in campaign.challengers:
        if recipe in campaign.out:
            continue
        judgement = policy.rule.judge(pairs[recipe], analysis)
        judgement = judgement.model_copy(update={"undecided": history.undecided(recipe, rows)})
        if judgement.verdict == "PROMOTE":
            passed = _guardrails(history, at, rows, (recipe, incumbent), policy)
            judgement = _guarded(judgement, passed.numbers, passed.failures or faults[recipe], analysis.last)
        judgements[recipe] = judgement
    return judgements


def market_before(campaign: Campaign | None, policy: DecisionPolicy) -> np.ndarray | None:
    """The market's daily returns before a campaign's bars, if its rule reads them."""
    if campaign is None or not isinstance(policy.rule, JointRule):
        return None
    return policy.market_before(campaign.opened)


def _pairs(
    history: History, campaign: Campaign, incumbent: str | None, rows: slice, policy: DecisionPolicy
) -> dict[str, PairedReturns]:
    """Every challenger of the campaign beside the incumbent, with the market's returns if the rule reads them."""
    before = market_before(campaign, policy)
    if before is None:
        return {recipe: history.pair(recipe, incumbent, rows) for recipe in campaign.challengers}
    return {recipe: history.pair_in_market(recipe, incumbent, rows, before) for recipe in campaign.challengers}


def _guardrails(
    history: History, at: int, rows: slice, pair: tuple[str, str | None], policy: DecisionPolicy
) -> Guardrails:
    """The guardrails of a challenger, with its incumbent, on the bars of the campaign."""
    recipe, incumbent = pair
    complete = data_is_complete(policy.rule, history.undecided_share(recipe, rows), policy.drift(history.weeks[at]))
    if isinstance(policy.rule, ImprovementRule):
        return complete
    returns = ScoredReturns(history.net[rows], history.turnover[rows], history.trials(at), policy.seeds)
    evidence = guardrails(policy.rule, recipe, incumbent, returns)
    return Guardrails({**evidence.numbers, **complete.numbers}, [*evidence.failures, *complete.failures])


def _guarded(
    judgement: Judgement, numbers: Mapping[str, float | str | None], failures: list[str], last: bool
) -> Judgement:
    """A promotion with its guardrails' numbers, held back if any failed. last: no later analysis will come."""
    update: dict[str, Any] = {"guardrails": {**judgement.guardrails, **numbers}}
    if failures:
        reason = f"held back, {'; '.join(failures)}; {judgement.reason}"
        update |= {"verdict": "EXPIRED" if last else "CONTINUE", "reason": reason}
    return judgement.model_copy(update=update)
