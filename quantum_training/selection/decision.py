"""What a week's decision says, and what it is made from beside the scores. How it is reached is champion.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import pandas as pd
from pydantic import BaseModel, ConfigDict

from quantum_training.selection.harm import Harm, RollbackPolicy
from quantum_training.selection.rule import EvidenceRule, ImprovementRule, Judgement, Verdict


class Recorded(NamedTuple):
    """What the ledger says of a week that was decided before."""

    verdict: str
    champion: str | None


class Action(NamedTuple):
    """What an operator did in a week, after its decision. kind: promote (a recipe), demote, pin or unpin."""

    week: str
    kind: str
    recipe: str | None
    actor: str
    reason: str


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

    former: the incumbent of this week's judgement. decided: the champion by the week's own decision. operator: what was
    done by hand in the week, after the verdict.
    disagreement: what the present data would have decided where the ledger, which stands, says otherwise.
    evidence_weeks: the campaign's weeks so far; missing_weeks: those of them that were never scored. evidence_hash: of
    all numbers that the decision read.
    """

    model_config = ConfigDict(frozen=True)

    week: str
    verdict: Verdict | Literal["ROLLBACK"]
    reason: str
    champion: str | None
    former: str | None
    decided: str | None
    campaign: Campaign | None
    judgements: dict[str, Judgement]
    harm: Harm | None
    pinned: bool
    operator: list[str]
    disagreement: str | None
    evidence_weeks: list[str]
    missing_weeks: list[str]
    evidence_hash: str
