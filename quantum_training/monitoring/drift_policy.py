"""Settings of the drift report: rule, false-discovery share, windows, reference, and the least data a test needs."""

from __future__ import annotations

from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

NEEDED_WINDOWS = 26
"""Windows of reference that a test needs: their spread tells drift from an ordinary week."""

NEEDED_VALUES = 10
"""Values per window that a test needs, one per decile. Shifts of a quarter of 20 features, measured: with 5 values a
week, 3 standard deviations are never detected; with 10, 2 always and 1 in 5 % of cases; with 28, 1 in 87 %; with 42,
always."""


class DriftPolicy(BaseModel):
    """How a window of data, a week unless set otherwise, is compared with the reference."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Literal["calibrated", "fixed"] = Field(
        "calibrated",
        description="calibrated: a column drifts if its week is unusual among the reference's own weeks. fixed: "
        "PSI above 0.1, 0.2, 0.25 is MINOR, MODERATE, SEVERE, whatever the column's own movement. Of 2,000 weeks of 20 "
        "hourly features without drift, calibrated called 3 % MINOR and 0.05 % MODERATE, fixed called 100 % MINOR or "
        "worse, 99 % MODERATE or worse, 96 % SEVERE (benchmarks/drift_rates.py).",
    )
    q: float = Field(
        0.05,
        gt=0,
        le=0.2,
        description="Expected share of false findings among the drifted columns (Benjamini-Hochberg).",
    )
    window_days: int = Field(
        7,
        ge=7,
        le=56,
        multiple_of=7,
        description="Days that are compared: whole weeks, so that daily and weekly patterns are no drift. Daily bars "
        "need 28, and a longer reference.",
    )
    reference_weeks: int = Field(
        52, ge=26, le=520, description="Weeks of the reference: at least 26 windows, which the test needs."
    )
    html: bool = Field(
        True,
        description="Write the heat map of the last day of a run as HTML, and of a drift Evidently's report: 9 MB.",
    )

    @property
    def window(self) -> pd.Timedelta:
        """Length of a window."""
        return pd.Timedelta(days=self.window_days)

    @property
    def reference_windows(self) -> int:
        """Whole windows in the reference."""
        return 7 * self.reference_weeks // self.window_days

    @model_validator(mode="after")
    def _reference_is_long_enough(self) -> DriftPolicy:
        if self.reference_windows < NEEDED_WINDOWS:
            needed = NEEDED_WINDOWS * self.window_days // 7
            raise ValueError(
                f"reference_weeks = {self.reference_weeks}; window_days = {self.window_days} needs {needed} or more"
            )
        return self
