"""When a new champion is rolled back: it does worse than the former one, or falls deeper than its record explains.

What follows from it is decided in champion.py.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from quantum_training.selection.boundary import boundaries
from quantum_training.selection.guardrails import SEED
from quantum_training.selection.paired_test import PairedReturns, paired_test
from quantum_training.trading.bootstrap import block_length, resampled_rows
from quantum_training.trading.metrics import NOISE, max_drawdown
from quantum_training.trading.uncertainty import MIN_BARS

RESAMPLES = 1000


class RollbackPolicy(BaseModel):
    """How a new champion is monitored. The former one is still scored in the shadow, so harm is tested in pairs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alpha: float = Field(
        0.025, gt=0, le=0.2, description="Probability that the test of harm rolls back a champion that is no worse."
    )
    weeks: int = Field(26, ge=1, le=260, description="Weeks after a promotion in which harm is tested.")
    min_blocks: int = Field(20, ge=5, le=260, description="UTC days with bars before harm is tested.")
    drawdown_quantile: float = Field(
        0.99, gt=0.5, lt=1, description="Quantile of the drawdowns, resampled from its record, that it may not exceed."
    )


class Harm(BaseModel):
    """What the monitoring found in a week; `reason` says which limit was crossed, None if none was.

    z is positive if the champion does worse than the former one. drawdown: since the promotion, as a positive fraction;
    its limit is None if the record before the promotion was too short to compute one.
    """

    model_config = ConfigDict(frozen=True)

    against: str
    blocks: int
    z: float | None
    boundary: float | None
    drawdown: float
    drawdown_limit: float | None
    reason: str | None


def monitor_harm(
    policy: RollbackPolicy, pair: PairedReturns, fractions: tuple[float, ...], limit: float | None, former: str | None
) -> Harm:
    """Judge a champion by the bars since its promotion.

    pair: the FORMER champion as challenger, the present one as incumbent. fractions: share of the planned blocks at
    each interim analysis so far; empty before the first one and after `policy.weeks`. limit: of the drawdown.
    """
    tested = paired_test(pair)
    bound = boundaries(policy.alpha, fractions)[-1] if fractions else np.inf
    drawdown = abs(max_drawdown(pair.incumbent))
    against = former or "staying flat"
    reason = None
    if limit is not None and drawdown > limit:
        reason = f"drawdown {drawdown:.1%} since its promotion, beyond the {limit:.1%} that its record explains"
    elif tested.z is not None and tested.z >= bound:
        reason = f"worse than {against}: z {tested.z:.2f} of {bound:.2f}, {fractions[-1]:.0%} of the evidence"
    return Harm(
        against=against,
        blocks=tested.blocks,
        z=tested.z,
        boundary=float(bound) if np.isfinite(bound) else None,
        drawdown=drawdown,
        drawdown_limit=limit,
        reason=reason,
    )


def harm_is_building(harm: Harm | None, share: float) -> bool:
    """Is the z of a week's harm at least this share of its boundary?"""
    return harm is not None and harm.z is not None and harm.boundary is not None and harm.z >= share * harm.boundary


def drawdown_limit(daily: np.ndarray, horizon: int, quantile: float) -> float | None:
    """The drawdown that `horizon` days of such returns exceed with probability 1 - `quantile`, as a positive fraction.

    daily: net returns of the record, (days,). By the stationary bootstrap with the optimal block length, seeded. A
    record tells the mean return only roughly, so each path gets the mean of another resample of the record; otherwise a
    lucky record would set too tight a limit. None with fewer than 20 days or without variance.
    """
    if len(daily) < MIN_BARS or daily.std() <= NOISE:
        return None
    paths, means = resampled(daily, horizon)
    equity = np.cumprod(1 + paths + means[:, None] - daily.mean(), axis=1)
    peak = np.maximum(np.maximum.accumulate(equity, axis=1), 1.0)
    return float(np.quantile((1 - equity / peak).max(axis=1), quantile))


def resampled(daily: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Paths of `horizon` days drawn from a record, (1000, horizon), and the means of 1000 redrawn records, (1000,).

    daily: returns that vary, (days,). By the stationary bootstrap with the optimal block length, seeded.
    """
    block = int(np.clip(np.ceil(np.nan_to_num(block_length(daily), nan=1.0)), 1, len(daily)))
    repeated = np.resize(daily, max(horizon, len(daily)))
    paths = [repeated[rows[:horizon]] for rows in resampled_rows(len(repeated), block, RESAMPLES, SEED)]
    means = [daily[rows].mean() for rows in resampled_rows(len(daily), block, RESAMPLES, SEED + 1)]
    return np.array(paths), np.array(means)
