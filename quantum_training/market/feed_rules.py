"""Rules of the quality gate about a feed that repeats itself: stuck bars, filled outages, stretches copied."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from quantum_training.market.defects import QUIET, Defect
from quantum_training.market.timeframe import to_timedelta
from quantum_training.market.window import USUAL_BARS, Window, stamp

_STANDING_SHARE = 0.1  # flat or repeated bars among the others: that a market stands still is nothing new
_COARSE_TICK = 0.01  # of the price: the market cannot move by less than 1 %
_COPIED_BARS = 3  # bars in a row that equal earlier ones in all five values: no chance


def tick(prices: np.ndarray) -> float:
    """The smallest step that the decimals of some prices allow; 0 if they have more than ten, as adjusted prices do."""
    for decimals in range(11):
        units = prices * 10.0**decimals
        if (np.abs(units - np.rint(units)) <= 1e-6).all() and (units >= 0.5).all():
            return 10.0**-decimals
    return 0.0


def stale(w: Window) -> Iterator[Defect]:
    """Prices move: no long run of bars with the same open, high, low and close.

    Repeated with its volume, a bar is a feed's that is stuck. Without volume nobody traded: an outage, filled. With
    volumes of their own the bars are true if the market often stands still, or if its price is near its tick.
    """
    same = np.r_[False, (w.prices[1:] == w.prices[:-1]).all(axis=1)]
    starts = np.flatnonzero(~same)
    lengths = np.diff(np.r_[starts, len(same)])
    standing: list[int] = []
    for i, n in zip(starts.tolist(), lengths.tolist(), strict=True):
        if n < w.limits.stale_bars or i + n <= w.first:
            continue
        volume = w.volume[i : i + n]
        stuck = volume[0] > 0 and (volume == volume[0]).all()
        if not stuck and _stands_still(w, i, n, same):
            standing += range(i, i + n)
            continue
        untraded = not volume[1:].any()
        hours = n * (to_timedelta(w.period.timeframe) / pd.Timedelta(hours=1))
        quiet = QUIET["max_missing_hours"] if w.period.fills_untraded else 0
        brief = untraded and hours <= max(w.limits.max_missing_hours, quiet)
        what = "with the same volume" if stuck else "without volume" if untraded else "at a market that seldom stands"
        open_, high, low, close = w.prices[i]
        yield w.defect(
            "stale",
            w.times[i : i + n],
            f"open {open_:g}, high {high:g}, low {low:g}, close {close:g} repeated {n} times {what}; "
            f"{w.limits.stale_bars} in a row (stale_bars) are a stuck feed or a filled outage",
            "Reload the window or take another source",
            "warning" if brief else "error",
        )
    if standing:
        finding = "the same prices again and again, as often at this market"
        yield w.defect("stale", w.times[standing], finding, "Nothing, if it is a market with few trades", "warning")


def _stands_still(w: Window, i: int, n: int, same: np.ndarray) -> bool:
    """Whether repeated prices are usual: many other bars are flat or repeated, too, or the tick is coarse."""
    others = np.r_[0:i, i + n : len(same)]
    still = same | (w.ranges == 0)
    if len(others) and still[others].mean() >= _STANDING_SHARE:
        return True
    return bool(tick(w.prices[max(0, i - USUAL_BARS) : i + n]) >= _COARSE_TICK * w.prices[i, 3])


def copied_stretch(w: Window) -> Iterator[Defect]:
    """No stretch stands there twice: not three bars in a row that moved and equal earlier ones in all five values."""
    values = np.c_[w.prices, w.volume]
    key = values @ np.sqrt([2.0, 3.0, 5.0, 7.0, 11.0])  # equal rows have equal keys
    order = np.argsort(key, kind="stable")
    repeats = np.flatnonzero(np.diff(key[order]) == 0)
    if not len(repeats):
        return
    earlier, later = order[repeats], order[repeats + 1]
    moved = (w.ranges[later] > 0) & (w.volume[later] > 0) & (values[earlier] == values[later]).all(axis=1)
    lag = np.zeros(len(values), int)
    lag[later[moved]] = (later - earlier)[moved]
    at = np.flatnonzero(lag > 1)  # a lag of one bar: `stale`
    for run in np.split(at, np.flatnonzero((np.diff(at) > 1) | (np.diff(lag[at]) != 0)) + 1):
        if len(run) >= _COPIED_BARS and run[-1] >= w.first:
            finding = f"the same five values as in the bars from {stamp(w.times[run[0] - lag[run[0]]])}"
            yield w.defect("copied_stretch", w.times[run], finding, "Reload the window; each bar has its own values")
