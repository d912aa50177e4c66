"""The options of the source `files`: where the files are, and what their columns, rows, numbers and stamps mean."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from quantum_training.market.timeframe import Timeframe
from quantum_training.sources.tables.layout import Format
from quantum_training.sources.tables.zones import as_zone

TEXTS = (".csv", ".csv.gz", ".csv.zst", ".txt")
ENDINGS = (*TEXTS, ".json", ".json.gz", ".xlsx", ".parquet", ".feather")
ZIP = ".zip"
STAMP = "open_time"
Separator = Literal[",", ";", "\t", "|", " "]


def _path(value: str) -> str:
    """Accept known endings, folders, patterns and URLs with a query."""
    name = re.split(r"[/\\]", value.partition("?")[0] if "://" in value else value)[-1]
    if "." in name.strip(".") and not name.lower().endswith((*ENDINGS, ZIP)) and not name.endswith("*"):
        allowed = ", ".join((*ENDINGS, ZIP))
        raise ValueError(f"{value!r} has no known ending; allowed: {allowed}, or a folder (with / at its end)")
    return value


def _zone(value: str) -> str:
    as_zone(value)
    return value


Zone = Annotated[str, AfterValidator(_zone)]
"""The name of a time zone."""


class ColumnError(ValueError):
    """A column that the options name is not in the file. The message lists those that are."""


class TableOptions(BaseModel):
    """How tables of bars are found and read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str, AfterValidator(_path)] = Field(
        description="A file, a folder, names with * in them, a zip (all its tables), archive.zip/member.csv, or a URL. "
        "{symbol} stands for the symbol's name."
    )
    format: Format | None = Field(
        None, description="The vendor's format: it fills the options below that are not set; docs/markets/formats.md."
    )
    columns: dict[Literal["open_time", "open", "high", "low", "close", "volume"], str] = Field(
        {}, description="Our column: the file's name for it, where the two differ; as {open_time: Date, open: Open}."
    )
    date_column: str | None = Field(None, description="The column of dates, if the time stands in a column of its own.")
    time_column: str | None = Field(None, description="The column of times beside `date_column`.")
    header: bool = Field(True, description="The first line names the columns; else their names are '0', '1', ...")
    skip_rows: int = Field(0, ge=0, le=1000, description="Lines above the header (a banner).")
    separator: Separator | None = Field(None, description="Between the fields of a line; default: found by itself.")
    decimal: Literal[".", ","] | None = Field(None, description="Decimal mark; default: found if numbers show it.")
    thousands: Literal[",", ".", " ", "'"] | None = Field(
        None, description="Mark between groups of three digits; default: found if numbers show it."
    )
    encoding: str | None = Field(None, description="Of a text file, as latin-1; default: UTF-8, or UTF-16 by its mark.")
    datetime_format: str | None = Field(
        None,
        description="Form of the stamps as strptime has it; default: ISO 8601, or Unix time, whose unit is told by its "
        "size. With two columns: of `date time`.",
    )
    timezone: Zone = Field(
        "UTC",
        description="Zone of stamps that name none, as America/New_York, or America/New_York+7h for a broker's server "
        "7 hours ahead of it. Leave UTC for daily bars: their stamp is the session's date.",
    )
    stamp: Literal["start", "end"] = Field("start", description="Whether a bar is stamped with its start or its end.")
    ignore_file_time: bool = Field(
        False, description="The file's time means nothing. Else a bar that was not closed at that time is left out."
    )
    rows_where: dict[str, str] = Field(
        {}, description="Rows to take from a file of many symbols, as {tic: AAPL}; {symbol}: the symbol's name."
    )
    descending: bool = Field(False, description="The file is newest first; its rows are read from below.")
    sort: bool = Field(False, description="Sort the rows by their stamps.")
    deduplicate: bool = Field(False, description="Drop repeated rows that are equal in stamp, prices and volume.")
    drop_empty: bool = Field(False, description="Drop rows without any price: null rows, texts, footers.")
    volume: Literal["none"] | None = Field(None, description="none: the file has no volume; it is then 0 in every bar.")
    resample_from: Timeframe | None = Field(
        None, description="The file's own timeframe, as 1m: the symbol's longer bars are made of its bars."
    )
    corporate_actions: str | None = Field(
        None,
        description="A file of splits and dividends, or LEAN's factor file, by which unadjusted prices are adjusted; "
        "{symbol} stands for the symbol's name.",
    )
    price_divisor: float = Field(1.0, gt=0, description="Prices are this many times too large, as 10000.")

    @model_validator(mode="after")
    def _consistent(self) -> TableOptions:
        if (self.date_column is None) != (self.time_column is None):
            raise ValueError("date_column and time_column belong together; give both, or name one in columns.open_time")
        if self.decimal and self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}; they differ in every file")
        return self

    def name_of(self, ours: str) -> str:
        """The file's name of one of our columns."""
        return self.columns.get(ours, ours)  # type: ignore[call-overload]

    @property
    def stamp_columns(self) -> tuple[str, ...]:
        """The column of stamps, or the two of dates and times."""
        if self.date_column and self.time_column:
            return self.date_column, self.time_column
        return (self.name_of(STAMP),)

    @property
    def number_columns(self) -> dict[str, str]:
        """Our columns of numbers: the file's names of them."""
        ours = ("open", "high", "low", "close", *(() if self.volume else ("volume",)))
        return {name: self.name_of(name) for name in ours}

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns that are read as text."""
        return tuple(dict.fromkeys((*self.stamp_columns, *self.rows_where)))

    def needed_columns(self, present: list[str]) -> list[str]:
        """The columns that are read. ColumnError if the file, which has those that are present, lacks one of them."""
        needed = list(dict.fromkeys((*self.stamp_columns, *self.number_columns.values(), *self.rows_where)))
        if missing := [name for name in needed if name not in present]:
            raise ColumnError(f"no column {', '.join(missing)}; the file has {', '.join(present)}")
        return needed
