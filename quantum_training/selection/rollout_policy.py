"""What an operator can set and order about the share of capital. How the share moves is rollout.py."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from quantum_training.selection.hash_chain import Instant, Word

_ORDERED = r"(?:reset|ceiling \S+ %) ordered by "
Share = Annotated[float, Field(ge=0, le=1)]


class RolloutPolicy(BaseModel):
    """How a champion's share of capital grows, and what takes it back. Losses are those of its record at full size.

    A change of these settings replays the whole record: order a reset to have a champion begin at 0 % again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stages: tuple[Share, ...] = Field(
        (0.0, 0.01, 0.05, 0.10), min_length=2, description="Shares of capital, rising from 0, entered one at a time."
    )
    min_days: tuple[Annotated[int, Field(ge=7, le=3650)], ...] = Field(
        (7, 7, 14), description="Days in each stage before the next, at least 7: one number per stage but the last."
    )
    ceiling: float = Field(
        0.10, ge=0, le=1, description="Highest share entered by itself. A stage above it takes an operator's order."
    )
    max_position_size: float = Field(
        0.10, gt=0, le=1, description="Largest position of a signal, as a share of capital, whatever share and target."
    )
    max_daily_loss: float = Field(
        0.10,
        gt=0,
        lt=1,
        description="A loss of this share in a UTC day takes the champion to 0 %, and it stays there.",
    )
    max_drawdown: float = Field(
        0.25, gt=0, lt=1, description="A fall of this share below the peak since it took office does the same."
    )
    harm_fraction: float = Field(
        0.5, gt=0, le=1, description="Harm is building where its z is at least this share of the rollback boundary."
    )
    without_drift_report: Literal["hold", "step"] = Field(
        "hold",
        description="What a week does whose drift was not measured: a market that nobody looked at is no calm one.",
    )
    kill_switch: bool = Field(
        False,
        description="Every share and signal is 0 while this is on; afterwards, what it would have been.",
    )

    @model_validator(mode="after")
    def _is_a_ladder(self) -> RolloutPolicy:
        if self.stages[0] != 0 or any(low >= high for low, high in pairwise(self.stages)):
            raise ValueError(f"stages {self.stages} must rise from 0, as (0, 0.01, 0.05, 0.1)")
        if len(self.min_days) != len(self.stages) - 1:
            raise ValueError(
                f"{len(self.stages)} stages need {len(self.stages) - 1} min_days, one for each but the last; "
                f"{len(self.min_days)} given"
            )
        return self


class Order(BaseModel):
    """What an operator ordered for a champion, as the ledger keeps it; void once another takes office.

    reset: begin at 0 % again, after a loss too. ceiling: the stages up to `share` may be entered, one at a time.
    week: the newest decided one when it was ordered, `YYYY-MM-DD`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    week: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    effective: Instant
    kind: Literal["reset", "ceiling"]
    recipe: Word
    share: float | None = Field(None, gt=0, le=1, description="The new ceiling; None for a reset.")
    actor: Word
    reason: str

    @model_validator(mode="after")
    def _ceiling_has_a_share(self) -> Order:
        if (self.kind == "ceiling") != (self.share is not None):
            raise ValueError(f"{self.kind}: a ceiling needs a share, a reset takes none")
        return self

    def __str__(self) -> str:
        to = "" if self.share is None else f" {100 * self.share:g} %"
        return f"{self.kind}{to} ordered by {self.actor}: {self.reason}"


def order_texts(reason: str) -> list[str]:
    """The orders, as `str(order)` writes them, that the reason of a stage names."""
    parts = re.split(rf"(?:^|; )(?={_ORDERED})", reason)
    return [part for part in parts if re.match(_ORDERED, part)]
