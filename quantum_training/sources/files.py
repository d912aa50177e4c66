"""Source `files`: tables of bars, here or behind a URL. Options say where they are and what they mean.

Values are taken as they are; the quality gate judges whether they are sound candles. How tables are read: tables/.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import pandas as pd

from quantum_training.market.corporate_actions import adjusted
from quantum_training.market.daily_bars import bar_ends
from quantum_training.market.defects import Defect
from quantum_training.market.notes import Notes, with_notes
from quantum_training.market.periods import MONTH, month_of
from quantum_training.market.schema import as_candles
from quantum_training.market.timeframe import to_timedelta
from quantum_training.sources.base import CandleSource, SourceError, closed_between
from quantum_training.sources.tables.actions import adjustments_of
from quantum_training.sources.tables.clock_check import MAX_TIMEFRAME, NEAR, changes_between, clock_findings
from quantum_training.sources.tables.contents import UNREADABLE, Contents, contents_of, newest_row, unreadable
from quantum_training.sources.tables.history import History, Market, history_of, joined
from quantum_training.sources.tables.locations import NotFoundError, find_parts
from quantum_training.sources.tables.options import TableOptions
from quantum_training.sources.tables.resampling import Resampling
from quantum_training.sources.tables.table import UnreadableError
from quantum_training.sources.tables.zones import as_zone

_NANOSECOND, _DAY = pd.Timedelta("1ns"), pd.Timedelta("1D")
_ALWAYS = (pd.Timestamp.min.tz_localize("UTC"), pd.Timestamp.max.tz_localize("UTC"))
_YOUNGER = ("format", "volume", "resample_from", "corporate_actions")
"""Identifying options that the records of earlier builds do not have: left out at their default."""


class Source(TableOptions, CandleSource):
    """A recording: it ends with the newest bar in the file. A changed file is read again."""

    not_identifying = frozenset(
        {"header", "skip_rows", "descending", "datetime_format", "date_column", "time_column", "separator", "decimal"}
        | {"thousands", "encoding", "ignore_file_time", "sort", "deduplicate", "drop_empty"}
    )

    @property
    def identity(self) -> dict[str, object]:
        """See CandleSource."""
        younger = {name for name in _YOUNGER if getattr(self, name) == type(self).model_fields[name].default}
        return {name: value for name, value in super().identity.items() if name not in younger}

    def fetch(
        self, symbol: str, timeframe: str, start: pd.Timestamp, end: pd.Timestamp, now: pd.Timestamp
    ) -> pd.DataFrame:
        """See CandleSource. SourceError names the file, column or stamp that cannot be read, and what is there.

        Notes: rows of the month in which `end` lies that were dropped, sorted or cannot be read, and changes of clocks
        at which the hours of trading say that the time zone is wrong.
        """
        if resampling := self._resampling(symbol, timeframe):
            return resampling.fetch(start, end, now)
        if self.corporate_actions:
            raw = self.model_copy(update={"corporate_actions": None})
            path = self.corporate_actions.replace("{symbol}", symbol)
            actions = adjustments_of(raw, Market(symbol, timeframe, self._calendar), path)
            return adjusted(raw.fetch(symbol, timeframe, start, end, now), actions)
        month = pd.Timestamp(month_of(end - _NANOSECOND), tz="UTC")
        history = self._history(symbol, timeframe, min(start, month), end)
        bars = closed_between(history.bars, timeframe, start, end, now, self._calendar)
        market = Market(symbol, timeframe, self._calendar)
        defects = (*_unread(market, history, month, end), *self._clock_warnings(market, history, month, end))
        return with_notes(bars, Notes(_facts(history, month, end), defects))

    @property
    def revises_history(self) -> bool:
        """See CandleSource."""
        return self.corporate_actions is not None

    def available_until(self, symbol: str, timeframe: str, now: pd.Timestamp) -> pd.Timestamp:
        """The end of the file's newest bar, or `now` if that is earlier."""
        if resampling := self._resampling(symbol, timeframe):
            return resampling.available_until(now)
        contents = self._contents(symbol, timeframe)
        newest, is_bar = max(newest_row(timeframe, content) for content in contents)
        if not is_bar:
            bars = self._history(symbol, timeframe, newest, newest + _NANOSECOND).bars
            if bars.empty:
                problem = "the file has no closed bar"
                raise SourceError(symbol, f"files {self.path}", problem, "Give a file with candles")
            newest = bars.index.max()
        return min(now, bar_ends(pd.DatetimeIndex([newest]), timeframe, self._calendar)[0])

    def _resampling(self, symbol: str, timeframe: str) -> Resampling | None:
        if self.resample_from in (None, timeframe):
            return None
        own = self.model_copy(update={"resample_from": None})
        return Resampling(own, symbol, timeframe, str(self.resample_from), self._calendar)

    def _clock_warnings(
        self, market: Market, history: History, start: pd.Timestamp, end: pd.Timestamp
    ) -> Iterator[Defect]:
        zone = as_zone(self.timezone)
        if to_timedelta(market.timeframe) > MAX_TIMEFRAME:
            return
        for change in changes_between(zone, start, end):
            near = history.bars.sort_index().loc[change.time - NEAR : change.time + NEAR]
            for finding in clock_findings(near, market.timeframe, zone, change):
                message = (
                    f"{market.symbol} {market.timeframe} clock_change: the clock of {change.clock} is set at "
                    f"{change.time:%Y-%m-%d %H:%M}; {finding}. If the stamps are not those of {self.timezone}, mend "
                    "source.timezone: a broker's server is often America/New_York+7h."
                )
                yield Defect("clock_change", "warning", (change.time,), message)

    def _history(self, symbol: str, timeframe: str, start: pd.Timestamp, end: pd.Timestamp) -> History:
        """The bars of the months of a period, and those near by if a clock is set in it. Of a small table, all."""
        contents = self._contents(symbol, timeframe)
        market = Market(symbol, timeframe, self._calendar)
        if not any(content.recording.is_partial for content in contents):
            return _history(contents, market, _ALWAYS)
        first, last = (pd.Timestamp(month_of(time), tz="UTC") for time in (start, end - _NANOSECOND))
        length = to_timedelta(timeframe)
        is_checked = length <= MAX_TIMEFRAME
        near = NEAR if is_checked and changes_between(as_zone(self.timezone), last, last + MONTH) else length + _DAY
        return _history(contents, market, (first - near, last + MONTH + near))

    def _contents(self, symbol: str, timeframe: str) -> Contents:
        path = self.path.replace("{symbol}", symbol)
        try:
            parts = tuple(find_parts(path))
        except NotFoundError as error:
            raise SourceError(symbol, f"files {path}", str(error), "Mend source.path or put the file there") from None
        except UNREADABLE as error:
            raise unreadable(symbol, path, error) from error
        options = self.model_dump_json(include=set(TableOptions.model_fields), exclude_unset=True)
        return contents_of(options, Market(symbol, timeframe, self._calendar), path, parts)


@lru_cache(maxsize=16)
def _history(contents: Contents, market: Market, period: tuple[pd.Timestamp, pd.Timestamp]) -> History:
    """All bars of a symbol, or those of a period and maybe others."""
    histories = []
    for read, part, recording, chosen, _ in contents:
        try:
            rows = recording.rows(chosen, *period)
            histories.append(history_of(read, market, rows, None if read.ignore_file_time else part.written_at))
        except UnreadableError as error:
            raise SourceError(market.symbol, f"files {part.name}", str(error), "Mend the file or its options") from None
    history = joined(contents[-1].options, histories)
    return replace(history, bars=as_candles(history.bars))


def _facts(history: History, start: pd.Timestamp, end: pd.Timestamp) -> dict[str, int]:
    """How many rows from `start` to `end` were dropped or moved, by reason."""
    rows = history.counted[(history.counted.index >= start) & (history.counted.index < end)]
    return {str(reason): int(number) for reason, number in rows["reason"].value_counts().items()}


def _unread(market: Market, history: History, start: pd.Timestamp, end: pd.Timestamp) -> Iterator[Defect]:
    """What of the rows from `start` to `end` cannot be read, a defect a column."""
    unread = history.unread[(history.unread.index >= start) & (history.unread.index < end)]
    for column, rows in unread.groupby("column", sort=False):
        bars = pd.DatetimeIndex(rows.index)
        remedy = "Mend the file, or set source.drop_empty" if rows["empty"].all() else "Mend the file"
        message = (
            f"{market.symbol} {market.timeframe} unreadable: {len(rows)} row(s), first at {bars[0]:%Y-%m-%d %H:%M}: "
            f"{column} {rows['text'].iloc[0]!r} cannot be read. {remedy}."
        )
        yield Defect("unreadable", "error", tuple(bars[:50]), message, tuple(bars[50:]))
