"""The rules of the quality gate that look at time and at neighbouring bars. One rule, one function of a Window.

What a single bar must be is said by schema.py; which rules run, and on what, by quality.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quantum_training.market.calendars import periods_per_year
from quantum_training.market.defects import Defect, QualityLimits, Severity
from quantum_training.market.schema import PRICES
from quantum_training.market.timeframe import to_timedelta

BARS_LISTED = 50
_VOLUME_SCALES = ((4, 1.0), (10, 0.5))  # bars each side, share of them beyond the level: short and clear, long and noisy
SIGMA_BARS = 60
_MIN_SIGMA_BARS = 20
_SPLITS = np.array([1.5, 2.5, *range(2, 13)])  # beyond 12 every ratio is near a whole one


@dataclass(frozen=True)
class Window:
    """The bars under judgement and what they are judged against."""

    symbol: str
    timeframe: str
    calendar: str
    start: pd.Timestamp
    end: pd.Timestamp
    limits: QualityLimits
    expected: pd.DatetimeIndex  # bar starts that the calendar expects in [start, end)
    stamps: pd.DatetimeIndex  # bar starts as they came
    history: pd.DataFrame  # bars that can be computed with, in order, those before the window first
    first: int  # position in `history` of the window's first bar

    def defect(
        self, rule: str, bars: pd.DatetimeIndex, finding: str, remedy: str, severity: Severity = "error"
    ) -> Defect:
        """A defect whose message names symbol, rule, first bars, number of bars, finding and remedy."""
        place = f"{len(bars)} bar(s), first {', '.join(map(stamp, bars[:3]))}: " if len(bars) else ""
        message = f"{self.symbol} {self.timeframe} {rule}: {place}{finding}. {remedy}."
        return Defect(rule, severity, tuple(bars[:BARS_LISTED]), message)


Rule = Callable[[Window], Iterator[Defect]]


def stamp(bar: pd.Timestamp) -> str:
    """A bar's start as people write it."""
    return f"{bar:%Y-%m-%d %H:%M}"


def outside_window(w: Window) -> Iterator[Defect]:
    """Every bar starts in [start, end)."""
    bars = w.stamps[(w.stamps < w.start) | (w.stamps >= w.end)]
    if len(bars):
        finding = f"outside of {stamp(w.start)} to {stamp(w.end)}"
        yield w.defect("outside_window", bars, finding, "Let the source give the asked window only")


def off_calendar(w: Window) -> Iterator[Defect]:
    """Every bar in the window starts where the calendar has one."""
    bars = w.stamps[(w.stamps >= w.start) & (w.stamps < w.end) & ~w.stamps.isin(w.expected)]
    if len(bars):
        near = w.expected[max(0, w.expected.searchsorted(bars[0]) - 1) :][:2]
        yield w.defect(
            "off_calendar",
            bars,
            f"no bar of calendar {w.calendar} starts there (nearest: {', '.join(map(stamp, near)) or 'none'})",
            "Check timeframe and calendar of the symbol, the source's time zone, and that it stamps the bar's start",
        )


def missing_bars(w: Window) -> Iterator[Defect]:
    """Bars that the calendar expects are there, but for a budget of real outages.

    The budget is a share of 30 days also for a shorter window: the month in progress must not be refused for an outage
    that the whole month may have. Before the first bar ever, a market may not have been listed: a warning.
    """
    missing = ~w.expected.isin(w.stamps)
    if w.first == 0:
        unlisted = int(np.argmin(missing)) if not missing.all() else 0
        if unlisted:
            yield w.defect(
                "late_start",
                w.expected[:unlisted],
                f"history begins at {stamp(w.expected[unlisted])}",
                "Expected if it was listed then; else reload the earlier bars",
                "warning",
            )
        missing[:unlisted] = False
    count = int(missing.sum())
    if not count:
        return
    month = periods_per_year(w.calendar, w.timeframe) * 30 / 365
    budget = int(w.limits.max_missing_share * max(month, len(w.expected)))
    at = np.flatnonzero(missing)
    runs = np.split(at, np.flatnonzero(np.diff(at) > 1) + 1)
    longest = max(map(len, runs))
    hours = longest * to_timedelta(w.timeframe) / pd.Timedelta(hours=1)
    over = count > budget or hours > w.limits.max_missing_hours
    yield w.defect(
        "missing_bars",
        w.expected[missing],
        f"missing of {len(w.expected)} expected in {len(runs)} run(s), the longest {longest} bars or {hours:g} h; tolerated "
        f"are {budget} bars (max_missing_share) and {w.limits.max_missing_hours:g} h in a row (max_missing_hours)",
        "Reload the window; if the market was really closed, check its calendar or raise the limit" if over else "Tolerated",
        "error" if over else "warning",
    )


def stale(w: Window) -> Iterator[Defect]:
    """Prices move: no long run of bars with the same open, high, low and close."""
    prices = w.history[list(PRICES)].to_numpy()
    same = np.r_[False, (prices[1:] == prices[:-1]).all(axis=1)]
    starts = np.flatnonzero(~same)
    lengths = np.diff(np.r_[starts, len(same)])
    for i, n in zip(starts, lengths, strict=True):
        if n >= w.limits.stale_bars and i + n > w.first:
            yield w.defect(
                "stale",
                _index(w.history)[i : i + n],
                f"open {prices[i, 0]:g}, high {prices[i, 1]:g}, low {prices[i, 2]:g}, close {prices[i, 3]:g} repeated "
                f"{n} times; {w.limits.stale_bars} in a row (stale_bars) are a stuck feed",
                "Reload the window or take another source",
            )


def jumps(w: Window) -> Iterator[Defect]:
    """No split in the prices; other large moves are reported.

    A split shows as a step from a close to the next open that is near a split ratio and large against volatility
    (1.4826 x median |log return| of the 60 bars before, scaled by the square root of the time between the bars).
    """
    times = _index(w.history)
    opens, closes = np.log(w.history["open"].to_numpy()), np.log(w.history["close"].to_numpy())
    if len(times) < 2:
        return
    root = np.sqrt(np.diff(times.asi8) / to_timedelta(w.timeframe).value)
    gap, move = opens[1:] - closes[:-1], np.diff(closes)
    typical = pd.Series(np.abs(move) / root).rolling(SIGMA_BARS, min_periods=_MIN_SIGMA_BARS).median().shift()
    sigma = 1.4826 * typical.to_numpy() * root
    step = np.abs(gap)
    distance = np.abs(step[:, None] - np.log(_SPLITS)).min(axis=1)
    splits = (step >= np.log(w.limits.min_split_ratio)) & (step >= w.limits.split_sigmas * np.nan_to_num(sigma))
    splits &= (distance <= w.limits.split_tolerance) | (step > np.log(_SPLITS.max()))
    large = (sigma > 0) & (np.maximum(step, np.abs(move)) >= w.limits.jump_sigmas * sigma) & ~splits
    judged = np.arange(1, len(times)) >= w.first

    def worded(i: int, after: float, name: str) -> str:
        usual = "unknown" if np.isnan(sigma[i]) else f"{sigma[i]:.2%}"
        return f"{name} {np.exp(after):.6g} after close {np.exp(closes[i]):.6g}, one standard deviation being {usual}"

    for i in np.flatnonzero(splits & judged):
        whole = distance[i] <= w.limits.split_tolerance
        nearest = _SPLITS[np.argmin(np.abs(step[i] - np.log(_SPLITS)))] if whole else np.exp(step[i])
        ratio = f"{nearest:.3g}:1" if gap[i] < 0 else f"1:{nearest:.3g}"
        yield w.defect(
            "split_like_jump",
            times[i + 1 : i + 2],
            f"{worded(i, opens[i + 1], 'open')}: like a {ratio} split",
            "Load prices adjusted for splits, earlier months too",
        )
    if (large & judged).any():
        i = int(np.argmax(np.where(large & judged, np.maximum(step, np.abs(move)), 0)))
        yield w.defect(
            "large_jump",
            times[1:][large & judged],
            f"the largest at {stamp(times[i + 1])}, {worded(i, closes[i + 1], 'close')}",
            "Compare with another source",
            "warning",
        )


def volume_unit_switch(w: Window) -> Iterator[Defect]:
    """Volume keeps its unit: its level does not change by a large factor and stay there.

    Levels are told apart where all of 4 bars lie beyond all of the 4 bars before, or the medians of 10 and 10 bars differ,
    by the factor. Bars without volume are left out.
    """
    volume = w.history["volume"].to_numpy()
    times, traded = _index(w.history)[volume > 0], np.log(volume[volume > 0])
    for n, share in _VOLUME_SCALES:
        if len(traded) < 2 * n:
            return
        sides = np.lib.stride_tricks.sliding_window_view(traded, n)
        low, high = np.quantile(sides, [1 - share, share], axis=1)
        change = np.maximum(low[n:] - high[:-n], low[:-n] - high[n:])  # [i]: bars i+n .. i+2n-1 against i .. i+n-1
        change[times[2 * n - 1 :] < w.start] = 0  # judged with the window before
        peak = int(np.argmax(change))
        if change[peak] < np.log(w.limits.volume_switch_factor):
            continue
        near = np.arange(peak + n - n // 2, peak + n + n // 2)  # medians tell the bar only roughly
        at = int(near[np.argmax(np.abs(traded[near] - traded[near - 1]))])
        before, after = (np.exp(np.median(traded[slice(*side)])) for side in ((at - n // 2, at), (at, at + n // 2)))
        yield w.defect(
            "volume_unit_switch",
            times[at : at + 1],
            f"volume goes from about {before:.6g} to {after:.6g} and stays there, a factor of {np.exp(abs(change[peak])):.3g} or "
            f"more (price there: {w.history['close'].loc[times[at]]:.6g}); {w.limits.volume_switch_factor:g} "
            "(volume_switch_factor) is a switch of units, as from base to quote currency",
            "Check the source's volume column before and after that bar",
        )
        return


def _index(frame: pd.DataFrame) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(frame.index)


RULES: tuple[Rule, ...] = (outside_window, off_calendar, missing_bars, stale, jumps, volume_unit_switch)
