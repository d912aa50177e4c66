"""A large Parquet file whose stamps and numbers are typed: only the row groups of a period are read, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quantum_training.sources.tables.locations import Part
from quantum_training.sources.tables.options import TableOptions
from quantum_training.sources.tables.recording import chosen_rows
from quantum_training.sources.tables.table import Table, table_of
from quantum_training.sources.tables.zones import as_zone

MIN_BYTES = 4 << 20
_ROWS = 1 << 16
_MARGIN = pd.Timedelta(days=2)
"""More than any clock is ahead of UTC."""


@dataclass(frozen=True)
class ParquetPeriods:
    """See recording.Recording."""

    options: TableOptions
    part: Part
    first_and_last: tuple[tuple[pd.Timestamp, pd.Timestamp], ...]
    is_partial: bool = True

    def keys(self, name: str) -> Sequence[str]:
        """See Recording."""
        return self._texts[name]

    @cached_property
    def _texts(self) -> dict[str, list[str]]:
        texts: dict[str, dict[str, None]] = {name: {} for name in self.options.rows_where}
        for batch in self._batches(range(len(self.first_and_last)), list(texts)) if texts else ():
            for name, values in texts.items():
                values.update(dict.fromkeys(pc.unique(batch.column(name)).to_pylist()))
        return {name: [text for text in values if text is not None] for name, values in texts.items()}

    def rows(self, chosen: Mapping[str, list[str]], start: pd.Timestamp, end: pd.Timestamp) -> Table:
        """See Recording."""
        (stamp,) = self.options.stamp_columns
        start, end = (max(start, pd.Timestamp("1700", tz="UTC")), min(end, pd.Timestamp("2250", tz="UTC")))
        first, last = start - _MARGIN, end + _MARGIN
        columns, kept = self.options.needed_columns(self._schema.names), []
        for group, (low, high) in enumerate(self.first_and_last):
            if high >= first and low <= last:
                rest = self._rows_up_to(group, stamp, last)
                for batch in self._batches([group], columns):
                    kept.append(batch.filter(_inside(batch, stamp, (first, last), chosen)))
                    rest -= len(batch)
                    if rest <= 0:
                        break
        frame = pa.Table.from_batches(kept, schema=pa.schema([self._schema.field(c) for c in columns])).to_pandas()
        return chosen_rows(table_of(self.options, frame.reset_index()[columns]), chosen)

    def _rows_up_to(self, group: int, stamp: str, last: pd.Timestamp) -> int:
        """How many rows of a row group stand above and at its last one that is not later than a time."""
        times = pa.chunked_array([batch.column(stamp) for batch in self._batches([group], [stamp])])
        early = np.flatnonzero(pc.less_equal(times, _scalar(last, times.type)).to_numpy())
        return int(early[-1]) + 1 if len(early) else 0

    def newest(self, chosen: Mapping[str, list[str]]) -> pd.Timestamp | None:
        """See Recording."""
        first, last = min(low for low, _ in self.first_and_last), max(high for _, high in self.first_and_last)
        if not chosen and as_zone(self.options.timezone).name == "UTC":
            return last
        times = self.rows(chosen, first if chosen else last - _MARGIN, last).bars.index
        return times.max() if len(times) else None

    @cached_property
    def _schema(self) -> pa.Schema:
        with self.part.open() as file:
            return pq.read_schema(file)

    def _batches(self, groups: Sequence[int], columns: list[str]) -> Iterator[Any]:
        with self.part.open() as file:
            whole = pq.ParquetFile(file)
            yield from whole.iter_batches(_ROWS, row_groups=list(groups), columns=columns, use_threads=False)


def _inside(
    batch: Any, stamp: str, period: tuple[pd.Timestamp, pd.Timestamp], chosen: Mapping[str, list[str]]
) -> pa.Array:
    """Which rows lie in a period, both ends included, and are chosen."""
    times = batch.column(stamp)
    first, last = (_scalar(time, times.type) for time in period)
    inside = pc.and_(pc.greater_equal(times, first), pc.less_equal(times, last))
    for name, texts in chosen.items():
        inside = pc.and_(inside, pc.is_in(batch.column(name), value_set=pa.array(texts, batch.column(name).type)))
    return inside


def _scalar(time: pd.Timestamp, kind: pa.DataType) -> pa.Scalar:
    return pa.scalar(time if kind.tz else time.tz_localize(None), kind)


def parquet_periods(options: TableOptions, part: Part) -> ParquetPeriods | None:
    """The file by its periods; None if it has to be read as a whole, as one with stamps that are missing or texts."""
    if part.ending != ".parquet" or part.size < MIN_BYTES or len(options.stamp_columns) > 1:
        return None
    with part.open() as file:
        metadata = pq.ParquetFile(file).metadata
        schema = metadata.schema.to_arrow_schema()
    needed = {*options.stamp_columns, *options.number_columns.values(), *options.rows_where}
    if not needed <= {*schema.names} or not _is_typed(options, schema):
        return None
    bounds = [_bounds(metadata.row_group(n), options.stamp_columns[0]) for n in range(metadata.num_row_groups)]
    limit = (None if options.ignore_file_time else part.written_at) or pd.Timestamp.now("UTC")
    periods = tuple(bound for bound in bounds if bound is not None)
    if not periods or len(periods) < len(bounds) or max(last for _, last in periods) >= limit:
        return None
    return ParquetPeriods(options, part, periods)


def _is_typed(options: TableOptions, schema: pa.Schema) -> bool:
    numbers = [schema.field(name).type for name in options.number_columns.values()]
    texts = [schema.field(name).type for name in options.rows_where]
    return (
        pa.types.is_timestamp(schema.field(options.stamp_columns[0]).type)
        and all(pa.types.is_floating(kind) or pa.types.is_integer(kind) for kind in numbers)
        and all(pa.types.is_string(kind) or pa.types.is_large_string(kind) for kind in texts)
    )


def _bounds(group: Any, stamp: str) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """The first and last stamp of a row group; None if they are not known or a stamp is missing."""
    column = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema == stamp)
    statistics = column.statistics
    if statistics is None or not statistics.has_min_max or statistics.null_count:
        return None
    first, last = (pd.Timestamp(value) for value in (statistics.min, statistics.max))
    return (first, last) if first.tz else (first.tz_localize("UTC"), last.tz_localize("UTC"))
