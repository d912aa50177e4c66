"""What is done if a source has changed bars that are stored: refused, restated or kept, as the settings say.

How bars differ is revision.py. Restating whole months is lifecycle.restatement.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from quantum_training.market.defects import Defect
from quantum_training.market.revision import CORRECTION, TOLERANCE, Revision
from quantum_training.market.schema import as_candles
from quantum_training.market.window import BARS_LISTED

RevisionPolicy = Literal["refuse", "restate", "keep"]

REVISED = "revised_history"
"""Name of the defect that stored bars and those that the source gives now do not fit together."""

SETTLING_TIME = pd.Timedelta(hours=1)
"""Bars that opened within this time before the newest one may, as that one, not have been final when stored."""

_REFETCH = (
    "materialise candles and features of all stored months again, oldest first, with `revisions: refuse` and config "
    "refetch: true"
)
REMEDIES = {
    "refuse": "set `revisions: restate` for the symbol if the source adjusts for dividends or splits, or materialise "
    "candles and features of all stored months again, oldest first, with config refetch: true",
    "restate": f"compare them with another source, and if the new ones are right, {_REFETCH}",
    "keep": "set `revisions: restate` for the symbol: newer bars do not follow on from those that are kept",
}


class Settled(NamedTuple):
    """Compared bars as they are to be stored, the defects, and which bars have other values than they had."""

    bars: pd.DataFrame
    defects: list[Defect]
    renewed: pd.DatetimeIndex


def settle(symbol: str, revision: Revision, policy: RevisionPolicy, month: pd.Timestamp) -> Settled:
    """What becomes of stored bars that their source has changed. month: start of the month that is completed.

    Newest bars that differ, while one before them does not, were not final when they were stored: they are renewed,
    unless the policy is `keep`. If it is `restate`, so are all bars of the month. An error of the rule REVISED: the
    change is refused, or whole months have to be restated.
    """
    differing = np.flatnonzero(revision.differing)
    added = revision.added if policy == "restate" else revision.added[:0]
    renewed = revision.times[differing].union(pd.DatetimeIndex(added.index))
    if renewed.empty:
        return Settled(revision.stored, [], renewed)
    in_month = policy == "restate" and not revision.is_rescaled and bool((renewed >= month).all())
    if in_month or (policy != "keep" and added.empty and _was_not_final(revision, differing)):
        bars = as_candles(pd.concat([revision.bars, added]).sort_index())
        return Settled(bars, _moved_far(symbol, revision, differing), renewed)
    defects = _stays(symbol, revision, policy, differing)
    return Settled(revision.stored, defects, renewed[:0])


def _was_not_final(revision: Revision, differing: np.ndarray) -> bool:
    """Whether only the newest bars differ; if there is no bar before them, by a correction at most."""
    is_newest = bool((revision.times[differing] >= revision.times[-1] - SETTLING_TIME).all())
    is_correction = not revision.is_rescaled and bool(revision.price_changes.max() <= CORRECTION)
    return is_newest and (is_correction or differing[0] > 0)


def _moved_far(symbol: str, revision: Revision, differing: np.ndarray) -> list[Defect]:
    """A warning of renewed bars of which a price has moved by more than a correction."""
    far = differing[
        (revision.price_changes[differing].max(axis=1, initial=0) > CORRECTION)
        | (np.abs(revision.price_factors[differing] - 1) > CORRECTION)
    ]
    return [_defect(symbol, "renewed_bar", revision, far, "now as the source gives them")] if len(far) else []


def _stays(symbol: str, revision: Revision, policy: RevisionPolicy, differing: np.ndarray) -> list[Defect]:
    """The defects of bars that stay as they are stored: none if only volumes differ."""
    moved = np.flatnonzero(revision.moved)
    if policy == "keep" and not (revision.price_factors[-2:] != 1).all():
        return [_defect(symbol, "kept_bar", revision, differing, "as stored, by `revisions: keep`")]
    if policy == "refuse" and not revision.is_rescaled and _is_ordinary(revision):
        return [_defect(symbol, "corrected_bar", revision, moved, "as stored")] if len(moved) else []
    return [_defect(symbol, REVISED, revision, differing, f"refused; {REMEDIES[policy]}", "error")]


def _is_ordinary(revision: Revision) -> bool:
    """Whether at most two prices of each bar are corrected, by at most 1 %."""
    changes = revision.price_changes
    return bool(changes.max() <= CORRECTION and ((changes > TOLERANCE).sum(axis=1) <= 2).all())


def _defect(
    symbol: str,
    rule: str,
    revision: Revision,
    bars: np.ndarray,
    outcome: str,
    severity: Literal["error", "warning"] = "warning",
) -> Defect:
    """A defect that says of the first of these bars what was changed, how many there are, and what becomes of them."""
    if len(bars):
        what, times = f"{revision.words(int(bars[0]))}; {len(bars)} bar(s)", revision.times[bars]
    else:
        times = pd.DatetimeIndex(revision.added.index)
        what = f"the source has {len(times)} bar(s) more, first {times[0]};"
    place = f"{symbol} bar {times[0]}: {rule}: {what} {outcome}"
    return Defect(rule, severity, tuple(times[:BARS_LISTED]), place, tuple(times[BARS_LISTED:]))
