"""Rules of the quality gate about prices that step: splits and other adjustments, ticks that are wrong, large moves.

A step explains itself. News come with a wide bar and with much trading; where prices are only written in another unit,
the bar that follows is like any other.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from quantum_training.market.defects import Defect
from quantum_training.market.feed_rules import tick
from quantum_training.market.window import USUAL_BARS, Window

_MIN_GAPS = 12  # of a kind, to tell how large they usually are
_SMALL_GAP = 0.1  # of the usual move: where bars follow each other without a pause, gaps are next to nothing
_MAX_ACTIVITY = 20
_STEPS_JUDGED = 200  # of a period: one with more is broken anyway
_TICKS = 2  # a step of so many ticks may always happen
_SPLITS = np.array([1.1, 1.2, 1.25, 4 / 3, 1.5, 2.5, *range(2, 21)])
_MIN_WICK = np.log(1.1)  # a shorter one matters to nobody
_SWAPPED = 1.25  # of 32,000 true stretches of 20 bars none is above 1.17
_SWAPPED_BARS, _MIN_SWAPPED_BARS = 30, 20
_BAD_RANGE = np.log(20)  # within one bar: a market goes there and back only with ten times its usual volume
_BAD_RANGE_VOLUME = 10
_MIN_SIGMA_BARS = 20


def splits(w: Window) -> Iterator[Defect]:
    """Prices are written in one unit: no step from a close to the next open that the bar itself does not explain.

    A step is measured in gaps that are usual here, times the bar's activity. From `split_sigmas` on it is an error. If
    the bar explains it in part, a split on the night of news cannot be told from news: a warning.
    """
    doubtful = []
    for i, size in _steps(w).items():
        if size >= w.limits.split_sigmas:
            yield w.defect(
                "split_like_jump",
                w.times[i : i + 1],
                f"{_words(w, i)}: {_ratio(w, i)}, {size:.1f} times what is usual there ({w.limits.split_sigmas:g} are "
                "the limit, split_sigmas), while the bar has no range or volume to explain it",
                "Load prices adjusted for splits, earlier months too",
            )
        else:
            doubtful.append(i)
    if doubtful:
        finding = (
            f"{_words(w, doubtful[0])}: {_ratio(w, doubtful[0])}, which range and volume of the bar explain in part"
        )
        yield w.defect("split_like_jump", w.times[doubtful], finding, "Compare with another source", "warning")


def _steps(w: Window) -> dict[int, float]:
    """Bars of the period that open at least the smallest split, and more than some ticks, off the close before.

    With the size of the step: in usual gaps, over the bar's activity. Only those that are doubtful at least.
    """
    large = np.abs(w.gaps) >= np.log(w.limits.min_split_ratio)
    large[: max(1, w.first)] = False  # judged with the period before
    sizes = {
        i: abs(w.gaps[i]) / (_usual_gap(w, i) * activity(w, i))
        for i in np.flatnonzero(large)[:_STEPS_JUDGED].tolist()
        if abs(w.prices[i, 0] - w.prices[i - 1, 3]) > (_TICKS + 0.5) * _tick_at(w, i)
    }
    return {i: size for i, size in sizes.items() if size >= w.limits.split_sigmas / 2}


def _tick_at(w: Window, i: int) -> float:
    return tick(w.prices[max(0, i - USUAL_BARS) : i + 1])


def _usual_gap(w: Window, i: int) -> float:
    """Usual size of a gap like the one into bar i: after a pause of the market, or after none."""
    usual = w.usual(i)
    move = _mean(w.moves[usual])
    alike = np.flatnonzero((w.elapsed == 1) == (w.elapsed[i] == 1))
    alike = alike[(alike > 0) & (alike != i)]
    before = alike[alike < i][-USUAL_BARS:]
    alike = before if len(before) >= _MIN_GAPS else alike[:USUAL_BARS]
    if len(alike) < _MIN_GAPS:  # the move over such a time; without bars to compare with, that of a wild market
        return float(move * np.sqrt(w.elapsed[i])) if len(usual) >= _MIN_GAPS else 0.05
    return max(_mean(w.gaps[alike]), _SMALL_GAP * move, 1e-6)


def _mean(moves: np.ndarray) -> float:
    """Standard deviation of moves, from their mean size: few large ones raise it less, many zeros lower it less."""
    return 1.25 * float(np.abs(moves).mean()) if len(moves) else 0.0


def activity(w: Window, i: int) -> float:
    """How much larger than usual a gap into bar i may be, by what the bar shows of news: its range and its trading.

    Multiples of what is usual: of the range, and of volume and traded value, whose geometric mean counts, since a split
    changes one of them by its ratio, and an adjustment of prices alone the other; news multiply both. From 1 to 20:
    beyond that it is no news but another defect.
    """
    usual = w.usual(i)
    return float(np.clip(max(_multiple(w.ranges, i, usual), _trading(w, i, usual)), 1, _MAX_ACTIVITY))


def _trading(w: Window, i: int, usual: np.ndarray) -> float:
    """Multiple of the usual volume and traded value, 1 at least."""
    value = w.volume * w.prices[:, 3]
    return float(max(1.0, np.sqrt(_multiple(w.volume, i, usual) * _multiple(value, i, usual))))


def _multiple(values: np.ndarray, i: int, usual: np.ndarray) -> float:
    typical = (np.median(values[usual]) or values[usual].mean()) if len(usual) else 0.0
    return float(values[i] / typical) if typical else 1.0


def _words(w: Window, i: int) -> str:
    return f"open {w.prices[i, 0]:.6g} after close {w.prices[i - 1, 3]:.6g}"


def _bar_words(w: Window, i: int) -> str:
    open_, high, low, close = w.prices[i]
    return f"open {open_:.6g}, high {high:.6g}, low {low:.6g}, close {close:.6g}"


def _ratio(w: Window, i: int) -> str:
    """A step as people write splits, and the split that it may be."""
    size = np.exp(abs(w.gaps[i]))
    near = _SPLITS[np.argmin(np.abs(np.log(_SPLITS / size)))]
    like = f", near a split {near:.3g}" if abs(np.log(near / size)) <= w.limits.split_tolerance else ""
    return f"a step of {size:.3g}:1{like}" if w.gaps[i] < 0 else f"a step of 1:{size:.3g}{like}"


def bad_ticks(w: Window) -> Iterator[Defect]:
    """No bar reaches twenty times as high as low, as of prices in cents for dollars, without volume to explain it."""
    for i in np.flatnonzero(w.ranges >= _BAD_RANGE).tolist():
        if i < w.first:
            continue
        usual = w.usual(i)
        real = len(usual) < _MIN_GAPS or (w.volume[usual].any() and _multiple(w.volume, i, usual) >= _BAD_RANGE_VOLUME)
        _, high, low, _ = w.prices[i]
        yield w.defect(
            "bad_tick",
            w.times[i : i + 1],
            f"{_bar_words(w, i)}: high is {high / low:.3g} times low",
            "Compare with another source",
            "warning" if real else "error",
        )


def wicks(w: Window) -> Iterator[Defect]:
    """High and low are near open and close, and near what is usual, as they are not if one of them is a wrong tick.

    The longer wick of a bar is measured in usual ranges, times the bar's trading. From `wick_ranges` on it is an error,
    from half of it a warning. `bad_ticks` has the bars of twenty times the low.
    """
    tops, bottoms = w.prices[:, [0, 3]].max(axis=1), w.prices[:, [0, 3]].min(axis=1)
    long = np.maximum(np.log(w.prices[:, 1] / tops), np.log(bottoms / w.prices[:, 2]))
    large = (long >= _MIN_WICK) & (w.ranges < _BAD_RANGE)
    large[: w.first] = False
    doubtful = []
    for i in np.flatnonzero(large)[:_STEPS_JUDGED].tolist():
        usual = w.usual(i)
        typical = max(np.median(w.ranges[usual]), w.ranges[usual].mean()) if len(usual) >= _MIN_GAPS else np.inf
        size = long[i] / (max(typical, 1e-6) * _trading(w, i, usual))
        if size >= w.limits.wick_ranges:
            finding = (
                f"{_bar_words(w, i)}: a wick of {size:.0f} usual ranges, {w.limits.wick_ranges:g} being the limit "
                "(wick_ranges), while the volume does not explain it"
            )
            yield w.defect("long_wick", w.times[i : i + 1], finding, "Compare high and low with another source")
        elif size >= w.limits.wick_ranges / 2:
            doubtful.append(i)
    if doubtful:
        finding = f"{_bar_words(w, doubtful[0])}: a long wick, which the volume of the bar explains in part"
        yield w.defect("long_wick", w.times[doubtful], finding, "Compare with another source", "warning")


def open_close_swapped(w: Window) -> Iterator[Defect]:
    """Bars open near the close before, nearer than they close to the open before.

    In a file whose columns open and close are swapped, it is the other way round, over all its bars.
    """
    pairs = max(_SWAPPED_BARS, len(w.times) - w.first)
    opens, closes = np.log(w.prices[-pairs - 1 :, [0, 3]]).T
    if len(opens) <= _MIN_SWAPPED_BARS:
        return
    gap, span = np.abs(opens[1:] - closes[:-1]).mean(), np.abs(closes[1:] - opens[:-1]).mean()
    if gap >= _SWAPPED * span > 0:
        finding = f"they open {gap:.2%} from the close before on average, and close {span:.2%} from the open before"
        yield w.defect("open_close_swapped", w.times[w.first :], finding, "Check the source's columns open and close")


def large_jumps(w: Window) -> Iterator[Defect]:
    """Large moves that are no splits are reported: both markets and broken feeds have them.

    Sigma: 1.4826 x median |log return| of the 60 bars before, scaled by the root of the time between bars.
    """
    root = np.sqrt(w.elapsed[1:])
    median = pd.Series(np.abs(w.moves[1:]) / root).rolling(USUAL_BARS, min_periods=_MIN_SIGMA_BARS).median().shift()
    sigma = np.r_[np.nan, 1.4826 * median.to_numpy() * root]
    size = np.maximum(np.abs(w.gaps), np.abs(w.moves))
    large = (sigma > 0) & (size >= w.limits.jump_sigmas * sigma)
    large[[*range(max(1, w.first)), *_steps(w)]] = False
    if large.any():
        i = int(np.argmax(np.where(large, size, 0)))
        close, before = w.prices[i, 3], w.prices[i - 1, 3]
        finding = f"the largest closes at {close:.6g} after {before:.6g}, one standard deviation being {sigma[i]:.2%}"
        yield w.defect("large_jump", w.times[large], finding, "Compare with another source", "warning")
