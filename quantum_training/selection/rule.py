"""The promotion rule: may this challenger take over, on this evidence? What a week's decision is built from.

A rule has one method, `judge`. The fold over weeks lives in champion.py.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from quantum_training.trading.metrics import sharpe

Verdict = Literal["PROMOTE", "CONTINUE", "INSUFFICIENT"]


class Judgement(BaseModel):
    """What a rule says of one challenger, with the numbers it used. `margin` ranks challengers that may take over.

    `bars` were traded by both, `unpaired_bars` of the same weeks by one of them only, or by none.
    """

    model_config = ConfigDict(frozen=True)

    verdict: Verdict
    reason: str
    bars: int
    unpaired_bars: int = 0
    sharpe: float | None
    incumbent_sharpe: float | None
    margin: float | None


class PromotionRule(Protocol):
    """Judges a challenger on bars that both it and the incumbent traded."""

    @property
    def window_weeks(self) -> int:
        """Trailing weeks of shadow scores that count as evidence."""

    def judge(self, challenger: np.ndarray, incumbent: np.ndarray, periods: float) -> Judgement:
        """`challenger` and `incumbent`: net returns of the same bars, shape (bars,); an incumbent of zeros is flat."""


class ImprovementRule(BaseModel):
    """Takes over where the Sharpe ratio on at least `min_predictions` paired bars is better by `min_improvement`.

    The improvement is relative to the incumbent's Sharpe ratio where that is positive, else absolute. As a statistical
    test this rule is weak: of two equally good recipes it promotes the newcomer at about half of all looks at 100 bars.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Literal["improvement"] = "improvement"
    min_predictions: int = Field(100, ge=2, description="Paired bars needed before anything is decided.")
    min_improvement: float = Field(
        0.02, ge=0, le=10, description="Needed gain in the annualised Sharpe ratio, 0.02 = 2 %."
    )
    window_weeks: int = Field(26, ge=1, le=520, description="Trailing weeks of shadow scores that count as evidence.")

    def judge(self, challenger: np.ndarray, incumbent: np.ndarray, periods: float) -> Judgement:
        """Compare the Sharpe ratios. A flat incumbent, or one whose returns do not vary, stands at 0."""
        bars = len(challenger)
        ours, reason = sharpe(challenger, periods)
        theirs = sharpe(incumbent, periods)[0] or 0.0
        numbers: dict[str, Any] = {"bars": bars, "sharpe": ours, "incumbent_sharpe": theirs, "margin": None}
        if bars < self.min_predictions:
            return Judgement(verdict="INSUFFICIENT", reason=f"{bars} of {self.min_predictions} paired bars", **numbers)
        if ours is None:
            return Judgement(verdict="CONTINUE", reason=f"no Sharpe ratio: {reason}", **numbers)
        needed = theirs + self.min_improvement * (theirs if theirs > 0 else 1.0)
        numbers["margin"] = ours - needed
        verdict: Verdict = "PROMOTE" if ours > needed else "CONTINUE"
        return Judgement(verdict=verdict, reason=f"Sharpe {ours:.3f}, needed above {needed:.3f}", **numbers)
