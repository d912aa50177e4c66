"""The decision of a week, and what it is made from in addition to the scores. How it is reached is champion.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from quantum_training.selection.harm import Harm, RollbackPolicy
from quantum_training.selection.joint_rule import PromotionRule
from quantum_training.selection.rule import Judgement, Verdict

NOT_CONFIGURED = "recipe no longer configured"
"""The fault of a recipe that the symbol's settings do not have any more: renamed, or removed."""


class LedgerDecision(NamedTuple):
    """What the ledger records of a week that was decided before. faults: of the recipes that were examined then."""

    verdict: str
    champion: str | None
    faults: Mapping[str, list[str]] = MappingProxyType({})


class Action(NamedTuple):
    """An operator's action in a week, after its decision. kind: promote (a recipe), demote, pin or unpin."""

    week: str
    kind: str
    recipe: str | None
    actor: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kind} {self.recipe or ''} by {self.actor}: {self.reason}".replace("  ", " ")


class DecisionPolicy(NamedTuple):
    """What a decision depends on in addition to the scores. periods: bars in a year.

    planned_days(first, until): UTC days with bars that the market's calendar has from one time to another.
    faults(week, recipe): sentences on what does not work in a recipe; it may load models, so it is called only for
    weeks after the ledger's newest, for the champion and for a recipe about to be promoted. drift(week): worst severity
    of the week before, None if it was not measured. seeds: fits per version of each recipe, 1 if it is not named.
    market_before(week): returns of a position of 1 by UTC day, of the days before those that week's record scores,
    (days,); empty if there are none.
    """

    rule: PromotionRule
    rollback: RollbackPolicy
    periods: float
    planned_days: Callable[[pd.Timestamp, pd.Timestamp], int]
    faults: Callable[[str, str], list[str]] = lambda week, recipe: []
    drift: Callable[[str], str | None] = lambda week: None
    seeds: Mapping[str, int] = MappingProxyType({})
    market_before: Callable[[str], np.ndarray] = lambda week: np.empty(0)


class HealthFindings(dict[str, list[str]]):
    """What does not work in each recipe in one week; a recipe is examined once, when it is looked up."""

    def __init__(self, examine: Callable[[str], list[str]]) -> None:
        super().__init__()
        self._examine = examine

    def __missing__(self, recipe: str) -> list[str]:
        self[recipe] = self._examine(recipe)
        return self[recipe]


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

    former: the incumbent of this week's judgement. decided: the champion by the week's own decision. proposed: the
    recipe that would be champion if `promotion.automatic` were true; it waits for a person. operator: manual
    actions of the week, after the verdict. faults: what does not work in each recipe that was examined; an empty list
    if it works.
    disagreement: what present data and settings would decide, if the ledger, which takes precedence, says otherwise.
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
    proposed: str | None = None
    campaign: Campaign | None
    judgements: dict[str, Judgement]
    harm: Harm | None
    faults: dict[str, list[str]]
    pinned: bool
    operator: list[str]
    disagreement: str | None
    evidence_weeks: list[str]
    missing_weeks: list[str]
    evidence_hash: str
