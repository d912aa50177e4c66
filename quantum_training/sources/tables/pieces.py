"""Pieces of a table as Arrow files: mapped into memory, so that a few rows of one cost what a few rows cost.

The rows of each symbol of a piece lie together. Which pieces a table has is mirror.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from quantum_training.market.schema import COLUMNS
from quantum_training.sources.tables.options import STAMP
from quantum_training.sources.tables.table import KEY


def write_piece(path: Path, bars: pd.DataFrame) -> None:
    """Write bars and their keys; whoever reads the path meanwhile finds all of them or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = [column for column in map(str, bars) if column.startswith(KEY)]
    ordered = bars.sort_values(keys, kind="stable") if keys else bars
    table = pa.Table.from_pandas(ordered.reset_index(), preserve_index=False).combine_chunks()
    own = path.with_name(f"{path.name}.{os.getpid()}")
    with pa.ipc.new_file(str(own), table.schema) as file:
        file.write_table(table)
    own.replace(path)


def read_piece(path: Path, chosen: Mapping[str, list[str]], start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    """The bars of a piece from `start` to `end`, without their keys. chosen: texts by column of keys."""
    rows = _mapped(path)
    parts = [_within(part, start, end) for part in _of_keys(rows, chosen)] or [rows.slice(0, 0)]
    frame: pd.DataFrame = pa.concat_tables(parts).select([STAMP, *COLUMNS]).to_pandas()
    return frame.set_index(STAMP).copy()


def newest_of_piece(path: Path, chosen: Mapping[str, list[str]]) -> pd.Timestamp | None:
    """The newest stamp of the chosen rows; None if there is none."""
    stamps = [pc.max(part.column(STAMP)).as_py() for part in _of_keys(_mapped(path), chosen) if part.num_rows]
    return max(map(pd.Timestamp, stamps), default=None)


@lru_cache(maxsize=256)
def _mapped(path: Path) -> pa.Table:
    """A piece, mapped into memory: what is not looked at is not read. A piece never changes."""
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def _of_keys(rows: pa.Table, chosen: Mapping[str, list[str]]) -> Iterator[pa.Table]:
    """The chosen rows: those of each text of the first key lie together, those of others are looked for among them."""
    if not chosen:
        yield rows
        return
    first, *others = chosen
    column = rows.column(KEY + first).chunk(0)
    codes = column.indices.to_numpy()
    for text in chosen[first]:
        code = pc.index(column.dictionary, text).as_py()
        low, high = np.searchsorted(codes, [code, code + 1]) if code >= 0 else (0, 0)
        part = rows.slice(int(low), int(high - low))
        for name in others:
            part = part.filter(pc.is_in(part.column(KEY + name).cast(pa.string()), value_set=pa.array(chosen[name])))
        yield part


def _within(rows: pa.Table, start: pd.Timestamp, end: pd.Timestamp) -> pa.Table:
    stamps = rows.column(STAMP).to_numpy().astype("datetime64[ns]")
    bounds = [bound.tz_localize(None).to_datetime64() for bound in (start, end)]
    inside = np.flatnonzero((stamps >= bounds[0]) & (stamps < bounds[1]))
    if len(inside) == 0 or inside[-1] - inside[0] + 1 == len(inside):
        return rows.slice(int(inside[0]), len(inside)) if len(inside) else rows.slice(0, 0)
    return rows.take(pa.array(inside))
