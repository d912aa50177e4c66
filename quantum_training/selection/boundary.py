"""When repeated looks at growing evidence may end it: O'Brien-Fleming boundaries by Lan-DeMets error spending.

Pure numbers; what is looked at lives in rule.py.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

POINTS = 1001
REACH = 8.0  # standard deviations: beyond, a normal density is below 1e-14
LEAST = 1e-12  # an error smaller than this is not spent: no finite boundary could be told from another


def spent(alpha: float, fraction: float) -> float:
    """One-sided error that may be used up at this fraction of the information: 2 - 2 Z(z_{1 - alpha/2} / sqrt(t)).

    Lan and DeMets (1983), their O'Brien-Fleming form. 0 at fraction 0, alpha at 1.
    """
    from scipy.special import ndtr, ndtri

    return 2 * float(ndtr(ndtri(alpha / 2) / math.sqrt(fraction))) if fraction > 0 else 0.0


def boundaries(alpha: float, fractions: tuple[float, ...]) -> tuple[float, ...]:
    """The normal z at which each look ends the evidence; inf at a look that is too early to end it.

    alpha: one-sided error over all looks together. fractions: share of the planned information at each look, rising in
    (0, 1]. The looks need not be known beforehand nor be evenly spaced: each spends what its fraction allows. By
    recursive integration of the score's density among paths that have not crossed (Armitage, McPherson, Rowe 1969).
    ValueError if the fractions do not rise or leave (0, 1].
    """
    if not 0 < alpha < 0.5 or any(b <= a for a, b in zip((0.0, *fractions), (*fractions, math.inf), strict=True)):
        raise ValueError(f"alpha {alpha} must be in (0, 0.5) and the fractions rise in (0, 1]: {fractions}")
    if fractions and fractions[-1] > 1:
        raise ValueError(f"fraction {fractions[-1]} of the planned information is above 1; plan for all of it")
    return _walk(alpha, fractions)[0]


@lru_cache(maxsize=4096)
def _walk(alpha: float, fractions: tuple[float, ...]) -> tuple[tuple[float, ...], np.ndarray, np.ndarray]:
    """Boundaries, and on a grid of the score the density times width of the paths that cross none of them."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    if not fractions:
        return (), np.zeros(1), np.ones(1)
    past, scores, mass = _walk(alpha, fractions[:-1])
    before, now = (fractions[-2] if len(fractions) > 1 else 0.0), fractions[-1]
    step, top = math.sqrt(now - before), REACH * math.sqrt(now)
    allowed = spent(alpha, now) - spent(alpha, before)
    bound = math.inf
    if allowed > LEAST:
        bound = float(brentq(lambda b: mass @ ndtr((scores - b) / step) - allowed, -top, top, xtol=1e-10))
    grid = np.linspace(-top, min(bound, top), POINTS)
    width = np.full(POINTS, grid[1] - grid[0])
    width[[0, -1]] /= 2
    density = np.exp(-0.5 * ((grid[:, None] - scores) / step) ** 2) @ mass / (step * math.sqrt(2 * math.pi))
    return (*past, bound / math.sqrt(now)), grid, density * width
