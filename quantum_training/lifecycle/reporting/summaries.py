"""What a week found, in a sentence: for the pages of Dagster, the weekly report and the closing table of a cycle.

Every sentence is made from stored records; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from quantum_training.lifecycle.records import (
    BacktestRecord,
    DailyDrift,
    WeeklyDecay,
    WeeklyDecision,
    WeeklyRollout,
)
from quantum_training.market.periods import WEEK
from quantum_training.selection.position_limits import percent

EVENTS = 8
"""Newest changes that `life_sentence` names."""


def decision_sentence(decisions: Mapping[str, WeeklyDecision], week: str) -> str:
    """Who is champion since when, what the week decided, and where the campaign stands.

    decisions: of the symbol's weeks up to this one, oldest first.
    """
    decision = decisions[week]
    sentences = [_champion(decisions, week)]
    if decision.verdict == "PROMOTE" and decision.champion and decision.champion == decision.decided:
        sentences.append(f"It took over this week: {_reason(decision, decision.champion)}.")
    elif decision.proposed:
        sentences.append(f"{decision.proposed} has won its campaign and waits for a person: run the job promote.")
    elif decision.verdict == "ROLLBACK":
        sentences.append(f"{decision.former} was removed this week: {decision.reason}.")
    sentences += [campaign_sentence(decisions, week)] if decision.campaign else []
    sentences += ["Pinned: verdicts are recorded and not followed."] if decision.pinned else []
    return " ".join(sentences)


def _champion(decisions: Mapping[str, WeeklyDecision], week: str) -> str:
    champion = decisions[week].champion
    since = in_office_since(champions_of(decisions), week)
    if champion:
        return f"{champion} is champion since {since}."
    return "No champion: no recipe has earned it." if since == min(decisions) else f"No champion since {since}."


def in_office_since(champions: Mapping[str, str | None], week: str) -> str:
    """The week in which the champion of this week took office, for the last time. champions: by week; None: nobody."""
    since = week
    for earlier in sorted(champions, reverse=True):
        if earlier <= week:
            if champions[earlier] != champions[week]:
                break
            since = earlier
    return since


def champions_of(decisions: Mapping[str, WeeklyDecision]) -> dict[str, str | None]:
    """The champion of each week."""
    return {week: decision.champion for week, decision in decisions.items()}


def _reason(decision: WeeklyDecision, recipe: str) -> str:
    judgement = decision.judgements.get(recipe)
    return judgement.reason if judgement else decision.reason


def campaign_sentence(decisions: Mapping[str, WeeklyDecision], week: str) -> str:
    """Where the campaign of this week stands, the evidence of each challenger, and how the campaign before ended."""
    decision = decisions[week]
    campaign = decision.campaign
    if campaign is None:
        return "No campaign is open."
    evidence = "; ".join(f"{recipe} {judgement.reason}" for recipe, judgement in decision.judgements.items())
    end = pd.Timestamp(campaign.opened) + (campaign.weeks - 1) * WEEK
    text = f"Week {campaign.week} of {campaign.weeks} of the campaign from {campaign.opened} to {end:%Y-%m-%d}"
    text += f": {evidence}." if evidence else "."
    ended = [w for w, d in decisions.items() if w < campaign.opened and d.campaign]
    if campaign.week == 1 or decision.verdict == "INSUFFICIENT":
        text += f" {_end_of(decisions[max(ended)])}" if ended else ""
    return text


def _end_of(last: WeeklyDecision) -> str:
    """How the campaign whose last week this is ended."""
    campaign = last.campaign
    if campaign is None:
        return ""
    if last.verdict == "PROMOTE" and last.champion != last.former:
        return f"The campaign before made {last.champion} champion in its week {campaign.week}."
    if last.verdict in ("EXPIRED", "REJECT"):
        return f"The campaign before found nothing in {campaign.week} weeks."
    return f"The campaign before ended in its week {campaign.week} of {campaign.weeks}."


def life_sentence(decisions: Mapping[str, WeeklyDecision], rollouts: Mapping[str, WeeklyRollout]) -> str | None:
    """When champions came and went, and when their share of capital changed: the newest changes, oldest first.

    None if no recipe was ever champion. Both by week, oldest first.
    """
    events = []
    champion, share = None, 0.0
    for week, decision in decisions.items():
        if decision.champion != champion:
            if champion:
                events.append(f"{week} {champion} removed ({decision.verdict}: {decision.reason})")
            if decision.champion:
                events.append(f"{week} {decision.champion} becomes champion")
        champion, before = decision.champion, share
        share = rollouts[week].share if week in rollouts else 0.0
        if share != before and champion:
            events.append(f"{week} {percent(share)} of the capital")
    return "Its life: " + "; ".join(events[-EVENTS:]) + "." if events else None


def rollout_sentence(rollout: WeeklyRollout) -> str:
    """Which share of capital the champion may use, why, and what comes next."""
    if rollout.champion is None:
        return "Nobody trades: there is no champion."
    share = f"{rollout.champion} may use {percent(rollout.share)} of the capital: {rollout.reason}."
    return f"{share} Next: {rollout.next_step}."


def backtest_sentence(record: BacktestRecord) -> str:
    """Who leads, the best recipe or Buy & Hold, by how much, on how many bars."""
    return f"{record.verdict['text']}."


def decay_sentence(record: WeeklyDecay) -> str:
    """Whether the champion still earns what its record lets one expect."""
    if record.recipe is None:
        return "There is no champion that could decay."
    if record.status == "INSUFFICIENT":
        return f"Whether {record.recipe} decays cannot be told yet: {record.reason}."
    verdict = "has decayed" if record.status == "DECAYED" else "shows no decay"
    return f"{record.recipe} {verdict}: {record.reason}."


def drift_sentence(record: DailyDrift) -> str:
    """How far the newest days differ from the reference."""
    if record.outcome == "insufficient":
        return f"Whether there is drift cannot be told yet: {record.reason.removeprefix('insufficient: ')}."
    severity = f"{record.severity.name.capitalize()} drift" if record.severity else "No drift"
    return f"{severity}: {record.reason}."
