"""Bars of a source made of its shorter ones: which are complete, and what is to be said of those that they are made of.

The arithmetic is market/resampling.py.
"""

from __future__ import annotations

import pandas as pd

from quantum_training.market.calendar_settings import Calendar
from quantum_training.market.defects import Defect
from quantum_training.market.notes import Notes, take_notes, with_notes
from quantum_training.market.periods import month_of
from quantum_training.market.resampling import resampled, unusable
from quantum_training.market.timeframe import to_timedelta
from quantum_training.sources.base import CandleSource, SourceError, closed_between

OUTSIDE = "shorter_bars_outside_sessions"
_DAY = pd.Timedelta(days=1)
_LISTED = 50


class Resampling:
    """Bars of a symbol out of shorter ones of a source. finer: the timeframe of the source's own bars."""

    def __init__(self, source: CandleSource, symbol: str, timeframe: str, finer: str, calendar: Calendar):
        self.source, self.symbol, self.timeframe, self.finer, self.calendar = source, symbol, timeframe, finer, calendar
        if to_timedelta(timeframe) % to_timedelta(finer) or to_timedelta(timeframe) <= to_timedelta(finer):
            raise SourceError(
                symbol,
                source.kind,
                f"bars of {timeframe} cannot be made of bars of {finer}",
                f"Set source.resample_from to the file's timeframe, one that divides {timeframe}, or leave it out",
            )

    def fetch(self, start: pd.Timestamp, end: pd.Timestamp, now: pd.Timestamp) -> pd.DataFrame:
        """The complete bars of a period. Shorter bars that are wrong are an error of the month in which `end` lies."""
        closed_until = self.source.available_until(self.symbol, self.finer, now)
        margin = max(_DAY, to_timedelta(self.timeframe))
        within = self.source.fetch(self.symbol, self.finer, start - margin, end, now)
        notes = take_notes(within)
        later = self.source.fetch(self.symbol, self.finer, end, end + margin, now)
        take_notes(later)
        shorter = pd.concat([within, later])
        wrong = unusable(shorter)
        if len(wrong):
            shorter = shorter[~shorter.index.isin(wrong)].sort_index()
        bars, ends, outside = resampled(shorter, self.calendar, self.timeframe)
        facts = {**notes.facts, **({OUTSIDE: outside} if outside else {})}
        complete = closed_between(bars[ends <= closed_until], self.timeframe, start, end, now)
        return with_notes(complete, Notes(facts, (*notes.defects, *self._defects(wrong, end))))

    def available_until(self, now: pd.Timestamp) -> pd.Timestamp:
        """The end of the newest complete bar, or `now` if that is earlier."""
        closed_until = self.source.available_until(self.symbol, self.finer, now)
        for days in (3, 12, 40):
            shorter = self.source.fetch(self.symbol, self.finer, closed_until - days * _DAY, closed_until, now)
            usable = shorter[~shorter.index.isin(unusable(shorter))].sort_index()
            bars, ends, _ = resampled(usable, self.calendar, self.timeframe)
            if (ends <= closed_until).any():
                return min(now, bars.index[ends <= closed_until].max() + to_timedelta(self.timeframe))
        raise SourceError(
            self.symbol, self.source.kind, f"it has no complete bar of {self.timeframe}", "Give a file with more bars"
        )

    def _defects(self, wrong: pd.DatetimeIndex, end: pd.Timestamp) -> list[Defect]:
        month = pd.Timestamp(month_of(end - pd.Timedelta("1ns")), tz="UTC")
        wrong = wrong[(wrong >= month) & (wrong < end)]
        if wrong.empty:
            return []
        message = (
            f"{self.symbol} {self.timeframe} resampling: {len(wrong)} bar(s) of {self.finer}, first at "
            f"{wrong[0]:%Y-%m-%d %H:%M}, are repeated, out of order or have impossible prices. Mend the file, or set "
            "source.sort or source.deduplicate."
        )
        return [Defect("resampling", "error", tuple(wrong[:_LISTED]), message, tuple(wrong[_LISTED:]))]
