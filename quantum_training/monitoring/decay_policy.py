"""What an operator can set about decay, and the figures that are fixed. The statistics are cusum.py and decay.py."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

NEEDED_DAYS = 28
"""UTC days with bars before a champion took office, below which its record is no baseline."""

TOLERANCE = 0.1
"""What the rule `below_baseline` forgives: a tenth of the baseline's Sharpe ratio."""


class DecayPolicy(BaseModel):
    """How a champion's record in office is held against its own record before it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Literal["cusum", "below_baseline"] = Field(
        "cusum",
        description="cusum: losses against the expected daily return add up; the limit is set so that a champion "
        "without decay passes it with probability `alpha`. below_baseline: the Sharpe ratio of the last "
        "`window_weeks` weeks is more than 10 % below the baseline's. Of simulated champions without decay, each the "
        "best of 5 recipes, cusum alarmed for 3 % within 26 weeks, below_baseline for 100 % (docs/learning_loop).",
    )
    alpha: float = Field(
        0.05, gt=0, le=0.2, description="Probability of an alarm within `weeks` weeks where nothing has decayed."
    )
    weeks: int = Field(
        26, ge=4, le=260, description="Weeks that `alpha` is spread over. Then the sum begins again at 0."
    )
    sharpe_spread: float = Field(
        1.5,
        gt=0,
        le=10,
        description="Standard deviation, around 0, of the annualised Sharpe ratios that recipes truly have, as you "
        "believe. A champion was chosen for its record, so that the record flatters it: it is expected to go on only "
        "as well as this belief and the length of the record allow. Larger: fewer decays missed, more false alarms.",
    )
    window_weeks: int = Field(4, ge=1, le=52, description="Weeks that the rule below_baseline looks at.")
