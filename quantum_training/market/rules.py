"""The rules of the quality gate that look at time and at neighbouring bars. One rule, one function of a Window.

The rules for a single bar live in schema.py; which rules run, and on which bars, is decided in quality.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.market.calendars import periods_per_year
from quantum_training.market.defects import Defect, QualityLimits, Severity
from quantum_training.market.periods import MarketPeriod
from quantum_training.market.schema import PRICES
from quantum_training.market.timeframe import to_timedelta

BARS_LISTED = 50
_VOLUME_SCALES = ((4, 1.0), (10, 0.5))  # bars each side, quantile of them that must differ: clear, or noisy
_SIGMA_BARS = 60
_MIN_SIGMA_BARS = 20
_SPLITS = np.array([1.5, 2.5, *range(2, 13)])  # beyond 12 every ratio is near a whole one


class Moves(NamedTuple):
    """Log price moves into each bar of a history but its first."""

    into: pd.DatetimeIndex  # the bars
    gap: np.ndarray  # from the close before to the open
    move: np.ndarray  # from the close before to the close
    sigma: np.ndarray  # usual size of such a move, NaN if fewer than 20 bars are before it


@dataclass(frozen=True)
class Window:
    """The bars that are judged, and what they are compared with."""

    period: MarketPeriod
    limits: QualityLimits
    expected: pd.DatetimeIndex  # bar starts that the calendar expects in the period
    due: pd.DatetimeIndex  # those whose bars have closed by `end`
    stamps: pd.DatetimeIndex  # bar starts as the source gives them
    history: pd.DataFrame  # bars with usable numbers, in order, those before the period first
    first: int  # position in `history` of the period's first bar

    @cached_property
    def moves(self) -> Moves:
        """Sigma: 1.4826 x median |log return| of the 60 bars before, scaled by the root of the time between bars."""
        times = pd.DatetimeIndex(self.history.index)
        opens, closes = np.log(self.history["open"].to_numpy()), np.log(self.history["close"].to_numpy())
        root = np.sqrt(np.diff(times.asi8) / to_timedelta(self.period.timeframe).value)
        move = np.diff(closes)
        usual = pd.Series(np.abs(move) / root).rolling(_SIGMA_BARS, min_periods=_MIN_SIGMA_BARS).median().shift()
        return Moves(times[1:], opens[1:] - closes[:-1], move, 1.4826 * usual.to_numpy() * root)

    def defect(
        self, rule: str, bars: pd.DatetimeIndex, finding: str, remedy: str, severity: Severity = "error"
    ) -> Defect:
        """A defect whose message names symbol, rule, first bars, number of bars, finding and remedy."""
        place = f"{len(bars)} bar(s), first {', '.join(map(stamp, bars[:3]))}: " if len(bars) else ""
        message = f"{self.period.symbol} {self.period.timeframe} {rule}: {place}{finding}. {remedy}."
        return Defect(rule, severity, tuple(bars[:BARS_LISTED]), message, tuple(bars[BARS_LISTED:]))


Rule = Callable[[Window], Iterator[Defect]]


def stamp(bar: pd.Timestamp) -> str:
    """A bar's start as people write it."""
    return f"{bar:%Y-%m-%d %H:%M}"


def outside_window(w: Window) -> Iterator[Defect]:
    """Every bar opens in the period."""
    bars = w.stamps[(w.stamps < w.period.start) | (w.stamps >= w.period.end)]
    if len(bars):
        finding = f"outside of {stamp(w.period.start)} to {stamp(w.period.end)}"
        yield w.defect("outside_window", bars, finding, "Let the source give the asked window only")


def off_calendar(w: Window) -> Iterator[Defect]:
    """Every bar in the period opens when the calendar has one."""
    bars = w.stamps[(w.stamps >= w.period.start) & (w.stamps < w.period.end) & ~w.stamps.isin(w.expected)]
    if len(bars):
        near = w.expected[max(0, w.expected.searchsorted(bars[0]) - 1) :][:2]
        yield w.defect(
            "off_calendar",
            bars,
            f"no bar of calendar {w.period.calendar} starts there (nearest: {', '.join(map(stamp, near)) or 'none'})",
            "Check timeframe and calendar of the symbol, the source's time zone, and that it stamps the bar's start",
        )


def missing_bars(w: Window) -> Iterator[Defect]:
    """The bars that the calendar expects are there, except for a budget of real outages.

    The budget is a share of 30 days also for a shorter period: the month in progress must not be refused for an outage
    that a complete month may have. Before its first bar ever a market may not have been listed: a warning.
    """
    missing = ~w.due.isin(w.stamps)
    if w.first == 0:
        unlisted = int(np.argmin(missing)) if not missing.all() else 0
        if unlisted:
            yield w.defect(
                "late_start",
                w.due[:unlisted],
                f"history begins at {stamp(w.due[unlisted])}",
                "Expected if it was listed then; else reload the earlier bars",
                "warning",
            )
        missing[:unlisted] = False
    count = int(missing.sum())
    if not count:
        return
    month, in_a_row = periods_per_year(w.period.calendar, w.period.timeframe) * 30 / 365, w.limits.max_missing_hours
    budget = int(w.limits.max_missing_share * max(month, len(w.due)))
    at = np.flatnonzero(missing)
    runs = np.split(at, np.flatnonzero(np.diff(at) > 1) + 1)
    longest = max(map(len, runs))
    hours = longest * to_timedelta(w.period.timeframe) / pd.Timedelta(hours=1)
    over = count > budget or hours > in_a_row
    yield w.defect(
        "missing_bars",
        w.due[missing],
        f"missing of {len(w.due)} expected in {len(runs)} run(s), the longest {longest} bars or {hours:g} h; "
        f"tolerated are {budget} bars (max_missing_share), {in_a_row:g} h in a row (max_missing_hours)",
        "Reload the window; if the market was really closed, correct its calendar or raise the limit",
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


def _split_like(moves: Moves, limits: QualityLimits) -> np.ndarray:
    """Which steps from a close to the next open are near a split ratio, and large against volatility."""
    step = np.abs(moves.gap)
    near = np.abs(step[:, None] - np.log(_SPLITS)).min(axis=1) <= limits.split_tolerance
    large = (step >= np.log(limits.min_split_ratio)) & (step >= limits.split_sigmas * np.nan_to_num(moves.sigma))
    split_like: np.ndarray = large & (near | (step > np.log(_SPLITS.max())))
    return split_like


def _judged(w: Window) -> np.ndarray:
    """Which moves lead into a bar of the period; the others were judged with the period before."""
    return np.arange(1, len(w.history)) >= w.first


def _words(w: Window, i: int, price: str) -> str:
    """Move `i` as people write it."""
    after, before, sigma = w.history[price].iloc[i + 1], w.history["close"].iloc[i], w.moves.sigma[i]
    usual = "unknown" if np.isnan(sigma) else f"{sigma:.2%}"
    return f"{price} {after:.6g} after close {before:.6g}, one standard deviation being {usual}"


def splits(w: Window) -> Iterator[Defect]:
    """Prices are adjusted for splits: no step from a close to the next open looks like one."""
    moves = w.moves
    for i in np.flatnonzero(_split_like(moves, w.limits) & _judged(w)).tolist():
        size = np.exp(abs(moves.gap[i]))
        ratio = f"{size:.3g}:1" if moves.gap[i] < 0 else f"1:{size:.3g}"
        yield w.defect(
            "split_like_jump",
            moves.into[i : i + 1],
            f"{_words(w, i, 'open')}: a step of {ratio}, like a split",
            "Load prices adjusted for splits, earlier months too",
        )


def large_jumps(w: Window) -> Iterator[Defect]:
    """Large moves that are no splits are reported: both markets and broken feeds have them."""
    moves = w.moves
    size = np.maximum(np.abs(moves.gap), np.abs(moves.move))
    large = (moves.sigma > 0) & (size >= w.limits.jump_sigmas * moves.sigma) & _judged(w)
    large &= ~_split_like(moves, w.limits)
    if large.any():
        i = int(np.argmax(np.where(large, size, 0)))
        finding = f"the largest at {stamp(moves.into[i])}, {_words(w, i, 'close')}"
        yield w.defect("large_jump", moves.into[large], finding, "Compare with another source", "warning")


def volume_unit_switch(w: Window) -> Iterator[Defect]:
    """Volume keeps its unit: its level does not change by a large factor and stay there.

    Levels differ if each of 4 bars is beyond each of the 4 bars before by the factor, or if the medians of 10 and 10
    bars are apart by it. Bars without volume are left out.
    """
    volume = w.history["volume"].to_numpy()
    times, traded = _index(w.history)[volume > 0], np.log(volume[volume > 0])
    for n, share in _VOLUME_SCALES:
        if len(traded) < 2 * n:
            return
        sides = np.lib.stride_tricks.sliding_window_view(traded, n)
        low, high = np.quantile(sides, [1 - share, share], axis=1)
        change = np.maximum(low[n:] - high[:-n], low[:-n] - high[n:])  # [i]: bars i+n .. i+2n-1 against i .. i+n-1
        change[times[2 * n - 1 :] < w.period.start] = 0  # judged with the period before
        peak = int(np.argmax(change))
        if change[peak] < np.log(w.limits.volume_switch_factor):
            continue
        near = np.arange(peak + n - n // 2, peak + n + n // 2)  # medians locate the bar only roughly
        at = int(near[np.argmax(np.abs(traded[near] - traded[near - 1]))])
        before, after = (np.exp(np.median(traded[slice(*side)])) for side in ((at - n // 2, at), (at, at + n // 2)))
        yield w.defect(
            "volume_unit_switch",
            times[at : at + 1],
            f"volume goes from about {before:.6g} to {after:.6g} and stays, a factor of {np.exp(change[peak]):.3g} or "
            f"more (price there: {w.history['close'].loc[times[at]]:.6g}); {w.limits.volume_switch_factor:g} "
            "(volume_switch_factor) is a switch of units, as from base to quote currency",
            "Check the source's volume column before and after that bar",
        )
        return


def _index(frame: pd.DataFrame) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(frame.index)


RULES: tuple[Rule, ...] = (outside_window, off_calendar, missing_bars, stale, splits, large_jumps, volume_unit_switch)
