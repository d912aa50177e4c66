"""Bars that a person has looked at and found to be what really happened, as the settings of a symbol name them.

What the quality gate makes of them is acceptance.py.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Self

import numpy as np
import pandas as pd
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

NEVER_ACCEPTED = {
    **dict.fromkeys(
        ("missing_value", "finite", "positive_price", "volume_not_negative", "strictly_increasing"),
        "the simulator, returns and logarithms of prices need finite prices above zero, each bar once and in order",
    ),
    **dict.fromkeys(("schema", "outside_window"), "the source does not give what it was asked for"),
    "empty": "the month has no bar at all; if the market was closed, accept the period from its first bar to its end",
    "calendar": "the calendar does not have these years",
    "moved_day": "bars of other days do not go on those that are stored",
    "revised_history": "old and new bars do not fit together; fetch all months again with refetch: true",
}
"""Rules whose defects nobody can accept, and why."""


def _in_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


Time = Annotated[datetime, AfterValidator(_in_utc)]


class AcceptedBars(BaseModel):
    """Bars that are named, or all of a period in which the market was closed or unusual: accepted, by whom and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bars: tuple[Time, ...] = Field((), description="Starts of the accepted bars, UTC; bars that are missing, too.")
    since: Time | None = Field(None, alias="from", description="First bar of the accepted period, UTC.")
    until: Time | None = Field(None, description="The period's end: the first bar after it that is judged again.")
    rule: str | None = Field(None, description="The only rule that may be broken, as split_like_jump; default: any.")
    reason: str = Field(min_length=1, max_length=2000, description="What happened, for whoever reads it in a year.")
    by: str = Field(min_length=1, max_length=200, description="Who has looked at the bars.")

    @model_validator(mode="after")
    def _names_bars_or_a_period(self) -> Self:
        if bool(self.bars) == bool(self.since) or bool(self.since) != bool(self.until):
            raise ValueError("name either `bars`, or a period with `from` and `until`")
        if self.since and self.until and self.until <= self.since:
            raise ValueError(f"until {self.until} must be after from {self.since}")
        if self.rule in NEVER_ACCEPTED:
            raise ValueError(f"{self.rule} cannot be accepted: {NEVER_ACCEPTED[self.rule]}")
        return self

    def covers(self, bars: pd.DatetimeIndex, rule: str) -> np.ndarray:
        """Which of these bars are accepted although they break the rule, as booleans."""
        if self.rule not in (None, rule):
            return np.zeros(len(bars), dtype=bool)
        if self.since and self.until:
            return np.asarray((bars >= pd.Timestamp(self.since)) & (bars < pd.Timestamp(self.until)))
        return bars.isin(pd.DatetimeIndex(self.bars).as_unit("ns"))

    def __str__(self) -> str:
        return f"accepted by {self.by}: {self.reason}"
