"""The uncertainty of a Sharpe ratio: bootstrap intervals, and the probability that it is better than chance.

One convention: Sharpe ratios per bar, never annualised, in all formulas; skewness and NON-excess kurtosis of the
sample; the variance at the observed Sharpe ratio, over T - 1 (Bailey and Lopez de Prado 2012, 2014).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quantum_training.trading.bootstrap import block_length, resampled_rows
from quantum_training.trading.metrics import NOISE, Number, finite, sharpe

RESAMPLES = 500  # the bounds of a 95 % interval move by about a tenth of its width between seeds
MIN_BARS = 20
EULER = 0.5772156649015329


@dataclass(frozen=True)
class SharpeBootstrap:
    """Annualised Sharpe ratios of the same resampled bars: (resamples, strategies), NaN where undefined."""

    strategies: tuple[str, ...]
    sharpes: np.ndarray
    confidence: float
    bars: int

    def interval(self, strategy: str) -> tuple[float, float] | None:
        """Lower and upper bound of a strategy's Sharpe ratio; None with fewer than 20 bars or without variance."""
        return self._percentiles(self._column(strategy))

    def difference(self, strategy: str, other: str, choices: int = 1) -> tuple[float, float] | None:
        """Bounds of one Sharpe ratio less another's, bar by bar on the same resamples. 0 inside: not distinguishable.

        choices: of how many strategies this one was chosen for its result; the bounds then hold for all of them
        together (Bonferroni).
        """
        return self._percentiles(self._column(strategy) - self._column(other), choices)

    def _column(self, strategy: str) -> np.ndarray:
        return self.sharpes[:, self.strategies.index(strategy)]

    def _percentiles(self, values: np.ndarray, choices: int = 1) -> tuple[float, float] | None:
        if self.bars < MIN_BARS or not np.isfinite(values).all():
            return None
        outside = 50 * (1 - self.confidence) / choices
        low, high = np.percentile(values, [outside, 100 - outside])
        return float(low), float(high)


def sharpe_bootstrap(
    returns: pd.DataFrame, periods: float, seed: int, resamples: int = RESAMPLES, confidence: float = 0.95
) -> SharpeBootstrap:
    """Resample all strategies together by stationary bootstrap (Politis and Romano 1994), percentile intervals.

    returns: (bars, strategies) net returns of the same bars, finite. periods: bars in a year. The mean block length is
    the largest of the strategies' optimal ones (Politis and White 2004, Patton et al. 2009), rounded up, at most a
    third of the bars. A resample in which a strategy never moved counts as 0. Deterministic in its arguments.
    """
    values = finite(returns.to_numpy(), "net return")
    names = tuple(map(str, returns.columns))
    varies = values.std(axis=0) > NOISE if len(values) else np.zeros(len(names), bool)
    if len(values) < MIN_BARS or not varies.any():
        return SharpeBootstrap(names, np.full((1, len(names)), np.nan), confidence, len(values))
    lengths = [block_length(series) for series in values[:, varies].T]
    block = int(np.clip(np.ceil(np.nan_to_num(np.fmax.reduce(lengths), nan=1.0)), 1, len(values) // 3))
    both = np.ascontiguousarray(np.hstack([values, values**2]).T)
    totals = np.empty((resamples, len(both)))
    for row, rows in enumerate(resampled_rows(len(values), block, resamples, seed)):
        counts = np.bincount(rows, minlength=len(values)).astype("float64")
        totals[row] = np.einsum("kt,t->k", both, counts)  # not BLAS: its bits depend on the number of threads
    mean, square = np.hsplit(totals / len(values), 2)
    spread = np.sqrt(np.maximum(square - mean**2, 0.0) * len(values) / (len(values) - 1))
    sharpes = np.where(varies, 0.0, np.full_like(mean, np.nan))
    np.divide(mean * math.sqrt(periods), spread, out=sharpes, where=varies & (spread > NOISE))
    return SharpeBootstrap(names, sharpes, confidence, len(values))


def probabilistic_sharpe(net: np.ndarray, benchmark: float = 0.0) -> Number:
    """PSR: probability that the true Sharpe ratio per bar is above `benchmark` (per bar). net: returns per bar.

    None with too_few_bars or no_variance, as are the functions below.
    """
    ratio, reason = sharpe(net, 1.0)
    return (None, reason) if ratio is None else (psr(ratio, len(net), *_shape(net), benchmark), None)


def deflated_sharpe(net: np.ndarray, trials: int, variance: float) -> Number:
    """DSR: PSR against the best Sharpe ratio that `trials` strategies without skill would show.

    variance: of the trials' Sharpe ratios per bar.
    """
    return probabilistic_sharpe(net, expected_max_sharpe(trials, variance))


def minimum_track_record(net: np.ndarray, benchmark: float = 0.0, confidence: float = 0.95) -> Number:
    """MinTRL: bars needed until the Sharpe ratio is above `benchmark` (per bar) with this confidence.

    None with sharpe_not_above_benchmark if no number of bars is enough.
    """
    ratio, reason = sharpe(net, 1.0)
    if ratio is None:
        return None, reason
    if ratio <= benchmark:
        return None, "sharpe_not_above_benchmark"
    return min_trl(ratio, *_shape(net), benchmark, confidence), None


def standard_error(ratio: float, bars: float, skew: float = 0.0, kurtosis: float = 3.0) -> float:
    """sqrt((1 - g3 SR + (g4 - 1)/4 SR^2) / (T - 1)), Mertens (2002)."""
    return math.sqrt(_variance(ratio, skew, kurtosis) / (bars - 1))


def psr(ratio: float, bars: float, skew: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0) -> float:
    """Z[(SR - SR*) / standard error], Bailey and Lopez de Prado (2012)."""
    from scipy.stats import norm

    return float(norm.cdf((ratio - benchmark) / standard_error(ratio, bars, skew, kurtosis)))


def min_trl(ratio: float, skew: float, kurtosis: float, benchmark: float, confidence: float) -> float:
    """1 + (1 - g3 SR + (g4 - 1)/4 SR^2) (Z^-1(confidence) / (SR - SR*))^2, ibid. In bars."""
    from scipy.stats import norm

    return 1 + _variance(ratio, skew, kurtosis) * (float(norm.ppf(confidence)) / (ratio - benchmark)) ** 2


def expected_max_sharpe(trials: int, variance: float) -> float:
    """Expected largest of `trials` Sharpe ratios of mean 0 and this variance, Bailey and Lopez de Prado (2014).

    0 for one trial. ValueError without a trial, and if the variance is negative.
    """
    from scipy.stats import norm

    if trials < 1 or not variance >= 0:
        raise ValueError(f"{trials} trials with variance {variance}: at least one trial and no negative variance")
    if trials == 1:
        return 0.0
    first, second = norm.ppf(1 - 1 / trials), norm.ppf(1 - 1 / (trials * math.e))
    return float(math.sqrt(variance) * ((1 - EULER) * first + EULER * second))


def _variance(ratio: float, skew: float, kurtosis: float) -> float:
    return 1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2


def _shape(net: np.ndarray) -> tuple[float, float]:
    """Skewness and non-excess kurtosis."""
    from scipy.stats import kurtosis, skew

    return float(skew(net)), float(kurtosis(net, fisher=False))
