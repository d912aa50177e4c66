"""The champion of each week: a pure fold over the shadow scores. It reads no earlier decision and keeps no state.

The judgement of a challenger is rule.py. A champion is rolled back for its returns by harm.py, and here if it does not
work: an operational fault needs no evidence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from quantum_training.selection.campaign import campaign_at, fractions, judge, market_before, planned
from quantum_training.selection.decision import (
    NOT_CONFIGURED,
    Action,
    Campaign,
    Decision,
    DecisionPolicy,
    HealthFindings,
    LedgerDecision,
)
from quantum_training.selection.harm import Harm, drawdown_limit, monitor_harm
from quantum_training.selection.history import WEEK, History
from quantum_training.selection.rule import Judgement, Verdict


class _Monitoring(NamedTuple):
    """A promotion that may still be rolled back: the former champion, the first week number, the drawdown limit."""

    former: str | None
    since: int
    limit: float | None


class _State(NamedTuple):
    """Between two weeks. opened: number of the campaign's first week; eliminated: those of its challengers."""

    champion: str | None = None
    monitoring: _Monitoring | None = None
    opened: int | None = None
    challengers: tuple[str, ...] = ()
    eliminated: tuple[str, ...] = ()
    pinned: bool = False


def decide_weeks(
    scores: Mapping[str, pd.DataFrame],
    recipes: Iterable[str],
    terms: DecisionPolicy,
    recorded: Mapping[str, LedgerDecision] = MappingProxyType({}),
    actions: Sequence[Action] = (),
) -> Iterator[Decision]:
    """Fold the score records into one decision per record, oldest first.

    scores: records of trading.scoring.score by week (`YYYY-MM-DD`); record W holds the bars of the week before W.
    recipes: those that may become champion. While there is no champion, challengers are judged against staying flat. A
    recipe that gets its first version during a campaign waits for the next one. A champion that is no recipe any more
    leaves office, and such a recipe competes no longer; weeks of the ledger stay decided among those scored then.
    recorded: the ledger's decisions by week; if the present data decide otherwise, the ledger takes precedence, and so
    do the faults it recorded. actions: the operators', in order; each takes effect in its week, after the week's own
    decision, and closes the campaign if it changes the champion. While pinned, verdicts are reached and recorded but
    not followed. Without `promotion.automatic` a promotion is proposed and not followed; its campaign goes on.
    """
    history = History(scores, recipes)
    state = _State()
    for at, week in enumerate(history.weeks):
        faults = HealthFindings(partial(_findings, history, terms, recorded, week))
        competing = {*history.recipes} | (history.removed[at] if week in recorded else set())
        decision, opened = _decide(history, at, _without_removed(state, competing), terms, faults, competing)
        decision = _hold_promotion(decision, recorded.get(week), terms.rule.automatic)
        decision = _apply_ledger(decision, recorded.get(week))
        since = str((pd.Timestamp(history.weeks[at - 1]) + WEEK).date()) if at else ""
        state, messages = _apply_actions(
            history, at, _next_state(history, at, opened, decision, terms), actions, since, terms
        )
        yield decision.model_copy(update={"champion": state.champion, "pinned": state.pinned, "operator": messages})


def _findings(
    history: History, terms: DecisionPolicy, recorded: Mapping[str, LedgerDecision], week: str, recipe: str
) -> list[str]:
    """What does not work in a recipe: what the ledger says, and of later weeks what there is now."""
    if week <= max(recorded, default=""):
        return [*recorded[week].faults.get(recipe, [])] if week in recorded else []
    return terms.faults(week, recipe) if recipe in history.recipes else [NOT_CONFIGURED]


def _without_removed(state: _State, competing: Collection[str]) -> _State:
    """The state with the challengers that compete no longer out of the campaign."""
    removed = [r for r in state.challengers if r not in competing and r not in state.eliminated]
    return state._replace(eliminated=(*state.eliminated, *removed))


def _hold_promotion(decision: Decision, recorded: LedgerDecision | None, automatic: bool) -> Decision:
    """The decision with its promotion as a proposal, if a person has to make it.

    Of a recorded week the ledger knows whether it did; a later change of the setting does not change the past.
    """
    if decision.verdict != "PROMOTE" or decision.champion == decision.former:
        return decision
    was_held = recorded is not None and (recorded.verdict, recorded.champion) == ("PROMOTE", decision.former)
    if automatic if recorded is None else not was_held:
        return decision
    reason = f"{decision.champion} waits for a person and the job promote (promotion.automatic: false): "
    held = {"champion": decision.former, "decided": decision.former, "proposed": decision.champion}
    return decision.model_copy(update={**held, "reason": reason + decision.reason})


def _apply_ledger(decision: Decision, recorded: LedgerDecision | None) -> Decision:
    """The decision, replaced by the ledger's if they differ; the difference is named."""
    if recorded is None or (decision.verdict, decision.champion) == (recorded.verdict, recorded.champion):
        return decision
    now, then = (f"{d.verdict}, champion {d.champion or 'none'}" for d in (decision, recorded))
    disagreement = f"the present data and settings say {now}; the ledger says {then}, and stands"
    champion = recorded.champion
    update = {"verdict": recorded.verdict, "champion": champion, "decided": champion, "disagreement": disagreement}
    return decision.model_copy(update=update)


def _apply_actions(
    history: History, at: int, state: _State, actions: Sequence[Action], since: str, terms: DecisionPolicy
) -> tuple[_State, list[str]]:
    """Apply the operators' actions of week number `at`, and of weeks before it that were never scored."""
    messages = []
    for action in actions:
        if not since <= action.week <= history.weeks[at]:
            continue
        if action.kind in ("pin", "unpin"):
            state = state._replace(pinned=action.kind == "pin")
        else:
            former = state.monitoring.former if state.monitoring else None
            champion = action.recipe if action.kind == "promote" else former
            if champion != state.champion:
                state = _new_champion(history, at, champion, state, terms, monitored=action.kind == "promote")
        messages.append(str(action))
    return state, messages


def _decide(
    history: History,
    at: int,
    state: _State,
    terms: DecisionPolicy,
    faults: HealthFindings,
    competing: Collection[str],
) -> tuple[Decision, _State]:
    """The decision of week number `at`, and the state with its campaign. competing: recipes that may be champion."""
    harm = _harm(history, at, state, terms)
    scored = [r for r in history.competing(history.bars(at, at)) if r in competing and r != state.champion]
    if state.opened is None and scored:
        state = state._replace(opened=at, challengers=(*scored,), eliminated=())
    opened = at if state.opened is None else state.opened
    rows = history.bars(opened, at)
    campaign = (
        None if state.opened is None else campaign_at(history, at, opened, state.challengers, state.eliminated, terms)
    )
    judgements = {} if campaign is None else judge(history, at, state.champion, campaign, terms, faults)
    verdict, reason, champion = _verdict(state.champion, judgements, campaign, harm)
    if state.champion and (broken := faults[state.champion]):
        champion = _restored(state, faults, competing)
        back = f"{state.champion} back to {champion or 'no champion'}"
        cause = NOT_CONFIGURED if broken == [NOT_CONFIGURED] else f"operational fault: {'; '.join(broken)}"
        verdict, reason = "ROLLBACK", f"{back}: {cause}"
    if state.pinned and champion != state.champion and faults.get(str(state.champion)) != [NOT_CONFIGURED]:
        reason, champion = f"pinned, so {state.champion or 'no champion'} stays; else: {reason}", state.champion
    if removed := set().union(*history.removed[opened : at + 1]) - {*competing}:
        reason += f"; left out, no recipe of this symbol any more: {', '.join(sorted(removed))}"
    decision = Decision(
        week=history.weeks[at],
        verdict=verdict,
        reason=reason,
        champion=champion,
        former=state.champion,
        decided=champion,
        campaign=campaign,
        judgements=judgements,
        harm=harm,
        faults=dict(faults),
        pinned=state.pinned,
        operator=[],
        disagreement=None,
        evidence_weeks=history.weeks[opened : at + 1],
        missing_weeks=history.missing(opened, at),
        evidence_hash=history.digest(rows, market_before(campaign, terms)),
    )
    return decision, state


def _restored(state: _State, faults: HealthFindings, competing: Collection[str]) -> str | None:
    """Who trades if the champion does not work: the former one, if it is known, still a recipe, and works."""
    former = state.monitoring.former if state.monitoring else None
    return former if former in competing and not faults[str(former)] else None


def _harm(history: History, at: int, state: _State, terms: DecisionPolicy) -> Harm | None:
    if state.monitoring is None:
        return None
    policy = terms.rollback
    since = state.monitoring.since
    days = planned(history.weeks[since], policy.weeks, terms)
    tested = (pd.Timestamp(history.weeks[at]) - pd.Timestamp(history.weeks[since])) // WEEK < policy.weeks
    looks = fractions(history, since, at, days, lambda _, blocks: blocks >= policy.min_blocks) if tested else ()
    pair = history.pair(state.monitoring.former, state.champion, history.bars(max(since, at - policy.weeks + 1), at))
    return monitor_harm(policy, pair, looks, state.monitoring.limit, state.monitoring.former)


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


def _next_state(history: History, at: int, state: _State, decision: Decision, terms: DecisionPolicy) -> _State:
    """The state that the next week starts from. A change of the champion, or its last week, closes the campaign."""
    if decision.champion != state.champion:
        return _new_champion(history, at, decision.champion, state, terms, monitored=decision.verdict == "PROMOTE")
    campaign = decision.campaign
    if campaign is None:
        return state
    eliminated = (*state.eliminated, *(r for r, j in decision.judgements.items() if j.verdict == "REJECT"))
    if campaign.week >= campaign.weeks or set(state.challengers) == set(eliminated):
        return state._replace(opened=None, challengers=(), eliminated=())
    return state._replace(eliminated=eliminated)


def _new_champion(
    history: History, at: int, champion: str | None, state: _State, terms: DecisionPolicy, monitored: bool
) -> _State:
    """The state with another champion after week number `at`, and no campaign; only a promoted one is monitored."""
    if not monitored or champion is None:
        return _State(champion, pinned=state.pinned)
    record = history.trials(at).get(champion, np.empty(0))
    daily = pd.Series(record).groupby(history.day[history.bars(0, at)][-len(record) :] if len(record) else []).sum()
    days = planned(history.weeks[at], terms.rollback.weeks, terms)
    limit = drawdown_limit(daily.to_numpy(), days, terms.rollback.drawdown_quantile)
    return _State(champion, _Monitoring(state.champion, at + 1, limit), pinned=state.pinned)
