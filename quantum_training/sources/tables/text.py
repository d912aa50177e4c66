"""Tables of text: lines of fields, read by pyarrow, of which only the needed columns are kept.

A row with too many or too few fields spoils no other row.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from typing import IO, Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from quantum_training.sources.tables.locations import Block, Part
from quantum_training.sources.tables.options import TableOptions

_SEPARATORS = (",", ";", "\t", "|")
_HEAD_BYTES = 1 << 16
_BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
TEXT = pd.ArrowDtype(pa.string())
MISSING: tuple[str, ...] = (
    "",
    "#N/A",
    "#N/A N/A",
    "#NA",
    "-1.#IND",
    "-1.#QNAN",
    "-NaN",
    "-nan",
    "1.#IND",
    "1.#QNAN",
    "<NA>",
    "N/A",
)
MISSING += ("NA", "NULL", "NaN", "None", "n/a", "nan", "null", "-")
"""What stands for a missing number: as pandas has it, and a dash."""


class _Layout(NamedTuple):
    """How the lines of a text file are read."""

    encoding: str
    separator: str
    names: list[str]
    needed: list[str]
    lines_above: int


def read_text(options: TableOptions, part: Part | Block) -> pd.DataFrame:
    """The needed columns: numbers as float64 if all of them are plain and all rows fit, else everything as text."""
    layout = _layout(options, part)
    plain = () if options.thousands else tuple(options.number_columns.values())
    try:
        columns, misfits = _read(part, layout, plain, options.decimal or ".")
    except pa.ArrowInvalid:  # a number is not plain
        columns, misfits = _read(part, layout, (), ".")
    if misfits and plain:
        columns, misfits = _read(part, layout, (), ".")
    return _with_misfits(columns, misfits, layout, options) if misfits else columns


def _read(
    part: Part | Block, layout: _Layout, plain: tuple[str, ...], decimal: str
) -> tuple[pd.DataFrame, dict[int, str]]:
    """The columns, those in `plain` as numbers, and the rows of a wrong length by their number in the table."""
    misfits: dict[int, str] = {}

    def keep(row: pa_csv.InvalidRow) -> str:
        misfits[row.number - layout.lines_above - 1] = row.text
        return "skip"

    with part.open() as file:
        table = pa_csv.read_csv(
            unpacked(file, part),
            read_options=pa_csv.ReadOptions(
                skip_rows=layout.lines_above, column_names=layout.names, encoding=layout.encoding, use_threads=False
            ),
            parse_options=pa_csv.ParseOptions(delimiter=layout.separator, invalid_row_handler=keep),
            convert_options=pa_csv.ConvertOptions(
                column_types={name: pa.float64() if name in plain else pa.string() for name in layout.needed},
                include_columns=layout.needed,
                null_values=MISSING,
                strings_can_be_null=False,
                decimal_point=decimal,
            ),
        )
    return table.to_pandas(types_mapper={pa.string(): TEXT}.get), misfits


def _with_misfits(
    columns: pd.DataFrame, misfits: dict[int, str], layout: _Layout, options: TableOptions
) -> pd.DataFrame:
    """The rows of a wrong length in their places: what a short one lacks is missing, a long one has no numbers."""
    rows = []
    for text in misfits.values():
        fields = fields_of(text, layout.separator)
        if any(fields[len(layout.names) :]):
            fields = fields[:1] + [text] * (len(layout.names) - 1)
        rows.append(dict(zip(layout.names, fields, strict=False)))
    added = pd.DataFrame(rows, columns=layout.needed).fillna("").astype(TEXT)
    numbers = np.setdiff1d(np.arange(len(columns) + len(misfits)), [*misfits])
    places = np.r_[numbers, [*misfits]]
    return pd.concat([columns, added], ignore_index=True).iloc[np.argsort(places)].reset_index(drop=True)


def _layout(options: TableOptions, part: Part | Block) -> _Layout:
    """ValueError if the file has no lines, ColumnError if a column is missing."""
    start = start_of(part, _HEAD_BYTES)
    encoding = options.encoding or encoding_of(start)
    text = codecs.getincrementaldecoder("utf-8-sig" if encoding == "utf-8" else encoding)().decode(start)
    lines = re.split(r"\r\n|\n|\r", text)
    above = next((n for n, line in enumerate(lines) if n >= options.skip_rows and line.strip()), None)
    if above is None:
        raise ValueError("EmptyDataError: the file is empty")
    separator = options.separator or separator_of(lines[above])
    fields = fields_of(lines[above], separator)
    names = _names(fields) if options.header else [str(number) for number in range(len(fields))]
    below = next((line for line in lines[above + 1 :] if line.strip()), "")
    extra = fields_of(below, separator)[len(names) :]
    if options.header and extra and not any(extra):  # each row ends with a separator
        names += [f"Unnamed: {len(names) + n}" for n in range(len(extra))]
    return _Layout(encoding, separator, names, options.needed_columns(names), above + options.header)


def start_of(part: Part | Block, size: int) -> bytes:
    """The first bytes of a table, unpacked."""
    with part.open() as file:
        start: bytes = unpacked(file, part).read(size)
    return start


def separator_of(line: str) -> str:
    """The mark that gives a line the most fields."""
    return max(_SEPARATORS, key=lambda mark: len(fields_of(line, mark)))


def encoding_of(start: bytes) -> str:
    """UTF-16 if its mark says so, UTF-8 if the start of the file is, else that of Western Windows."""
    if start.startswith(_BYTE_ORDER_MARKS):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def lines_above(options: TableOptions, part: Part | Block) -> int:
    """How many lines stand above the first row. Raises as `read_text` does."""
    return _layout(options, part).lines_above


def unpacked(file: IO[bytes], part: Part | Block) -> Any:
    """The file's bytes, out of gzip or Zstandard if they are packed."""
    stream = pa.PythonFile(file, mode="r")
    packing = "gzip" if part.ending.endswith(".gz") else "zstd" if part.ending.endswith(".zst") else None
    return pa.CompressedInputStream(stream, packing) if packing else stream


def fields_of(line: str, separator: str) -> list[str]:
    """The fields of a line."""
    return next(csv.reader(io.StringIO(line), delimiter=separator), [])


def _names(fields: list[str]) -> list[str]:
    """The names in a header, each once, as pandas has them."""
    names: list[str] = []
    for number, field in enumerate(fields):
        name, times = field or f"Unnamed: {number}", 0
        while name in names:
            times += 1
            name = f"{field}.{times}"
        names.append(name)
    return names
