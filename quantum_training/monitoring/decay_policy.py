"""Settings of the decay report, and its fixed figures. The statistics are in cusum.py and decay.py."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

NEEDED_DAYS = 28
"""UTC days with bars before a champion took office that make a baseline."""

TOLERANCE = 0.1
"""Share of the baseline's Sharpe ratio that the rule `below_baseline` tolerates as a loss."""


class DecayPolicy(BaseModel):
    """How a champion's record in office is compared with its record before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Literal["cusum", "below_baseline"] = Field(
        "cusum",
        description="cusum: losses against the expected daily return add up; the limit is set so that a champion "
        "without decay crosses it with probability `alpha`. below_baseline: the Sharpe ratio of the last "
        "`window_weeks` weeks is more than 10 % below the baseline's. Of simulated champions without decay, each the "
        "best of 5 recipes, cusum alarmed for 3 % within 26 weeks, below_baseline for 100 % (docs/learning_loop).",
    )
    alpha: float = Field(
        0.05, gt=0, le=0.2, description="Probability of an alarm within `weeks` weeks if nothing has decayed."
    )
    weeks: int = Field(
        26, ge=4, le=260, description="Weeks that `alpha` is spread over. After them the sum begins again at 0."
    )
    sharpe_spread: float = Field(
        1.5,
        gt=0,
        le=10,
        description="Your belief about recipes: the standard deviation, around 0, of their true annualised Sharpe "
        "ratios. A champion was chosen for its record, so the record flatters it; this belief and the length of the "
        "record say how much less to expect. Larger: fewer missed decays, more false alarms.",
    )
    window_weeks: int = Field(4, ge=1, le=52, description="Weeks that the rule below_baseline looks at.")
