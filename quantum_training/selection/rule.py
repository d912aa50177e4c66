"""Promotion rules: may this challenger take over, on this evidence? What a week's decision is built from.

A rule judges one challenger at one look. The default one is joint_rule.py, the fold over weeks is in champion.py, the
checks after a crossed boundary are in guardrails.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from quantum_training.selection.boundary import boundaries, spent
from quantum_training.selection.paired_test import PairedReturns, PairedTest, paired_test
from quantum_training.trading.metrics import sharpe

Verdict = Literal["PROMOTE", "CONTINUE", "REJECT", "EXPIRED", "INSUFFICIENT"]


class InterimAnalysis(NamedTuple):
    """Which look at a campaign this is. fractions: share of the planned blocks at each look so far, this one last.

    family: challengers that the campaign opened with. last: no later look will come. periods: bars in a year.
    correlation: least correlation of two challengers' daily differences to the incumbent, rounded down.
    """

    fractions: tuple[float, ...]
    family: int
    last: bool
    periods: float
    correlation: float = 0.0


class Judgement(BaseModel):
    """A rule's verdict on one challenger, with the numbers it used; None if one is undefined or was not needed.

    bars, blocks: of the campaign so far. undecided: bars of them that the challenger counted flat for. margin: Sharpe
    ratio less the needed one. mean, deviation: of the paired daily differences of net returns. z against boundary;
    alpha: the challenger's error in the campaign, alpha_spent: of that up to this look. guardrails: what was
    also measured if its evidence crossed the boundary.
    """

    model_config = ConfigDict(frozen=True)

    verdict: Verdict
    reason: str
    bars: int
    blocks: int
    undecided: int = 0
    sharpe: float | None = None
    incumbent_sharpe: float | None = None
    margin: float | None = None
    mean: float | None = None
    deviation: float | None = None
    z: float | None = None
    boundary: float | None = None
    alpha: float | None = None
    alpha_spent: float | None = None
    guardrails: dict[str, float | str | None] = {}


class Rule(BaseModel):
    """What every promotion rule has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_predictions: int = Field(100, ge=2, description="Bars needed before anything is decided.")
    min_improvement: float = Field(
        0.02,
        ge=0,
        le=10,
        description="Needed gain in the annualised Sharpe ratio, 0.02 = 2 %; absolute where it is <= 0.",
    )
    campaign_weeks: int = Field(
        26, ge=1, le=260, description="Weeks after which a campaign expires and the next begins with fresh evidence."
    )
    max_undecided: float = Field(
        0.005,
        ge=0,
        le=1,
        description="Largest share of the campaign's bars, from its first decision on, that a challenger may have "
        "decided nothing on; 1: off.",
    )
    automatic: bool = Field(
        True, description="false: no recipe is promoted by itself; the partition names it, and the job promote does it."
    )
    min_blocks: ClassVar[int] = 1
    """UTC days with bars that are needed before anything is decided."""

    def enough(self, bars: int, blocks: int) -> bool:
        """Is there enough evidence for a look?"""
        return bars >= self.min_predictions and blocks >= self.min_blocks

    def _numbers(self, pair: PairedReturns, periods: float) -> dict[str, Any]:
        ours, theirs = sharpe(pair.challenger, periods)[0], sharpe(pair.incumbent, periods)[0] or 0.0
        needed = theirs + self.min_improvement * (theirs if theirs > 0 else 1.0)
        return {
            "bars": len(pair.challenger),
            "blocks": len(np.unique(pair.day)),
            "sharpe": ours,
            "incumbent_sharpe": theirs,
            "margin": None if ours is None else ours - needed,
        }

    def _short(self, bars: int, blocks: int) -> str:
        return f"{bars} of {self.min_predictions} bars, {blocks} of {self.min_blocks} days"


class ImprovementRule(Rule):
    """A challenger takes over if its Sharpe ratio is better by `min_improvement`, at any weekly look.

    Simple and weak. If all recipes are equally good, it promotes one in 82 % of 26-week campaigns, and in 98 % with
    five challengers; one that is clearly worse in 21 % (docs/learning_loop).
    """

    rule: Literal["improvement"] = "improvement"

    def judge(self, pair: PairedReturns, look: InterimAnalysis) -> Judgement:
        """Compare the Sharpe ratios. A flat incumbent, or one whose returns do not vary, counts as 0."""
        numbers = self._numbers(pair, look.periods)
        if not self.enough(numbers["bars"], numbers["blocks"]):
            return Judgement(
                verdict="INSUFFICIENT", reason=f"{numbers['bars']} of {self.min_predictions} bars", **numbers
            )
        waiting: Verdict = "EXPIRED" if look.last else "CONTINUE"
        if numbers["sharpe"] is None:
            return Judgement(verdict=waiting, reason="no Sharpe ratio: its returns do not vary", **numbers)
        verdict: Verdict = "PROMOTE" if numbers["margin"] > 0 else waiting
        needed = numbers["sharpe"] - numbers["margin"]
        return Judgement(
            verdict=verdict, reason=f"Sharpe {numbers['sharpe']:.3f}, needed above {needed:.3f}", **numbers
        )


class SequentialRule(Rule, ABC):
    """A challenger takes over if a group-sequential test shows it better; the error over all looks is known.

    The daily sums of the paired differences of net returns are tested weekly against O'Brien-Fleming boundaries, spent
    by the days observed (Lan and DeMets), one-sided. A challenger that shows itself worse by the mirrored boundary is
    out. What crosses must also be better by `min_improvement` and pass the guardrails. docs/learning_loop has the
    measured error rates.
    """

    alpha: float = Field(
        0.05, gt=0, le=0.2, description="Probability that a campaign promotes any recipe that is no better."
    )
    min_blocks: ClassVar[int] = 20

    @abstractmethod
    def level(self, look: InterimAnalysis) -> float:
        """The error of each challenger's test, so that all of them have `alpha` together."""

    @abstractmethod
    def test(self, pair: PairedReturns) -> PairedTest:
        """The test of the challenger against the incumbent."""

    def unbeaten(self, pair: PairedReturns, look: InterimAnalysis) -> tuple[dict[str, float | str | None], list[str]]:
        """What was measured against other rivals, and a sentence for each that is not beaten."""
        return {}, []

    def judge(self, pair: PairedReturns, look: InterimAnalysis) -> Judgement:
        """Test whether the challenger's mean daily difference is above 0, or below it."""
        numbers = self._numbers(pair, look.periods)
        if not self.enough(numbers["bars"], numbers["blocks"]):
            return Judgement(verdict="INSUFFICIENT", reason=self._short(numbers["bars"], numbers["blocks"]), **numbers)
        alpha = self.level(look)
        bound = boundaries(alpha, look.fractions)[-1]
        tested = self.test(pair)
        numbers |= {
            "mean": tested.mean,
            "deviation": tested.deviation,
            "z": tested.z,
            "boundary": bound if np.isfinite(bound) else None,
            "alpha": alpha,
            "alpha_spent": spent(alpha, look.fractions[-1]),
        }
        waiting: Verdict = "EXPIRED" if look.last else "CONTINUE"
        if tested.z is None or numbers["sharpe"] is None:
            return Judgement(verdict=waiting, reason="the difference to the incumbent does not vary", **numbers)
        evidence = f"z {tested.z:.2f} of {bound:.2f} needed, {look.fractions[-1]:.0%} of the evidence"
        if tested.z <= -bound:
            return Judgement(verdict="REJECT", reason=f"worse: {evidence}", **numbers)
        if tested.z < bound:
            return Judgement(verdict=waiting, reason=evidence, **numbers)
        numbers["guardrails"], missing = self.unbeaten(pair, look)
        if numbers["margin"] <= 0:
            missing = [f"Sharpe ratio short of the needed one by {-numbers['margin']:.3f}", *missing]
        if missing:
            return Judgement(verdict=waiting, reason="; ".join([*missing, evidence]), **numbers)
        return Judgement(verdict="PROMOTE", reason=f"better: {evidence}", **numbers)


class EvidenceRule(SequentialRule):
    """The test at `alpha` / challengers of the campaign on the returns as they are, then four guardrails of their own.

    The guardrails make it much stricter than `alpha` says: see docs/learning_loop.
    """

    rule: Literal["evidence"] = "evidence"
    max_ratio: float = Field(
        1.25, ge=1, le=10, description="Drawdown and turnover may be at most this multiple of the champion's."
    )
    min_dsr: float = Field(
        0.95, ge=0, lt=1, description="Least deflated Sharpe ratio over all scored bars, every recipe a trial; 0: off."
    )
    max_spa_p: float = Field(
        0.05, gt=0, le=1, description="Largest p-value of Hansen's SPA against champion, Buy & Hold and flat; 1: off."
    )

    def level(self, look: InterimAnalysis) -> float:
        """Bonferroni's."""
        return self.alpha / look.family

    def test(self, pair: PairedReturns) -> PairedTest:
        """Of the returns as they are."""
        return paired_test(pair._replace(market=None))
