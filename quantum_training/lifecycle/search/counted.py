"""How many independent trials a search was, and what is left of its best result when they are counted.

Correlated trials are grouped as in Lopez de Prado and Lewis (2019), Detection of false investment strategies using
unsupervised learning methods: a group is one trial. A search without groups is counted by its mean correlation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from quantum_training.lifecycle.search.study import FinishedTrial
from quantum_training.trading.metrics import NOISE, Number, sharpe
from quantum_training.trading.overfitting import probability_of_overfitting
from quantum_training.trading.uncertainty import deflated_sharpe

LEAST_SILHOUETTE = 0.1
"""Mean silhouette from which on groups are real. Simulated: at most 0.04 without groups, at least 0.17 of groups that
correlate by 0.3 over 300 bars."""
LEAST_CORRELATION = 0.15
"""Mean correlation within a group that counts as one trial. What is left over when the others are grouped has 0."""


class EffectiveTrials(NamedTuple):
    """number: of independent trials, between 1 and all of them. groups: the trials of each, as positions."""

    number: float
    groups: tuple[tuple[int, ...], ...]


class Count(NamedTuple):
    """A search's best trial, judged by all of its trials. variance: of the groups' Sharpe ratios per bar."""

    effective: EffectiveTrials
    variance: float
    overfitting: Number
    deflated_sharpe: Number


def count_trials(trials: Sequence[FinishedTrial], best: FinishedTrial) -> Count:
    """The number of effective trials, the probability of backtest overfitting and the deflated Sharpe ratio.

    trials: those that have returns. A pruned one is compared on the bars that it has. The probability of overfitting,
    which needs the same bars of all, is that of the complete trials.
    """
    effective = effective_trials(correlations([trial.net for trial in trials]))
    ratios = [sharpe(_pooled([trials[member].net for member in group]), 1.0)[0] for group in effective.groups]
    defined = [ratio for ratio in ratios if ratio is not None]
    variance = float(np.var(defined, ddof=1)) if len(defined) > 1 else 0.0
    complete = [trial.net for trial in trials if trial.state == "complete"]
    return Count(
        effective,
        variance,
        probability_of_overfitting(np.column_stack(complete)),
        deflated_sharpe(best.net, whole(effective.number), variance),
    )


def whole(number: float) -> int:
    """A number of effective trials as it is counted: rounded up, for a search is never fewer trials than it looks."""
    return int(np.ceil(number - 1e-9))


def correlations(returns: Sequence[np.ndarray]) -> np.ndarray:
    """Pairwise correlations of return series that begin at the same bar, (series, series), each over the shorter one.

    1 for equal series and 0 if one of two does not vary.
    """

    @cache
    def centred(trial: int, bars: int) -> tuple[np.ndarray, float]:
        values = returns[trial][:bars] - returns[trial][:bars].mean()
        return values, float((values * values).sum())

    count = len(returns)
    matrix = np.eye(count)
    for one in range(count):
        for other in range(one):
            bars = min(len(returns[one]), len(returns[other]))
            if np.array_equal(returns[one][:bars], returns[other][:bars]):
                value = 1.0
            else:
                (a, of_a), (b, of_b) = centred(one, bars), centred(other, bars)
                spread = math.sqrt(of_a * of_b)
                value = min(max(float((a * b).sum()) / spread, -1.0), 1.0) if spread > NOISE**2 else 0.0
            matrix[one, other] = matrix[other, one] = value
    return matrix


def effective_trials(correlation: np.ndarray) -> EffectiveTrials:
    """The number of independent trials among those of a correlation matrix, and their groups.

    The distance of two trials is sqrt((1 - correlation) / 2), and each is described by its distances to all. The number
    of groups is that of the best quality, the mean of the silhouettes over their standard deviation, among all numbers;
    a group that falls into groups of its own is divided again (ibid., base and top level). The groups are those of
    Ward's tree, which minimises what k-means does and begins with no random numbers. Ibid. each group is one trial.

    Without groups (LEAST_SILHOUETTE) the paper's number would be any: N independent trials came out as 2 to N / 2.
    Then, and for what is left over beside real groups, it is r + (1 - r) N with the mean correlation r (Bailey and
    Lopez de Prado 2014, The deflated Sharpe ratio, appendix A.3), and each trial is a group of its own.
    """
    twins: dict[int, list[int]] = {}
    for trial, row in enumerate(correlation):  # the same returns again are the same trial
        twins.setdefault(int(np.flatnonzero(row >= 1 - NOISE)[0]), []).append(trial)
    distinct = np.array([*twins])
    number, groups = _count(correlation, distinct, is_part=False)
    with_twins = (tuple(sorted(twin for member in group for twin in twins[member])) for group in groups)
    return EffectiveTrials(min(max(number, 1.0), float(len(distinct))), tuple(with_twins))


def _count(correlation: np.ndarray, members: np.ndarray, is_part: bool) -> tuple[float, list[tuple[int, ...]]]:
    matrix = correlation[np.ix_(members, members)]
    size = len(members)
    mean = (matrix.sum() - size) / (size * (size - 1)) if size > 1 else 1.0
    labels, silhouette = best_groups(np.sqrt((1 - matrix) / 2)) if size > 2 else (np.zeros(size, int), 0.0)
    if silhouette >= LEAST_SILHOUETTE:
        parts = [_count(correlation, members[labels == label], True) for label in np.unique(labels)]
        return sum(number for number, _ in parts), [group for _, groups in parts for group in groups]
    if is_part and mean >= LEAST_CORRELATION:
        return 1.0, [tuple(members.tolist())]
    r = max(float(mean), 0.0)
    return r + (1 - r) * size, [(member,) for member in members.tolist()]


def best_groups(distance: np.ndarray) -> tuple[np.ndarray, float]:
    """The groups of the best quality, a label per row, and their mean silhouette. distance: (n, n), of at least 3."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist, squareform

    between = pdist(distance)
    tree, square = linkage(between, "ward"), squareform(between)
    best, quality, silhouette = np.zeros(len(distance), int), -np.inf, 0.0
    for count in range(2, len(distance)):
        labels = fcluster(tree, count, "maxclust")
        values = silhouettes(square, labels)
        spread = float(values.std())
        if spread > NOISE and values.mean() / spread > quality:
            best, quality, silhouette = labels, float(values.mean()) / spread, float(values.mean())
    return best, silhouette


def silhouettes(distance: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(b - a) / max(a, b) of each row: mean distance to its own group and to the nearest other one (Rousseeuw 1987).

    0 for a group of one, and without a second group.
    """
    names, codes = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        return np.zeros(len(labels))
    sizes = np.bincount(codes)
    sums = np.column_stack([distance[:, codes == code].sum(axis=1) for code in range(len(names))])
    rows = np.arange(len(labels))
    own = sums[rows, codes] / np.maximum(sizes[codes] - 1, 1)
    others = sums / sizes
    others[rows, codes] = np.inf
    nearest = others.min(axis=1)
    largest = np.maximum(own, nearest)
    values = np.divide(nearest - own, largest, out=np.zeros_like(own), where=largest > 0)
    return np.where(sizes[codes] > 1, values, 0.0)


def _pooled(returns: Sequence[np.ndarray]) -> np.ndarray:
    """The returns of a group as one series, weighted by the inverse of each variance (ibid.), over the shortest one."""
    bars = min(map(len, returns))
    rows = np.stack([net[:bars] for net in returns])
    variances = rows.var(axis=1)
    weights = np.divide(1.0, variances, out=np.zeros_like(variances), where=variances > NOISE**2)
    total = weights.sum()
    pooled: np.ndarray = (weights / total) @ rows if total > 0 else rows.mean(axis=0)
    return pooled
