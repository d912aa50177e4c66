"""Series source `file`: columns of a CSV or Parquet table, here or behind a URL."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import AfterValidator, Field, model_validator

from quantum_training.market.series_schema import KNOWN_AT, TIME, VALUE, duration
from quantum_training.sources.base import SourceError
from quantum_training.sources.series import SeriesSource, series_frame
from quantum_training.sources.tables.locations import NotFoundError, Part, find_parts
from quantum_training.sources.tables.options import Zone
from quantum_training.sources.tables.text import unpacked


def _delay(text: str) -> str:
    if not duration(text) >= pd.Timedelta(0):
        raise ValueError(f"{text} is negative; a value is not known before its time")
    return text


OFFSET = r"[0-9](?:Z|z|[+-][0-9]{2}:?[0-9]{2})$"
"""How a time ends that names its zone."""


class Source(SeriesSource):
    """A table with a row for each value, or for each publication of a value."""

    path: str = Field(min_length=1, description="File, folder, pattern or URL; .csv, .csv.gz, .zip or .parquet.")
    time: str = Field(description="Column with the time that a value is about: ISO 8601, or as datetime_format says.")
    value: str = Field(description="Column with the value. Rows in which it is empty are left out.")
    known_at: str | None = Field(None, description="Column with the time at which the value was published.")
    delay: Annotated[str, AfterValidator(_delay)] | None = Field(
        None, description="Without such a column: how long after `time` a value is published, as 16h15min or 45d."
    )
    timezone: Zone = Field("UTC", description="Zone of times that do not name one.")
    datetime_format: str | None = Field(None, description="Format of the times if they are not ISO 8601: %d.%m.%Y.")
    separator: str = Field(",", min_length=1, max_length=1, description="Between the fields of a line.")
    empty: tuple[str, ...] = Field((".",), description="Texts that stand for no value, beside an empty field.")

    @property
    def identity(self) -> dict[str, Any]:
        """See SeriesSource. A file may be moved, and written in another way: that its values stay is compared."""
        return {"kind": self.kind, **self.model_dump(mode="json", include={"value", "known_at", "delay", "timezone"})}

    @model_validator(mode="after")
    def _says_when_values_are_known(self) -> Source:
        if (self.known_at is None) == (self.delay is None):
            raise ValueError(
                "give either known_at, a column, or delay: without one of them nobody knows what was known"
            )
        return self

    def fetch(self, name: str, since: pd.Timestamp | None, until: pd.Timestamp) -> pd.DataFrame:
        """See SeriesSource."""
        try:
            tables = [self._read(name, part) for part in find_parts(self.path)]
        except (OSError, NotFoundError) as error:
            raise self._error(name, f"it cannot be read: {error}", "Check source.path") from error
        rows = series_frame(*(pd.concat([table[column] for table in tables]) for column in (TIME, KNOWN_AT, VALUE)))
        known_at = rows[KNOWN_AT]
        return rows[(known_at < until) & (True if since is None else known_at >= since)].reset_index(drop=True)

    def _read(self, name: str, part: Part) -> pd.DataFrame:
        columns = [self.time, self.value, *([self.known_at] if self.known_at else [])]
        with part.open() as file:
            if part.ending == ".parquet":
                table = pd.read_parquet(file)
                table = table.reset_index() if any(table.index.names) else table
            else:
                table = pd.read_csv(unpacked(file, part), sep=self.separator, dtype=str, keep_default_na=False)
        if absent := [column for column in columns if column not in table]:
            has = ", ".join(map(str, table.columns))
            raise self._error(name, f"{part.name} has no column {', '.join(absent)}, but {has}", "Name one of them")
        table.index = pd.Index([f"row {number}" for number in range(1, len(table) + 1)])
        table = table[~(table[self.value].isna() | table[self.value].isin(["", *self.empty]))]
        time = self._times(name, table[self.time])
        known_at = self._times(name, table[self.known_at]) if self.known_at else time + duration(str(self.delay))
        return pd.DataFrame({TIME: time, KNOWN_AT: known_at, VALUE: self._numbers(name, table[self.value])})

    def _numbers(self, name: str, texts: pd.Series) -> np.ndarray:
        numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype="float64")
        if len(wrong := np.flatnonzero(~np.isfinite(numbers))):
            problem = f"{self.value} of {texts.index[wrong[0]]} is no number: {texts.iloc[wrong[0]]!r}"
            raise self._error(name, problem, "Mend it, or name the text in source.empty if it stands for no value")
        return numbers

    def _times(self, name: str, stamps: pd.Series) -> pd.DatetimeIndex:
        try:
            if stamps.isna().any() or (stamps == "").any():
                raise ValueError("one is missing")
            named = stamps.astype(str).str.contains(OFFSET).to_numpy()
            if named.any() and not named.all():
                raise ValueError(f"{stamps.iloc[int(named.argmax())]} names its zone, others do not")
            form = self.datetime_format or "ISO8601"
            times = pd.DatetimeIndex(pd.to_datetime(stamps, format=form, utc=bool(named.any())))
        except (ValueError, TypeError) as error:
            problem = f"times of {stamps.name} cannot be read: {str(error).splitlines()[0]}"
            raise self._error(name, problem, "Mend them, or set source.datetime_format") from error
        try:
            return (times if times.tz else times.tz_localize(self.timezone)).tz_convert("UTC")
        except ValueError as error:
            problem = f"times of {stamps.name} are none of {self.timezone}: {str(error).splitlines()[0]}"
            raise self._error(name, problem, "Write them with their offset, or in UTC") from error

    def _error(self, name: str, problem: str, remedy: str) -> SourceError:
        return SourceError(name, f"file {self.path}", problem, remedy)
