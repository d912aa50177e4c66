"""Source `files`: tables of bars, here or behind a URL. Options say where they are and what they mean.

Values are taken as they are; the quality gate judges whether they are sound candles. How tables are read: tables/.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple
from zipfile import BadZipFile

import pandas as pd

from quantum_training.market.corporate_actions import adjusted
from quantum_training.market.daily_bars import bar_ends
from quantum_training.market.defects import Defect
from quantum_training.market.notes import Notes, with_notes
from quantum_training.market.periods import MONTH, month_of
from quantum_training.market.schema import as_candles
from quantum_training.market.timeframe import to_timedelta
from quantum_training.sources.base import CandleSource, SourceError, closed_between
from quantum_training.sources.retry import describe
from quantum_training.sources.tables.actions import adjustments_of
from quantum_training.sources.tables.clock_check import MAX_TIMEFRAME, NEAR, changes_between, clock_findings
from quantum_training.sources.tables.history import History, Market, history_of, joined
from quantum_training.sources.tables.layouts import LayoutError, filled
from quantum_training.sources.tables.locations import NotFoundError, Part, find_parts
from quantum_training.sources.tables.mirror import mirror_of
from quantum_training.sources.tables.options import ColumnError, TableOptions
from quantum_training.sources.tables.parquet import parquet_periods
from quantum_training.sources.tables.recording import Recording, Whole, matching
from quantum_training.sources.tables.resampling import Resampling
from quantum_training.sources.tables.table import UnreadableError, read_table
from quantum_training.sources.tables.zones import as_zone

_UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, zlib.error, BadZipFile)
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
        newest, is_bar = max(_newest_row(timeframe, content) for content in contents)
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
        is_checked = to_timedelta(timeframe) <= MAX_TIMEFRAME
        near = NEAR if is_checked and changes_between(as_zone(self.timezone), last, last + MONTH) else _DAY
        return _history(contents, market, (first - near, last + MONTH + near))

    def _contents(self, symbol: str, timeframe: str) -> _Contents:
        path = self.path.replace("{symbol}", symbol)
        try:
            parts = tuple(find_parts(path))
        except NotFoundError as error:
            raise SourceError(symbol, f"files {path}", str(error), "Mend source.path or put the file there") from None
        except _UNREADABLE as error:
            raise _unreadable(symbol, path, error) from error
        options = self.model_dump_json(include=set(TableOptions.model_fields), exclude_unset=True)
        return _contents(options, Market(symbol, timeframe, self._calendar), path, parts)


def _newest_row(timeframe: str, content: _Content) -> tuple[pd.Timestamp, bool]:
    """The start of a table's newest row, and whether that row is known to be a bar without being looked at."""
    options, written, step = content.options, content.part.written_at, to_timedelta(timeframe)
    start = content.newest - step if options.stamp == "end" else content.newest
    is_closed = options.ignore_file_time or (written is not None and start + step <= written)
    return start, content.recording.is_partial and is_closed and not options.drop_empty


class _Content(NamedTuple):
    """A table that has rows of a symbol. chosen: the texts that select them; newest: the newest stamp of them."""

    options: TableOptions
    part: Part
    recording: Recording
    chosen: dict[str, list[str]]
    newest: pd.Timestamp


class _Contents(tuple[_Content, ...]):
    """The tables of a path that have rows of a symbol."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__


@lru_cache(maxsize=16)
def _contents(options: str, market: Market, path: str, parts: tuple[Part, ...]) -> _Contents:
    """Cached by the files' names and ages, as they are asked for month by month. SourceError if there are no rows."""
    own_options = TableOptions.model_validate_json(options)
    read, contents, others = own_options, [], dict[str, None]()
    for part in parts:
        read = _filled(own_options, part, market)
        of_all = read.model_copy(update={"path": "", "rows_where": dict.fromkeys(read.rows_where, "")})
        recording = _recording(of_all.model_dump_json(exclude_unset=True), part, market.symbol)
        texts = {name: recording.keys(name) for name in read.rows_where}
        chosen = {n: matching(texts[n], v.replace("{symbol}", market.symbol)) for n, v in read.rows_where.items()}
        newest = recording.newest(chosen) if all(chosen.values()) else None
        if newest is not None:
            contents.append(_Content(read, part, recording, chosen, newest))
        else:
            others |= dict.fromkeys(text for column in texts.values() for text in column[:10])
    if not contents:
        where = ", ".join(f"{n} = {v.replace('{symbol}', market.symbol)}" for n, v in read.rows_where.items())
        problem = f"no row with {where}; it has {', '.join([*others][:10])}" if others else "the file has no rows"
        remedy = "Mend source.rows_where" if others else "Give a file with candles"
        raise SourceError(market.symbol, f"files {path}", problem, remedy)
    return _Contents(contents)


@lru_cache(maxsize=16)
def _history(contents: _Contents, market: Market, period: tuple[pd.Timestamp, pd.Timestamp]) -> History:
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


def _filled(options: TableOptions, part: Part, market: Market) -> TableOptions:
    try:
        return filled(options, part, market.timeframe)
    except LayoutError as error:
        raise SourceError(market.symbol, f"files {part.name}", str(error), "See docs/markets/formats.md") from None
    except _UNREADABLE as error:
        raise _unreadable(market.symbol, part.name, error) from error


def _recording(options: str, part: Part, symbol: str) -> Recording:
    source = f"files {part.name}"
    try:
        return _cached_recording(options, part)
    except ColumnError as error:
        remedy = "Name the file's columns in source.columns (skip_rows above the header; volume: none if it has none)"
        raise SourceError(symbol, source, str(error), remedy) from None
    except UnreadableError as error:
        remedy = "Mend the file, source.columns, source.datetime_format or source.timezone"
        raise SourceError(symbol, source, str(error), remedy) from error
    except _UNREADABLE as error:
        raise _unreadable(symbol, part.name, error) from error


@lru_cache(maxsize=8)
def _cached_recording(options: str, part: Part) -> Recording:
    read = TableOptions.model_validate_json(options)
    return mirror_of(read, part) or parquet_periods(read, part) or Whole(read_table(read, part))


def _unreadable(symbol: str, path: str, error: BaseException) -> SourceError:
    return SourceError(
        symbol, f"files {path}", f"cannot be read: {describe(error)}", "Check the file, source.separator and skip_rows"
    )


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
