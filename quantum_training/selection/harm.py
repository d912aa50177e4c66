"""When a champion is taken back: it does worse than the one before it, or falls deeper than its record explains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from quantum_training.selection.boundary import boundaries
from quantum_training.selection.guardrails import SEED
from quantum_training.selection.rule import PairedReturns, paired_test
from quantum_training.trading.metrics import NOISE, max_drawdown
from quantum_training.trading.uncertainty import MIN_BARS

RESAMPLES = 1000


class RollbackPolicy(BaseModel):
    """How a new champion is watched. The former one goes on in the shadow, so harm is tested in pairs."""

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
    """What the watch found in a week; `reason` says what was crossed, None where nothing was.

    z is positive where the champion does worse than the former. drawdown: since the promotion, as a positive fraction;
    its limit is None where the record before the promotion was too short to explain any.
    """

    model_config = ConfigDict(frozen=True)

    against: str
    blocks: int
    z: float | None
    boundary: float | None
    drawdown: float
    drawdown_limit: float | None
    reason: str | None


def watch(
    policy: RollbackPolicy, pair: PairedReturns, fractions: tuple[float, ...], limit: float | None, former: str | None
) -> Harm:
    """Judge a champion by the bars since its promotion.

    pair: the FORMER champion as challenger, the present one as incumbent. fractions: of the planned blocks at each look
    so far, empty before the first and after `policy.weeks`.
    """
    tested = paired_test(pair)
    bound = boundaries(policy.alpha, fractions)[-1] if fractions else np.inf
    fall = abs(max_drawdown(pair.incumbent))
    against = former or "staying flat"
    reason = None
    if limit is not None and fall > limit:
        reason = f"drawdown {fall:.1%} since its promotion, beyond the {limit:.1%} that its record explains"
    elif tested.z is not None and tested.z >= bound:
        reason = f"worse than {against}: z {tested.z:.2f} of {bound:.2f}, {fractions[-1]:.0%} of the evidence"
    return Harm(
        against=against,
        blocks=tested.blocks,
        z=tested.z,
        boundary=float(bound) if np.isfinite(bound) else None,
        drawdown=fall,
        drawdown_limit=limit,
        reason=reason,
    )


def building(harm: Mapping[str, Any] | None, share: float) -> bool:
    """Is the z of a recorded Harm at least this share of its boundary?"""
    z, boundary = (harm.get("z"), harm.get("boundary")) if harm else (None, None)
    return z is not None and boundary is not None and z >= share * boundary


def drawdown_limit(daily: np.ndarray, horizon: int, quantile: float) -> float | None:
    """The drawdown that `horizon` days of such returns exceed with probability 1 - `quantile`, as a positive fraction.

    daily: net returns of the record, (days,). By the stationary bootstrap with the optimal block length, seeded. The
    mean return is not known better than the record tells it, so each path has the mean of another resample of the
    record; a lucky record would set too tight a limit else. None with fewer than 20 days or without variance.
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
    from arch.bootstrap import StationaryBootstrap, optimal_block_length

    block = int(
        np.clip(np.ceil(np.nan_to_num(optimal_block_length(daily)["stationary"].iloc[0], nan=1.0)), 1, len(daily))
    )
    repeated = np.resize(np.arange(len(daily)), max(horizon, len(daily)))
    paths = [rows[:horizon] for (rows,), _ in StationaryBootstrap(block, repeated, seed=SEED).bootstrap(RESAMPLES)]
    means = [r.mean() for (r,), _ in StationaryBootstrap(block, daily, seed=SEED + 1).bootstrap(RESAMPLES)]
    return daily[np.array(paths)], np.array(means)
