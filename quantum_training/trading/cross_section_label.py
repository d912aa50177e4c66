"""A label of a cross-section: does a symbol do better than most members of a universe over the bars after a decision?

Which prices of the members are read is lifecycle/cross_section_labels.py.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from quantum_training.features.sets.ranks import ranks_within


class CrossSection(BaseModel):
    """Is the return over `horizon` bars in the upper half of those of the universe's members at the bar?"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["cross_section"]
    within: str = Field(min_length=1, description="Universe among whose members the returns are compared.")
    horizon: int = Field(ge=1, le=1000, description="Bars that the position is held.")

    @property
    def span_bars(self) -> int:
        """Bars around a bar that its label reads."""
        return self.horizon + 2


def outcomes(
    entries: np.ndarray, exits: np.ndarray, is_member: np.ndarray, horizon: int, min_members: int
) -> np.ndarray:
    """1.0 where the return of a member is above the middle of all members' at the bar, 0.0 where below, members x bars.

    A decision at the close of bar t is filled at the open of t+1 and left at that of t+1+horizon. entries, exits: the
    prices of each bar at which one enters and leaves, members x bars; is_member: at the bar of the decision. NaN for
    no member, without a price, exactly in the middle, beyond the bars, and if fewer than min_members have a return.
    """
    gains = np.full(entries.shape, np.nan)
    if entries.shape[1] > horizon + 1:
        gains[:, : -horizon - 1] = exits[:, horizon + 1 :] / entries[:, 1:-horizon] - 1
    gains[~is_member] = np.nan
    ranks = ranks_within(gains[:, :, np.newaxis], min_members)[:, :, 0]
    return np.where(np.isnan(ranks) | (ranks == 0.5), np.nan, ranks > 0.5)
