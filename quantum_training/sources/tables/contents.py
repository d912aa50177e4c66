"""The tables of a path that have rows of a symbol: opened once for all months, with what selects the symbol's rows.

What is made of the rows is history.py.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import NamedTuple
from zipfile import BadZipFile

import pandas as pd

from quantum_training.market.timeframe import to_timedelta
from quantum_training.sources.base import SourceError
from quantum_training.sources.retry import describe
from quantum_training.sources.tables.history import Market
from quantum_training.sources.tables.layouts import LayoutError, filled
from quantum_training.sources.tables.locations import Part
from quantum_training.sources.tables.mirror import mirror_of
from quantum_training.sources.tables.options import ColumnError, TableOptions
from quantum_training.sources.tables.parquet import parquet_periods
from quantum_training.sources.tables.recording import Recording, Whole, matching
from quantum_training.sources.tables.table import UnreadableError, read_table

UNREADABLE = (OSError, EOFError, ValueError, RuntimeError, zlib.error, BadZipFile)
"""What the libraries raise for a file that is broken or no table."""


class Content(NamedTuple):
    """A table that has rows of a symbol. chosen: the texts that select them; newest: the newest stamp of them."""

    options: TableOptions
    part: Part
    recording: Recording
    chosen: dict[str, list[str]]
    newest: pd.Timestamp


class Contents(tuple[Content, ...]):
    """The tables of a path that have rows of a symbol."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__


@lru_cache(maxsize=16)
def contents_of(options: str, market: Market, path: str, parts: tuple[Part, ...]) -> Contents:
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
            contents.append(Content(read, part, recording, chosen, newest))
        else:
            others |= dict.fromkeys(text for column in texts.values() for text in column[:10])
    if not contents:
        where = ", ".join(f"{n} = {v.replace('{symbol}', market.symbol)}" for n, v in read.rows_where.items())
        problem = f"no row with {where}; it has {', '.join([*others][:10])}" if others else "the file has no rows"
        remedy = "Mend source.rows_where" if others else "Give a file with candles"
        raise SourceError(market.symbol, f"files {path}", problem, remedy)
    return Contents(contents)


def newest_row(timeframe: str, content: Content) -> tuple[pd.Timestamp, bool]:
    """The start of a table's newest row, and whether that row is known to be a bar without being looked at."""
    options, written, step = content.options, content.part.written_at, to_timedelta(timeframe)
    start = content.newest - step if options.stamp == "end" else content.newest
    is_closed = options.ignore_file_time or (written is not None and start + step <= written)
    return start, content.recording.is_partial and is_closed and not options.drop_empty


def _filled(options: TableOptions, part: Part, market: Market) -> TableOptions:
    try:
        return filled(options, part, market.timeframe)
    except LayoutError as error:
        raise SourceError(market.symbol, f"files {part.name}", str(error), "See docs/markets/formats.md") from None
    except UNREADABLE as error:
        raise unreadable(market.symbol, part.name, error) from error


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
    except UNREADABLE as error:
        raise unreadable(symbol, part.name, error) from error


@lru_cache(maxsize=8)
def _cached_recording(options: str, part: Part) -> Recording:
    read = TableOptions.model_validate_json(options)
    return mirror_of(read, part) or parquet_periods(read, part) or Whole(read_table(read, part))


def unreadable(symbol: str, path: str, error: BaseException) -> SourceError:
    return SourceError(
        symbol, f"files {path}", f"cannot be read: {describe(error)}", "Check the file, source.separator and skip_rows"
    )
