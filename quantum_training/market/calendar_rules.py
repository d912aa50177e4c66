"""Rules of the quality gate about time: bars lie in the period and on the calendar, and none is missing.

What a calendar expects is in calendars.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from quantum_training.market.calendars import ALWAYS_OPEN, periods_per_year
from quantum_training.market.defects import QUIET, Defect
from quantum_training.market.timeframe import DAY, beginning_at, to_timedelta
from quantum_training.market.window import Window, stamp

# Venues that never close were closed all the same, longer than a missing stretch may be. Binance: its 15-minute bars
# have none between these two.
_KNOWN_OUTAGES = ((pd.Timestamp("2018-02-08 00:15", tz="UTC"), pd.Timestamp("2018-02-09 10:00", tz="UTC")),)
_REOPENING_GAP = 0.05  # of the move that is usual over such a time: 30 of 30 outages of Binance begin within 0.1
_REOPENING_RANGE = 2.5  # times the usual range: prices of the other venues are reached within the first bar
_FLAT_FOR_MISSING = 0.5  # bars of a single trade for each bar of no trade; if trades come by chance, it is above 1


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
        begins = {beginning_at(w.period.timeframe, bar) for bar in w.stamps}
        is_moved = to_timedelta(w.period.timeframe) > DAY and len(begins) == 1
        yield w.defect(
            "off_calendar",
            bars,
            f"no bar of calendar {w.period.calendar} starts there (nearest: {', '.join(map(stamp, near)) or 'none'})",
            f"The source begins its bars on another day: set timeframe: {begins.pop()}"
            if is_moved
            else "Check timeframe and calendar of the symbol (other hours or days: {name: ..., add, drop, hours, "
            "breaks, align}; FX for currencies), the source's time zone, and that it stamps the bar's start",
        )


def missing_bars(w: Window) -> Iterator[Defect]:
    """The bars that the calendar expects are there, except for a budget of real outages.

    The budget is a share of 30 days also for a shorter period: the month in progress must not be refused for an outage
    that a complete month may have. An outage that explains itself, and bars without a trade at a market with few
    trades, are a warning whatever their number. A source that is known to leave out bars without a trade may leave out
    as many as the preset `illiquid` allows. Before its first bar ever a market may not have been listed: a warning.
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
    if not missing.any():
        return
    at = np.flatnonzero(missing)
    runs = np.split(at, np.flatnonzero(np.diff(at) > 1) + 1)
    hours = to_timedelta(w.period.timeframe) / pd.Timedelta(hours=1)
    unexplained = [] if _few_trades(w, len(at)) else [run for run in runs if not _outage(w, w.due[run])]
    month = periods_per_year(w.period.calendar, w.period.timeframe) * 30 / 365
    quiet = QUIET if w.period.leaves_out_untraded else {"max_missing_hours": 0, "max_missing_share": 0}
    in_a_row = max(w.limits.max_missing_hours, quiet["max_missing_hours"])
    budget = int(max(w.limits.max_missing_share, quiet["max_missing_share"]) * max(month, len(w.due)))
    over = sum(map(len, unexplained)) > budget or max(map(len, unexplained), default=0) * hours > in_a_row
    longest = max(map(len, runs))
    reason = "" if unexplained else "; an outage or a market with few trades explains them"
    yield w.defect(
        "missing_bars",
        w.due[missing],
        f"missing of {len(w.due)} expected in {len(runs)} run(s), the longest {longest} bars or {longest * hours:g} h; "
        f"tolerated are {budget} bars (max_missing_share), {in_a_row:g} h in a row (max_missing_hours){reason}",
        "Reload the window; if the market was really closed, correct its calendar ({name: ..., drop: [...]}) or raise "
        "the limit",
        "error" if over else "warning",
    )


def _few_trades(w: Window, missing: int) -> bool:
    """Whether bars are missing for want of trades: then many of the others hold a single trade, so that high is low.

    If trades come by chance, m of them a bar, exp(-m) of the bars have none and m exp(-m) a single one.
    """
    recent = w.ranges[max(0, w.first - len(w.due)) :]
    flat = np.count_nonzero(recent == 0) / max(1, len(recent))
    return bool(flat >= _FLAT_FOR_MISSING * missing / max(1, len(w.due)))


def _outage(w: Window, bars: pd.DatetimeIndex) -> bool:
    """Whether missing bars are an outage of the venue: a known one, or it reopens where it stopped and then catches up.

    Bars that were lost by a feed have moved on in the meantime: their market is elsewhere when the next bar opens.
    """
    if w.period.calendar != ALWAYS_OPEN:
        return False
    step = to_timedelta(w.period.timeframe)
    if any(start - step <= bars[0] and bars[-1] + step <= end for start, end in _KNOWN_OUTAGES):
        return True
    i = int(w.times.searchsorted(bars[-1]))
    if not 0 < i < len(w.times):
        return False
    usual = w.usual(i)
    move = 1.25 * np.abs(w.moves[usual]).mean() * np.sqrt(w.elapsed[i])
    catches_up = w.ranges[i] >= _REOPENING_RANGE * np.median(w.ranges[usual])
    return bool(abs(w.gaps[i]) <= _REOPENING_GAP * move and catches_up)
