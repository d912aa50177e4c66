"""Population stability index (PSI) and Kolmogorov-Smirnov distance (KS) of one column, over many weeks at once.

Arithmetic on finite values. What is unusual: calibration.py. How severe it is: severity.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

DECILES = np.linspace(0.1, 0.9, 9)
CATEGORIES = 3
"""A reference with at most so many different values is categorical."""

SMOOTHING = 0.5
"""Added to every count, so that an empty bin has a logarithm."""


class Bins(NamedTuple):
    """Bins of a reference. Each bin reaches up to its edge, which it includes; a last bin lies above all edges.

    `categorical`: each edge is one value with a bin of its own, and the last bin is for all other values.
    """

    edges: np.ndarray
    categorical: bool

    @property
    def number(self) -> int:
        """Number of bins."""
        return len(self.edges) + 1

    def codes(self, values: np.ndarray) -> np.ndarray:
        """The bin of each value, 0 to number - 1."""
        codes = np.searchsorted(self.edges, values)
        if self.categorical:
            codes[self.edges[np.minimum(codes, len(self.edges) - 1)] != values] = len(self.edges)
        return codes


def fit_bins(reference: np.ndarray) -> Bins:
    """Deciles of the reference, equal ones merged; its values themselves if there are fewer than 4 different ones.

    ValueError if it is empty.
    """
    if not len(reference):
        raise ValueError("the reference has no values to make bins of")
    values = np.unique(reference)
    if len(values) <= CATEGORIES:
        return Bins(values, True)
    return Bins(np.unique(np.quantile(reference, DECILES)), False)


def week_counts(bins: Bins, values: np.ndarray, weeks: np.ndarray, number: int) -> np.ndarray:
    """Counts by week and bin, shape (number, bins.number); `weeks` holds each value's week, 0 to number - 1."""
    flat = np.bincount(weeks * bins.number + bins.codes(values), minlength=number * bins.number)
    return flat.reshape(number, bins.number)


def shares(counts: np.ndarray) -> np.ndarray:
    """Smoothed shares of bins along the last axis."""
    smooth = counts + SMOOTHING
    return smooth / smooth.sum(axis=-1, keepdims=True)


def psi(actual: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """sum (a - e) ln(a / e) over the last axis, for shares a and e that are all positive (Siddiqi 2006)."""
    return np.sum((actual - expected) * np.log(actual / expected), axis=-1)


def ks(values: np.ndarray, weeks: np.ndarray, number: int, reference: np.ndarray) -> np.ndarray:
    """Largest distance between the distribution of each week's values and that of the sorted `reference`.

    `weeks` as in week_counts. Returns shape (number,); NaN for a week without values.
    """
    out = np.full(number, np.nan)
    if not len(values):
        return out
    order = np.argsort(values, kind="stable")
    values, weeks = values[order], weeks[order].astype(np.int16)
    below_or_at = np.searchsorted(reference, values, side="right") / len(reference)
    strictly_below = np.searchsorted(reference, values, side="left") / len(reference)
    by_week = np.argsort(weeks, kind="stable")
    weeks = weeks[by_week]
    starts = np.flatnonzero(np.diff(weeks, prepend=-1))
    sizes = np.diff(np.append(starts, len(weeks)))
    rank = np.arange(len(weeks)) - np.repeat(starts, sizes)
    size = np.repeat(sizes, sizes)
    # Between two values of the week its own distribution is constant, so the extremes lie at them or just before.
    above = (rank + 1) / size - below_or_at[by_week]
    below = strictly_below[by_week] - rank / size
    out[weeks[starts]] = np.maximum.reduceat(np.maximum(above, below), starts)
    return out


def leave_one_out_psi(counts: np.ndarray) -> np.ndarray:
    """PSI of each week, a row of `counts`, against all other weeks together."""
    return psi(shares(counts), shares(counts.sum(axis=0) - counts))


def leave_one_out_ks(values: np.ndarray, weeks: np.ndarray, number: int) -> np.ndarray:
    """KS of each week against all other weeks together; NaN for a week without values, or with all of them.

    A week's distance from the whole is its distance from the rest times the rest's share of the whole.
    """
    rest = len(values) - np.bincount(weeks, minlength=number)
    return ks(values, weeks, number, np.sort(values)) * len(values) / np.where(rest > 0, rest, np.nan)
