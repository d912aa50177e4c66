"""A table as its file has it: columns of text, numbers or times, by the file's names.

What they mean is numbers.py and stamps.py.
"""

from __future__ import annotations

import gzip
import json
from typing import IO, Any

import pandas as pd
import pyarrow.parquet as pq

from quantum_training.sources.tables.locations import Block, Part
from quantum_training.sources.tables.options import TableOptions
from quantum_training.sources.tables.text import read_text


def read_raw(options: TableOptions, part: Part | Block) -> pd.DataFrame:
    """The needed columns of a table, in its order. ColumnError, OSError or ValueError if it cannot be read."""
    if part.is_text:
        return read_text(options, part)
    with part.open() as file:
        frame = _READERS[part.ending](file, options)
    frame.columns = frame.columns.map(str)
    return frame[options.needed_columns(list(frame.columns))]


def column_names(part: Part) -> list[str]:
    """The names of the columns of a table that is no text."""
    with part.open() as file:
        if part.ending == ".parquet":
            return [str(name) for name in pq.read_schema(file).names]
        return [str(name) for name in _READERS[part.ending](file, TableOptions(path="")).columns]


def _json(file: IO[bytes], options: TableOptions) -> pd.DataFrame:
    """A list of rows (lists or mappings), a mapping of columns, or a mapping whose only list holds the rows."""
    content = file.read()
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    try:
        rows = json.loads(content)
    except json.JSONDecodeError:
        rows = [json.loads(line) for line in content.splitlines() if line.strip()]  # one row a line
    while isinstance(rows, dict):
        inner = [value for value in rows.values() if value and isinstance(value, (list, dict))]
        if len(inner) != 1:
            break
        rows = inner[0]
    return pd.DataFrame(rows)


def _excel(file: IO[bytes], options: TableOptions) -> pd.DataFrame:
    """The first sheet, by a library that reads values only: no formula and no macro is run."""
    header = 0 if options.header else None
    return pd.read_excel(file, engine="calamine", header=header, skiprows=options.skip_rows, dtype=object)


def _parquet(file: IO[bytes], options: TableOptions) -> pd.DataFrame:
    return pd.read_parquet(file).reset_index()


def _feather(file: IO[bytes], options: TableOptions) -> pd.DataFrame:
    return pd.read_feather(file)


_READERS: dict[str, Any] = {
    ".json": _json,
    ".json.gz": _json,
    ".xlsx": _excel,
    ".parquet": _parquet,
    ".feather": _feather,
}
