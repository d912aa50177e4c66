"""Ranks within a cross-section: where each member's value lies among those of all members at the same bar."""

from __future__ import annotations

import numpy as np

RANK = "rank"
"""How the name of a ranked column ends."""


def ranks_within(values: np.ndarray, min_members: int) -> np.ndarray:
    """The rank of each member at each bar: 0 for the lowest value, 1 for the highest, evenly spaced between them.

    values: members x bars x columns, NaN for who has none or is no member. Equal values share the mean of their ranks,
    so that all equal ones have 0.5. NaN for a member without a value, and if fewer than `min_members`, at least 2, have
    one.
    """
    count = (~np.isnan(values)).sum(axis=0)
    ranked = count >= max(min_members, 2)
    scale = np.where(ranked, count - 1, 1)
    ranks = np.empty_like(values)
    for member, own in enumerate(values):
        below = (values < own).sum(axis=0)
        others_equal = (values == own).sum(axis=0) - 1
        ranks[member] = np.where(ranked & ~np.isnan(own), (below + others_equal / 2) / scale, np.nan)
    return ranks
