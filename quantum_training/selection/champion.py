"""The champion of each week: a pure fold over the shadow scores. It reads no earlier decision and keeps no state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict

from quantum_training.selection.rule import Judgement, PromotionRule, Verdict
from quantum_training.trading.scoring import by_strategy

WEEK = pd.Timedelta(days=7)


class Decision(BaseModel):
    """Who trades from `week` on and why. `champion` is a recipe, or None while none has earned it."""

    model_config = ConfigDict(frozen=True)

    week: str
    verdict: Verdict
    reason: str
    champion: str | None
    former: str | None
    evidence_weeks: list[str]
    missing_weeks: list[str]
    judgements: dict[str, Judgement]


def decide_weeks(
    scores: Mapping[str, pd.DataFrame], recipes: Iterable[str], rule: PromotionRule, periods: float
) -> Iterator[Decision]:
    """Fold the score records into one decision per record, oldest first.

    scores: records of trading.scoring.score by week (`YYYY-MM-DD`); record W holds the bars of the week before W.
    recipes: those that may become champion. With no champion yet, a challenger is judged against staying flat. A recipe
    that was removed counts in no week, as if it had never competed, and the reason names it while its scores are seen.
    Weeks that lie between records but were never scored are named in the decision, not bridged in silence.
    """
    recipes = sorted(recipes)
    weeks = sorted(scores)
    returns = {week: by_strategy(scores[week], "net_return") for week in weeks}
    trained = {week: {*scores[week].loc[scores[week]["model_id"] != "", "strategy"]} for week in weeks}
    champion: str | None = None
    for week in weeks:
        first = str((pd.Timestamp(week) - (rule.window_weeks - 1) * WEEK).date())
        seen = [w for w in weeks if first <= w <= week]
        evidence = pd.concat([returns[w] for w in seen])
        expected = pd.date_range(max(first, weeks[0]), week, freq=WEEK).strftime("%Y-%m-%d")
        decision = _decide(week, evidence, champion, recipes, rule, periods)
        reason = decision.reason
        if removed := sorted(set().union(*(trained[w] for w in seen)) - set(recipes)):
            reason += f"; left out, no recipe of this symbol any more: {', '.join(removed)}"
        missing = [w for w in expected if w not in seen]
        decision = decision.model_copy(update={"reason": reason, "evidence_weeks": seen, "missing_weeks": missing})
        champion = decision.champion
        yield decision


def _decide(
    week: str, evidence: pd.DataFrame, incumbent: str | None, recipes: list[str], rule: PromotionRule, periods: float
) -> Decision:
    judgements = {}
    for recipe in recipes:
        if recipe == incumbent or recipe not in evidence:
            continue
        pair = evidence[[recipe]].assign(incumbent=evidence.get(incumbent, 0.0)).dropna()
        judgement = rule.judge(pair[recipe].to_numpy(), pair["incumbent"].to_numpy(), periods)
        judgements[recipe] = judgement.model_copy(update={"unpaired_bars": len(evidence) - len(pair)})
    against = incumbent or "staying flat"
    if incumbent and incumbent not in evidence:
        against += " (not scored in these weeks, so flat)"
    able = {r: j for r, j in judgements.items() if j.verdict == "PROMOTE" and j.margin is not None}
    base: dict[str, Any] = {
        "week": week,
        "former": incumbent,
        "judgements": judgements,
        "evidence_weeks": [],
        "missing_weeks": [],
    }
    if able:
        best = max(able, key=lambda r: able[r].margin or 0.0)
        return Decision(
            verdict="PROMOTE", reason=f"{best} against {against}: {able[best].reason}", champion=best, **base
        )
    undecided = all(j.verdict == "INSUFFICIENT" for j in judgements.values())
    short = undecided and (bool(judgements) or incumbent is None)
    reasons = "; ".join(f"{r}: {j.reason}" for r, j in judgements.items()) or "no challenger has been scored"
    verdict: Verdict = "INSUFFICIENT" if short else "CONTINUE"
    return Decision(verdict=verdict, reason=f"against {against}: {reasons}", champion=incumbent, **base)
