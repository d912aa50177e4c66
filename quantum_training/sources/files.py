"""Source `files`: one CSV, Parquet or Feather file on this machine. Options say what its columns and stamps mean.

Values are taken as they are; the quality gate judges whether they are sound candles.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Literal
from zipfile import BadZipFile
from zoneinfo import available_timezones

import numpy as np
import pandas as pd
from pydantic import AfterValidator, Field

from quantum_training.market.schema import COLUMNS, PRICES, as_candles
from quantum_training.market.timeframe import to_timedelta
from quantum_training.sources.base import CandleSource, SourceError, closed_between
from quantum_training.sources.retry import describe

ENDINGS = (".csv", ".csv.gz", ".zip", ".parquet", ".feather")
UNITS = ("s", "ms", "us", "ns")


def _path(value: str) -> str:
    if not value.endswith(ENDINGS):
        raise ValueError(f"{value!r} has no known ending; allowed: {', '.join(ENDINGS)} (a zip holds one CSV)")
    return value


def _zone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError(f"{value!r} is no time zone; allowed: an IANA name, as UTC or America/New_York")
    return value


class Source(CandleSource):
    """A recording: it ends with the newest bar in the file. A changed file is read again."""

    not_identifying = frozenset({"header", "skip_rows", "descending", "datetime_format"})

    path: Annotated[str, AfterValidator(_path)] = Field(description="The file; {symbol} stands for the symbol's name.")
    columns: dict[Literal["open_time", "open", "high", "low", "close", "volume"], str] = Field(
        {}, description="Our column: the file's name for it, where the two differ; as {open_time: Date, open: Open}."
    )
    header: bool = Field(True, description="CSV: the first line names the columns; else their names are '0', '1', ...")
    skip_rows: int = Field(0, ge=0, le=1000, description="CSV: lines above the header (a banner).")
    datetime_format: str | None = Field(
        None, description="Form of the stamps as strptime has it, or s, ms, us, ns for Unix time; default: ISO 8601."
    )
    timezone: Annotated[str, AfterValidator(_zone)] = Field(
        "UTC", description="Zone of stamps that name none. Leave UTC for daily bars: their stamp is the session's date."
    )
    stamp: Literal["start", "end"] = Field("start", description="Whether a bar is stamped with its start or its end.")
    descending: bool = Field(False, description="The file is newest first; its rows are read from below.")
    rows_where: dict[str, str] = Field(
        {}, description="Rows to take from a file of many symbols, as {tic: AAPL}; {symbol}: the symbol's name."
    )
    price_divisor: float = Field(1.0, gt=0, description="Prices are this many times too large, as 10000.")

    def fetch(
        self, symbol: str, timeframe: str, start: pd.Timestamp, end: pd.Timestamp, now: pd.Timestamp
    ) -> pd.DataFrame:
        """See CandleSource. SourceError names the file, column or stamp that cannot be read, and what is there."""
        return closed_between(self._bars(symbol, timeframe), timeframe, start, end, now)

    def available_until(self, symbol: str, timeframe: str, now: pd.Timestamp) -> pd.Timestamp:
        """The end of the file's newest bar, or `now` if that is earlier."""
        return min(now, self._bars(symbol, timeframe).index.max() + to_timedelta(timeframe))

    def _bars(self, symbol: str, timeframe: str) -> pd.DataFrame:
        path = Path(self.path.replace("{symbol}", symbol))
        try:
            state = path.stat()
        except OSError:
            here = ", ".join(sorted(f.name for f in path.parent.glob("*"))[:10]) or "nothing"
            problem = f"no such file; {path.parent.absolute()} holds {here}"
            raise SourceError(symbol, f"files {path}", problem, "Mend source.path or put the file there") from None
        bars = _read(self.model_dump_json(), symbol, str(path), state.st_mtime_ns, state.st_size)
        if self.stamp == "end":
            return bars.set_axis(pd.DatetimeIndex(bars.index) - to_timedelta(timeframe))
        return bars


@lru_cache(maxsize=16)
def _read(options: str, symbol: str, path: str, modified: int, size: int) -> pd.DataFrame:
    """The whole file as candles by its own stamps. Cached by path and age, as it is read month by month."""
    source = Source.model_validate_json(options)
    error_of = partial(SourceError, symbol, f"files {path}")
    try:
        frame = _table(source, path)
    except (OSError, EOFError, ValueError, zlib.error, BadZipFile) as error:
        raise error_of(f"cannot be read: {describe(error)}", "Check the file and source.skip_rows") from error
    frame.columns = frame.columns.map(str)
    names = {ours: source.columns.get(ours, ours) for ours in ("open_time", *COLUMNS)}  # type: ignore[call-overload]
    missing = [name for name in (*names.values(), *source.rows_where) if name not in frame.columns]
    if missing:
        problem = f"no column {', '.join(missing)}; the file has {', '.join(frame.columns)}"
        raise error_of(problem, "Name the file's columns in source.columns (and skip_rows above the header)")
    frame = _rows_of_symbol(source, symbol, frame, error_of)
    if frame.empty:
        raise error_of("the file has no rows", "Give a file with candles")

    try:
        index = _stamps(source, frame[names["open_time"]])
    except (TypeError, ValueError) as error:
        remedy = "Mend the file, source.datetime_format or source.timezone"
        raise error_of(f"column {names['open_time']} holds stamps that cannot be read: {error}", remedy) from error
    bars = _candles(source, frame, index, names, error_of)
    return bars.iloc[::-1] if source.descending else bars


def _rows_of_symbol(
    source: Source, symbol: str, frame: pd.DataFrame, error_of: Callable[[str, str], SourceError]
) -> pd.DataFrame:
    """The rows that `rows_where` selects."""
    for name, value in source.rows_where.items():
        expected = value.replace("{symbol}", symbol)
        if not (matches := _equals(frame[name], expected)).any():
            values = ", ".join(map(str, frame[name].unique()[:10]))
            raise error_of(f"no row with {name} = {expected}; it has {values}", "Mend source.rows_where")
        frame = frame[matches]
    return frame


def _equals(column: pd.Series, text: str) -> pd.Series:
    """Where the column is this text, or in a column of numbers this number: pandas reads 000660 as 660."""
    if pd.api.types.is_numeric_dtype(column):
        with suppress(ValueError):
            return column == float(text)
    return column.astype(str) == text


def _candles(
    source: Source,
    frame: pd.DataFrame,
    index: pd.DatetimeIndex,
    names: dict[str, str],
    error_of: Callable[[str, str], SourceError],
) -> pd.DataFrame:
    """The rows as candles. names: the file's name of each of our columns."""
    candles = {}
    for ours in COLUMNS:
        try:
            candles[ours] = pd.to_numeric(frame[names[ours]]).to_numpy("float64", na_value=float("nan"))
        except (TypeError, ValueError) as error:
            raise error_of(
                f"column {names[ours]} holds no numbers: {error}", "Mend the file or source.columns"
            ) from error
    bars = as_candles(pd.DataFrame(candles, index=index))
    bars[list(PRICES)] /= source.price_divisor
    return bars


def _table(source: Source, path: str) -> pd.DataFrame:
    if path.endswith(".parquet"):
        return pd.read_parquet(path).reset_index()
    if path.endswith(".feather"):
        return pd.read_feather(path)
    header = 0 if source.header else None
    return pd.read_csv(path, skiprows=source.skip_rows, header=header, float_precision="round_trip", low_memory=False)


def _stamps(source: Source, stamps: pd.Series) -> pd.DatetimeIndex:
    """The stamps with their zone. ValueError says which of them cannot be read."""
    if source.datetime_format in UNITS:
        since_1970 = pd.to_timedelta(pd.to_numeric(stamps), unit=source.datetime_format)  # type: ignore[call-overload]
        index = pd.DatetimeIndex(since_1970 + pd.Timestamp(0, tz="UTC"))
    elif pd.api.types.is_numeric_dtype(stamps) and source.datetime_format is None:
        raise ValueError("they are numbers; say what they are in source.datetime_format, as s or ms")
    else:
        index = pd.DatetimeIndex(pd.to_datetime(stamps, format=source.datetime_format or "ISO8601"))
    if index.hasnans:
        raise ValueError(f"{np.count_nonzero(index.isna())} rows have none")
    return index.tz_localize(source.timezone) if index.tz is None else index
