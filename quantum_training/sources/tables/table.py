"""One table as bars, by its own stamps, of all symbols that it holds, and what of it could not be read.

Nothing is dropped or mended here: which rows count is rows.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.market.schema import COLUMNS, PRICES
from quantum_training.sources.tables.locations import Block, Part
from quantum_training.sources.tables.numbers import as_numbers, notation_of
from quantum_training.sources.tables.options import STAMP, TableOptions
from quantum_training.sources.tables.raw import read_raw
from quantum_training.sources.tables.stamps import as_instants
from quantum_training.sources.tables.text import TEXT

KEY = "key_"
"""Before the names of the columns of `rows_where`, so that none is one of ours."""
_MAX_UNREAD = 10_000


class UnreadableError(ValueError):
    """No stamp, or no number of a column, can be read. The message names the column and its first values."""


class Table(NamedTuple):
    """Rows in the order of the file, the oldest first if the options say that it is newest first.

    bars: index `open_time` (UTC, ns), float64 columns, and a categorical column KEY + name for each of `rows_where`;
    a number that is missing or cannot be read is NaN. unread: what cannot be read: `text` (of the stamp or number),
    `column`, `empty` (whether its row has no price at all), at the stamp of its row, or of the one before it.
    is_plain: whether the file's numbers are written as Python writes them.
    """

    bars: pd.DataFrame
    unread: pd.DataFrame
    is_plain: bool = True


def read_table(options: TableOptions, part: Part | Block) -> Table:
    """Read one table. ColumnError, UnreadableError, OSError or ValueError if it cannot be read as a whole."""
    return table_of(options, read_raw(options, part))


def table_of(options: TableOptions, raw: pd.DataFrame) -> Table:
    """The needed columns as a table. UnreadableError if no stamp, or no number of a column, can be read."""
    keys = {name: raw[name].astype("string").astype("category") for name in options.rows_where}
    groups = np.zeros(len(raw), "int64")
    for key in keys.values():
        groups = groups * len(key.cat.categories) + key.cat.codes.to_numpy()
    stamps = _stamps(options, raw)
    times = as_instants(options, stamps, groups)
    if len(times) and times.isna().all():
        raise UnreadableError(
            f"column {' and '.join(options.stamp_columns)} holds stamps that cannot be read: {_first(stamps)}"
        )
    numbers, unread = _numbers(options, raw)
    bars = pd.DataFrame({**numbers, **{KEY + name: key for name, key in keys.items()}})
    bars[list(PRICES)] /= options.price_divisor
    without_price = bars[list(PRICES)].isna().all(axis=1).to_numpy()
    unread = [*unread, ("stamp", np.flatnonzero(times.isna()), stamps)]
    is_plain = all(raw[name].dtype != TEXT for name in options.number_columns.values())
    return _in_order(options, bars, times, unread, without_price)._replace(is_plain=is_plain)


def _in_order(
    options: TableOptions,
    bars: pd.DataFrame,
    times: pd.DatetimeIndex,
    unread: list[tuple[str, np.ndarray, pd.Series]],
    without_price: np.ndarray,
) -> Table:
    places = times.to_series().reset_index(drop=True).ffill().bfill()
    texts = pd.concat(
        pd.DataFrame(
            {
                "row": rows[:_MAX_UNREAD],
                "column": column,
                "text": texts.iloc[rows[:_MAX_UNREAD]].astype("string").to_numpy(),
            }
        )
        for column, rows, texts in unread
    )
    rows = texts.pop("row").to_numpy("int64")
    texts = texts.assign(
        empty=without_price[rows], **{c: bars[c].iloc[rows].to_numpy() for c in map(str, bars) if KEY in c}
    )
    texts.index = pd.DatetimeIndex(places.iloc[rows], name=STAMP)
    bars.index = times.rename(STAMP)
    bars = bars[bars.index.notna()]
    return Table(bars.iloc[::-1] if options.descending else bars, texts)


def _stamps(options: TableOptions, raw: pd.DataFrame) -> pd.Series:
    columns = [raw[name] for name in options.stamp_columns]
    if len(columns) == 1:
        return columns[0]
    date, time = (c if c.dtype == TEXT else c.map(str).astype(TEXT) for c in columns)
    return date.str.strip() + " " + time.str.strip()


def _numbers(
    options: TableOptions, raw: pd.DataFrame
) -> tuple[dict[str, np.ndarray], list[tuple[str, np.ndarray, pd.Series]]]:
    """Our columns, and of each the rows that cannot be read."""
    columns = {ours: raw[theirs] for ours, theirs in options.number_columns.items()}
    notation = notation_of(options, list(columns.values()))
    numbers, unread = {"volume": np.zeros(len(raw))}, []
    for ours, column in columns.items():
        numbers[ours], failed = as_numbers(column, notation)
        rows = np.flatnonzero(failed)
        if len(rows) and np.isnan(numbers[ours]).all():
            remedy = "" if notation.decimal else "; if their marks are sound, say which is which in decimal, thousands"
            name = options.name_of(ours)
            raise UnreadableError(f"column {name} holds no numbers: {_first(column.iloc[rows])}{remedy}")
        unread.append((ours, rows, column))
    return {ours: numbers[ours] for ours in COLUMNS}, unread


def _first(values: pd.Series) -> str:
    return ", ".join(f'"{value}"' for value in values.iloc[:3])
