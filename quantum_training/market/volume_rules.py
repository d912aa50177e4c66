"""The rule of the quality gate about volume: it is counted in one unit, of coins or dollars, of shares or lots."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quantum_training.market.defects import Defect
from quantum_training.market.window import USUAL_BARS, Window

_SCALES = ((4, 1.0), (10, 0.5))  # bars each side, quantile of them that must differ: clear, or noisy
_NOISE = 3.0  # standard deviations of log volume that a level must change by
_WITH_DIGITS = np.log(3)  # is enough of a change if the volume's last digit moves with it
_NO_GRID = 99
_sliding = np.lib.stride_tricks.sliding_window_view


def volume_unit_switch(w: Window) -> Iterator[Defect]:
    """Volume keeps its unit: its level does not change by a large factor and stay there while bars are as wide as ever.

    Levels differ if each of 4 bars is beyond each of the 4 bars before by the factor, or if the medians of 10 and 10
    bars are apart by it; by a factor of 3, if the last digit of volumes moves with it, as by a factor of ten. More
    trading moves prices more: what the bars grew wider by is taken off. Bars without volume are left out.
    """
    traded = w.volume > 0
    times, amounts, ranges = w.times[traded], w.volume[traded], np.maximum(w.ranges[traded], 0)
    if len(amounts) < 2 * _SCALES[0][0]:
        return
    volume, width = np.log(amounts), np.log(ranges + 0.1 * np.median(ranges) + 1e-6)
    for n, share in _SCALES:
        if len(volume) < 2 * n:
            return
        change = _changes(volume, width, n, share)
        change[times[2 * n - 1 :] < w.period.start] = 0  # judged with the period before
        large = np.flatnonzero(change >= np.log(w.limits.volume_switch_factor))
        peaks = [i for i in large if change[i] >= _NOISE * _noise(volume[: i + n])]
        if not peaks and n > _SCALES[0][0]:
            peaks = [i for i in np.flatnonzero(change >= _WITH_DIGITS) if _digits_moved(amounts[i : i + 2 * n])]
        if not peaks:
            continue
        peak = max(peaks, key=lambda i: float(change[i]))
        near = np.arange(peak + n - n // 2, peak + n + n // 2)  # medians locate the bar only roughly
        at = int(near[np.argmax(np.abs(volume[near] - volume[near - 1]))])
        before, after = (np.exp(np.median(volume[slice(*side)])) for side in ((at - n // 2, at), (at, at + n // 2)))
        yield w.defect(
            "volume_unit_switch",
            times[at : at + 1],
            f"volume goes from about {before:.6g} to {after:.6g} and stays, a factor of {np.exp(change[peak]):.3g} or "
            f"more beyond what the bars' range explains (price there: {w.history['close'].loc[times[at]]:.6g}); "
            f"{w.limits.volume_switch_factor:g} (volume_switch_factor), or 3 if its last digit moves, too, is a switch "
            "of units, as from base to quote currency",
            "Check the source's volume column before and after that bar",
        )
        return


def _changes(volume: np.ndarray, width: np.ndarray, n: int, share: float) -> np.ndarray:
    """[i]: how far log volume in bars i+n .. i+2n-1 is from that in bars i .. i+n-1, less what wider bars explain."""
    low, high = np.quantile(_sliding(volume, n), [1 - share, share], axis=1)
    up, down = low[n:] - high[:-n], low[:-n] - high[n:]
    middle = np.median(_sliding(width, n), axis=1)
    wider = middle[n:] - middle[:-n]
    changes: np.ndarray = np.maximum(up - np.maximum(wider, 0), down - np.maximum(-wider, 0))
    return changes


def _noise(volume: np.ndarray) -> float:
    """Robust standard deviation of log volume before a bar."""
    recent = volume[-USUAL_BARS:]
    return float(1.4826 * np.median(np.abs(recent - np.median(recent))))


def _digits_moved(amounts: np.ndarray) -> bool:
    """Whether the last digit of volumes moves by a decimal place half-way, to the side to which their level moves."""
    before, after = np.split(amounts, 2)
    places = _last_places(before).max(), _last_places(after).max()
    rises = np.median(after) > np.median(before)
    return bool(_NO_GRID not in places and (places[0] > places[1] if rises else places[0] < places[1]))


def _last_places(amounts: np.ndarray) -> np.ndarray:
    """Decimal place of each amount's last digit: 2 for 0.25, 0 for 7, -2 for 300; 99 if it has more than 11 digits."""
    places = np.full(len(amounts), _NO_GRID)
    for place in range(10, -7, -1):
        units = amounts * 10.0**place
        places[(np.abs(units - np.rint(units)) <= 1e-3) & (units >= 0.5) & (units < 1e11)] = place
    return places
