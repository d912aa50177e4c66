"""The champion of each week: a pure fold over the shadow scores. It reads no earlier decision and keeps no state.

What one look says of one challenger is rule.py; when a champion is taken back is harm.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import pandas as pd
from pydantic import BaseModel, ConfigDict

from quantum_training.selection.guardrails import guardrails
from quantum_training.selection.harm import Harm, RollbackPolicy, drawdown_limit, watch
from quantum_training.selection.history import WEEK, History
from quantum_training.selection.rule import EvidenceRule, ImprovementRule, Judgement, Look, Verdict


class Terms(NamedTuple):
    """What a decision depends on beside the scores. periods: bars in a year.

    planned_days(first, until): UTC days with bars that the market's calendar has from one time to another.
    """

    rule: EvidenceRule | ImprovementRule
    rollback: RollbackPolicy
    periods: float
    planned_days: Callable[[pd.Timestamp, pd.Timestamp], int]


class Campaign(BaseModel):
    """A pre-registered comparison of the incumbent with the challengers that had a version when it opened.

    opened: the first of its weeks. week: the number of the present one, of `weeks`. out: shown to be worse.
    """

    model_config = ConfigDict(frozen=True)

    opened: str
    week: int
    weeks: int
    challengers: list[str]
    out: list[str]
    planned_days: int


class Decision(BaseModel):
    """Who trades from `week` on and why. `champion` is a recipe, or None while none has earned it.

    former: the incumbent of this week's judgement. evidence_weeks: the campaign's weeks so far; missing_weeks: those of
    them that were never scored. evidence_hash: of all numbers that the decision read.
    """

    model_config = ConfigDict(frozen=True)

    week: str
    verdict: Verdict | Literal["ROLLBACK"]
    reason: str
    champion: str | None
    former: str | None
    campaign: Campaign | None
    judgements: dict[str, Judgement]
    harm: Harm | None
    evidence_weeks: list[str]
    missing_weeks: list[str]
    evidence_hash: str


class _Watch(NamedTuple):
    """A promotion that may still be taken back: who was champion before, since which week number, the limit."""

    former: str | None
    since: int
    limit: float | None


class _State(NamedTuple):
    """Between two weeks. opened: number of the campaign's first week; challengers: of the campaign; out: of these."""

    champion: str | None = None
    watch: _Watch | None = None
    opened: int | None = None
    challengers: tuple[str, ...] = ()
    out: tuple[str, ...] = ()


def decide_weeks(scores: Mapping[str, pd.DataFrame], recipes: Iterable[str], terms: Terms) -> Iterator[Decision]:
    """Fold the score records into one decision per record, oldest first.

    scores: records of trading.scoring.score by week (`YYYY-MM-DD`); record W holds the bars of the week before W.
    recipes: those that may become champion. While there is none, challengers are judged against staying flat. A recipe
    that gets its first version while a campaign runs waits for the next one.
    """
    history = History(scores, recipes)
    state = _State()
    for at in range(len(history.weeks)):
        decision, state = _decide(history, at, state, terms)
        yield decision


def _decide(history: History, at: int, state: _State, terms: Terms) -> tuple[Decision, _State]:
    harm = _harm(history, at, state, terms)
    if state.opened is None and (challengers := _challengers(history, at, state.champion)):
        state = state._replace(opened=at, challengers=challengers, out=())
    opened = at if state.opened is None else state.opened
    rows = history.bars(opened, at)
    campaign = None if state.opened is None else _campaign(history, at, state, terms)
    judgements = {} if campaign is None else _judge(history, at, state, campaign, terms)
    verdict, reason, champion = _verdict(state.champion, judgements, campaign, harm)
    seen = set().union(*history.removed[opened : at + 1])
    if seen:
        reason += f"; left out, no recipe of this symbol any more: {', '.join(sorted(seen))}"
    decision = Decision(
        week=history.weeks[at],
        verdict=verdict,
        reason=reason,
        champion=champion,
        former=state.champion,
        campaign=campaign,
        judgements=judgements,
        harm=harm,
        evidence_weeks=history.weeks[opened : at + 1],
        missing_weeks=history.missing(opened, at),
        evidence_hash=history.digest(rows),
    )
    return decision, _after(history, at, state, decision, terms)


def _challengers(history: History, at: int, champion: str | None) -> tuple[str, ...]:
    return tuple(r for r in history.competing(history.bars(at, at)) if r != champion)


def _campaign(history: History, at: int, state: _State, terms: Terms) -> Campaign:
    weeks, opened = terms.rule.campaign_weeks, history.weeks[state.opened or 0]
    return Campaign(
        opened=opened,
        week=1 + (pd.Timestamp(history.weeks[at]) - pd.Timestamp(opened)) // WEEK,
        weeks=weeks,
        challengers=[*state.challengers],
        out=[*state.out],
        planned_days=_planned(opened, weeks, terms),
    )


def _planned(first: str, weeks: int, terms: Terms) -> int:
    """Days with bars that the calendar plans in `weeks` weeks of records from week `first` on."""
    start = pd.Timestamp(first, tz="UTC") - WEEK
    return terms.planned_days(start, start + weeks * WEEK)


def _fractions(
    history: History, first: int, at: int, planned: int, enough: Callable[[int, int], bool]
) -> tuple[float, ...]:
    """Share of the planned days at each look so far: the weeks with enough bars and days, and more than the last."""
    looks: list[float] = []
    for last in range(first, at + 1):
        days = history.day[history.bars(first, last)]
        blocks = len(set(days))
        fraction = min(blocks / planned, 1.0)
        if enough(len(days), blocks) and fraction > (looks[-1] if looks else 0.0):
            looks.append(fraction)
    return tuple(looks)


def _judge(history: History, at: int, state: _State, campaign: Campaign, terms: Terms) -> dict[str, Judgement]:
    first = state.opened or 0
    rows = history.bars(first, at)
    fractions = _fractions(history, first, at, campaign.planned_days, terms.rule.enough)
    look = Look(fractions, len(state.challengers), campaign.week >= campaign.weeks, terms.periods)
    found = {}
    for recipe in state.challengers:
        if recipe in state.out:
            continue
        judgement = terms.rule.judge(history.pair(recipe, state.champion, rows), look)
        judgement = judgement.model_copy(update={"undecided": history.undecided(recipe, rows)})
        if judgement.verdict == "PROMOTE" and isinstance(terms.rule, EvidenceRule):
            held = guardrails(
                terms.rule, recipe, state.champion, history.net[rows], history.turnover[rows], history.trials(at)
            )
            update: dict[str, Any] = {"guardrails": held.numbers}
            if held.failures:
                reason = f"held back, {'; '.join(held.failures)}; {judgement.reason}"
                update |= {"verdict": "EXPIRED" if look.last else "CONTINUE", "reason": reason}
            judgement = judgement.model_copy(update=update)
        found[recipe] = judgement
    return found


def _harm(history: History, at: int, state: _State, terms: Terms) -> Harm | None:
    if state.watch is None:
        return None
    policy = terms.rollback
    since = state.watch.since
    planned = _planned(history.weeks[since], policy.weeks, terms)
    tested = (pd.Timestamp(history.weeks[at]) - pd.Timestamp(history.weeks[since])) // WEEK < policy.weeks
    fractions = _fractions(history, since, at, planned, lambda _, days: days >= policy.min_blocks) if tested else ()
    pair = history.pair(state.watch.former, state.champion, history.bars(max(since, at - policy.weeks + 1), at))
    return watch(policy, pair, fractions, state.watch.limit, state.watch.former)


def _verdict(
    incumbent: str | None, judgements: dict[str, Judgement], campaign: Campaign | None, harm: Harm | None
) -> tuple[Verdict | Literal["ROLLBACK"], str, str | None]:
    """The week's verdict, its reason and the champion from now on."""
    against = incumbent or "staying flat"
    if harm and harm.reason:
        former = None if harm.against == "staying flat" else harm.against
        return "ROLLBACK", f"{incumbent} back to {former or 'no champion'}: {harm.reason}", former
    better = {r: j for r, j in judgements.items() if j.verdict == "PROMOTE"}
    if better:
        best = max(better, key=lambda r: (better[r].z or 0.0, better[r].margin or 0.0))
        return "PROMOTE", f"{best} against {against}: {better[best].reason}", best
    if campaign is None:
        return "INSUFFICIENT", f"against {against}: no challenger has been scored", incumbent
    reasons = "; ".join(f"{r}: {j.reason}" for r, j in judgements.items()) or "every challenger is out"
    verdicts = {j.verdict for j in judgements.values()}
    order: tuple[Verdict, ...] = ("CONTINUE", "EXPIRED", "INSUFFICIENT", "REJECT")
    verdict: Verdict = next((v for v in order if v in verdicts), "REJECT")
    return verdict, f"against {against}: {reasons}", incumbent


def _after(history: History, at: int, state: _State, decision: Decision, terms: Terms) -> _State:
    """The state that the next week starts from. A change of the champion, or its last week, closes the campaign."""
    if decision.verdict == "ROLLBACK":
        return _State(decision.champion)
    if decision.champion != state.champion:
        record = history.trials(at)[decision.champion or ""]
        planned = _planned(decision.week, terms.rollback.weeks, terms)
        rows = history.bars(0, at)
        daily = pd.Series(record).groupby(history.day[rows][-len(record) :]).sum().to_numpy()
        limit = drawdown_limit(daily, planned, terms.rollback.drawdown_quantile)
        return _State(decision.champion, _Watch(state.champion, at + 1, limit))
    campaign = decision.campaign
    if campaign is None:
        return state
    out = (*state.out, *(r for r, j in decision.judgements.items() if j.verdict == "REJECT"))
    if campaign.week >= campaign.weeks or set(state.challengers) == set(out):
        return state._replace(opened=None, challengers=(), out=())
    return state._replace(out=out)
