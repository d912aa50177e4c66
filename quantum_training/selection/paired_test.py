"""Net returns of two strategies on the same bars, and the test of their difference. What follows from it is rule.py."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from quantum_training.trading.metrics import NOISE

NO_BARS = np.empty(0)


class MarketReturns(NamedTuple):
    """Returns of a position of 1. bars: on the bars compared, (bars,). before: of the UTC days before, (days,)."""

    bars: np.ndarray
    before: np.ndarray


class PairedReturns(NamedTuple):
    """Net returns of a challenger and of the incumbent on the same bars, (bars,) each; an incumbent of zeros is flat.

    day: the number of each bar's UTC day, never falling; the bars of a day are one block. A bar without a decision is
    in it as flat. position, incumbent_position: held over each bar, (bars,); needed if `market` is given.
    """

    challenger: np.ndarray
    incumbent: np.ndarray
    day: np.ndarray
    market: MarketReturns | None = None
    position: np.ndarray = NO_BARS
    incumbent_position: np.ndarray = NO_BARS


class PairedTest(NamedTuple):
    """Mean and standard deviation of the daily differences, and the z of their t statistic; None without variance."""

    blocks: int
    mean: float
    deviation: float
    z: float | None


def paired_test(pair: PairedReturns) -> PairedTest:
    """Is the challenger's mean daily net return above the incumbent's? z has the p-value of Student's t of the blocks.

    Blocks of a day make the test hold under the dependence of bars that follow each other. If the market's returns are
    given, what a larger position than the incumbent's earned by itself is not taken from the bars compared alone, in
    which a market that falls rarely and deeply may not have fallen yet, but from all its days: the regression estimator
    of double sampling (Cochran, "Sampling Techniques", 1977, chapter 12). Its coefficient is the mean position so far,
    which is known before each bar, so that it has no bias if positions answer to what the market did (Stambaugh 1999).
    """
    from scipy.special import ndtri, stdtr

    blocks = daily(pair.challenger - pair.incumbent, pair.day)
    mean, deviation = _estimate(blocks, pair)
    if deviation <= NOISE:
        return PairedTest(len(blocks), mean, deviation, None)
    statistic = mean / deviation * np.sqrt(len(blocks))
    z = float(np.sign(statistic) * -ndtri(max(stdtr(len(blocks) - 1, -abs(statistic)), 1e-300)))
    return PairedTest(len(blocks), mean, deviation, z)


def daily(returns: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Sums of the returns by day, in the order of the days. day: as in PairedReturns, never falling."""
    return np.bincount(np.cumsum(np.diff(day, prepend=day[:1]) != 0), weights=returns)


def _estimate(blocks: np.ndarray, pair: PairedReturns) -> tuple[float, float]:
    """The mean difference of a day, and the standard deviation of one day that the mean's error corresponds to."""
    if len(blocks) < 2:
        return (float(blocks.mean()) if len(blocks) else 0.0), 0.0
    if pair.market is None or len(pair.market.before) < 2:
        return float(blocks.mean()), float(blocks.std(ddof=1))
    more, before = pair.position - pair.incumbent_position, pair.market.before
    usual = np.cumsum(more) / np.arange(1, len(more) + 1)
    weight = len(before) / (len(before) + len(blocks))
    timed = blocks - weight * daily(usual * pair.market.bars, pair.day)
    passive = weight * usual.mean()
    variance = timed.var(ddof=1) + passive**2 * before.var(ddof=1) / len(before) * len(blocks)
    return float(timed.mean() + passive * before.mean()), float(np.sqrt(variance))
