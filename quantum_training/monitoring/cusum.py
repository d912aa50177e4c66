"""One-sided CUSUM of daily returns against a baseline, with a limit for a given rate of false alarms.

Arithmetic on daily returns. A champion's record and the report on it: decay.py.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from quantum_training.monitoring.decay_policy import DecayPolicy
from quantum_training.selection.guardrails import SEED
from quantum_training.selection.harm import resampled

HALF_LIFE = 10
"""Days after which a return counts half in the volatility of the day."""


class CalibratedCusum(NamedTuple):
    """A calibrated CUSUM. Returns are in units of the volatility known the day before, see `scaled`.

    mean: expected daily return; deviation: standard deviation of a day; slack: the reference value k, in deviations;
    limit: of the sum. floor, variance: state of the volatility at the end of the baseline. sharpe, sharpe_sd: mean and
    standard deviation of the expected annualised Sharpe ratio.
    """

    mean: float
    deviation: float
    slack: float
    limit: float
    floor: float
    variance: float
    sharpe: float
    sharpe_sd: float

    def sums(self, daily: np.ndarray, first: int = 0) -> np.ndarray:
        """S after each day from number `first` on. daily: net returns of all days since the baseline, (days,)."""
        units = scaled(daily, self.floor, self.variance)[0][first:]
        return cusum((self.mean - units) / self.deviation - self.slack)


def calibrate(daily: np.ndarray, horizon: int, per_year: float, policy: DecayPolicy) -> CalibratedCusum:
    """The CUSUM of a champion with this record, whose limit is crossed in `horizon` days without decay with probability
    alpha.

    daily: net returns of the record, (days,), with some variance. per_year: days in a year. The slack is half of the
    expected mean, which is best for detecting that all of it is lost (Page 1954, Lorden 1971).

    The expected mean is less than the record shows, because a champion is chosen for its record. The true Sharpe ratio
    has a normal prior around 0 with the policy's `sharpe_spread`; the record is the evidence, and the posterior of a
    normal mean needs no correction for the choice. The limit is a quantile over paths of the stationary bootstrap. Each
    path has a mean from that posterior, because a mean taken as certain would set too tight a limit.
    """
    floor = float(daily.std(ddof=1))
    units, variance = scaled(daily, floor, floor**2)
    mean, deviation = float(units.mean()), float(units.std(ddof=1))
    paths, means = resampled(units, horizon)
    spread = policy.sharpe_spread * deviation / math.sqrt(per_year)
    weight = spread**2 / (spread**2 + float(means.var()))
    expected, uncertainty = weight * mean, spread * math.sqrt(1 - weight)
    slack = max(expected, 0.0) / 2 / deviation
    shifts = expected - mean + uncertainty * np.random.default_rng(SEED).standard_normal(len(paths))
    highest = cusum((expected - paths - shifts[:, None]) / deviation - slack).max(axis=1)
    annual = math.sqrt(per_year) / deviation
    return CalibratedCusum(
        mean=expected,
        deviation=deviation,
        slack=slack,
        limit=float(np.quantile(highest, 1 - policy.alpha)),
        floor=floor,
        variance=variance,
        sharpe=expected * annual,
        sharpe_sd=uncertainty * annual,
    )


def cusum(steps: np.ndarray) -> np.ndarray:
    """S_t = max(0, S_{t-1} + step_t) along the last axis, S_0 = 0."""
    walk = np.cumsum(steps, axis=-1)
    return walk - np.minimum(np.minimum.accumulate(walk, axis=-1), 0.0)


def scaled(daily: np.ndarray, floor: float, variance: float) -> tuple[np.ndarray, float]:
    """Returns in units of the volatility known before each day, (days,), and the variance after the last.

    The variance is an exponential average of squared returns that starts at `variance`. A day's unit is the root of it,
    but at least `floor`. So a more volatile market does not look like decay, and a quiet one does not look like luck.
    """
    decay = 0.5 ** (1 / HALF_LIFE)
    units = np.empty(len(daily))
    for day, value in enumerate(daily.tolist()):
        units[day] = value / max(math.sqrt(variance), floor)
        variance = decay * variance + (1 - decay) * value * value
    return units, variance
