"""Leakage test of features: no row up to a cut may change if the bars after it change, or if history older than the
warm-up is taken away. The test of models is in model_leakage.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.features.indicators import WARMUP_BARS
from quantum_training.monitoring.random_markets import perturb_future

Compute = Callable[[pd.DataFrame, pd.Timestamp], pd.DataFrame]

TOLERANCE = 1e-9
"""What WARMUP_BARS promises: rows agree with a calculation over more history to this, in the feature's unit."""

FUTURE_BARS = 100
"""Bars that are replaced after a cut: more than any plausible look-ahead, such as a centred window or a day's shift."""


class FeatureReport(NamedTuple):
    """The result of `examine_features`. `failures` is empty if the features are sound.

    `rows` up to `cut` were compared under another future; `cut` is None if the month has no bars. `warmup_difference`
    is the largest change of a value when `older_bars` of history beyond WARMUP_BARS are taken away; None if there are
    no such bars.
    """

    failures: list[str]
    cut: pd.Timestamp | None
    rows: int
    older_bars: int
    warmup_difference: float | None


def examine_features(
    compute: Compute,
    candles: pd.DataFrame,
    stored: pd.DataFrame,
    spacing: pd.Timedelta,
    warmup_bars: int = WARMUP_BARS,
    cuts: int = 1,
) -> FeatureReport:
    """Examine stored features of consecutive bars, and the code `compute(candles, since)` that should have made them.

    `candles` are the bars they were computed from, with `warmup_bars` before them if the market is that old. There are
    three rules, and a failure names the feature and the bar:
    1. The code computes the stored bytes again.
    2. If every bar after one is replaced by rising or by falling bars, no bit of the rows up to it changes. That is
       tried after `cuts` bars, evenly spread; the only one is the middle bar.
    3. With exactly `warmup_bars` of history before the last of these bars, the rows from it on stay within TOLERANCE of
       those from the whole history.
    """
    if stored.empty:
        return FeatureReport([], None, 0, 0, None)
    since = stored.index[0]
    cut_bars = [stored.index[(len(stored) - 1) * (n + 1) // (cuts + 1)] for n in range(cuts)]
    recomputed = compute(candles, since)
    failures = []
    if difference := first_difference(stored, recomputed):
        failures.append(_not_repeated(difference, first_difference(recomputed, compute(candles, since))))
    for cut in cut_bars:
        futures = (
            compute(perturb_future(candles, cut, FUTURE_BARS, spacing, rising), since) for rising in (True, False)
        )
        past = recomputed.loc[:cut]
        if difference := next(filter(None, (first_difference(past, future.loc[:cut]) for future in futures)), None):
            failures.append(
                f"a feature looks ahead: with other bars after {cut}, {difference}; let it read bars <= its own"
            )
            break

    middle = int(candles.index.get_indexer(pd.DatetimeIndex([cut]))[0])
    older_bars = max(middle - warmup_bars, 0)
    if not older_bars:
        return FeatureReport(failures, cut, len(past), 0, None)
    long_history = compute(candles, candles.index[0]).loc[cut:]
    short_history = compute(candles.iloc[older_bars:], cut)
    if difference := first_difference(long_history, short_history, TOLERANCE):
        failures.append(
            f"a feature remembers more than the warm-up: without the {older_bars} bars before the last {warmup_bars}, "
            f"{difference}; shorten its memory or raise WARMUP_BARS"
        )
    changes = np.abs(long_history.to_numpy() - short_history.to_numpy())
    changes = changes[~np.isnan(changes)]
    return FeatureReport(failures, cut, len(past), older_bars, float(changes.max()) if changes.size else None)


def _not_repeated(difference: str, between_runs: str | None) -> str:
    if between_runs:
        return f"a feature is not deterministic: computed twice from the same bars, {between_runs}; fix its seed"
    return f"the stored bytes are not what the code computes: {difference}; re-materialise features"


def first_difference(before: pd.DataFrame, after: pd.DataFrame, tolerance: float = 0.0) -> str | None:
    """The first bar and column at which two frames differ by more than `tolerance`, in words; None if they agree.

    A value that is missing in one frame only is a difference.
    """
    if list(before.columns) != list(after.columns):
        different = sorted(set(before.columns) ^ set(after.columns)) or ["their order"]
        return f"the columns differ ({', '.join(different)})"
    if not before.index.equals(after.index):
        bars = before.index.symmetric_difference(after.index)
        return f"the bars differ ({len(before)} became {len(after)}, first at {bars[0] if len(bars) else '?'})"
    a, b = before.to_numpy(), after.to_numpy()
    differs = ~((np.abs(a - b) <= tolerance) | (np.isnan(a) & np.isnan(b)))
    if not differs.any():
        return None
    row, column = np.argwhere(differs)[0]
    return f"{before.columns[column]} of the bar {before.index[row]} went from {a[row, column]:g} to {b[row, column]:g}"
