"""The sizing rule: how a classifier's probability becomes a position. Every classifier uses it."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator


class Sizing(BaseModel):
    """Long-only rule: flat up to `break_even`, fully invested from `full` on, linear between, rounded to `step`.

    The steps prevent trades, and their costs, on small changes of the probability.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    break_even: float = Field(0.5, gt=0, lt=1, description="Probability up to which nothing is held.")
    full: float = Field(0.6, gt=0, le=1, description="Probability from which the whole equity is invested.")
    step: float = Field(0.25, gt=0, le=1, description="Positions are multiples of this; it divides 1.")

    @model_validator(mode="after")
    def _check(self) -> Sizing:
        if self.full <= self.break_even:
            raise ValueError(f"full ({self.full}) must be above break_even ({self.break_even})")
        if abs(round(1 / self.step) * self.step - 1) > 1e-6:
            raise ValueError(
                f"step ({self.step}) must divide 1, as 1, 0.5, 0.25, 0.2, 0.1; else full cannot be reached"
            )
        return self

    def positions(self, probability: np.ndarray) -> np.ndarray:
        """Target positions in [0, 1], same shape as `probability` (chance that the label is 1). NaN stays NaN."""
        share = np.clip((probability - self.break_even) / (self.full - self.break_even), 0.0, 1.0)
        steps = round(1 / self.step)
        return np.round(share * steps) / steps
