"""One table of bars: its symbols, its newest stamp, and its rows of a period. How a large one is kept is mirror.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import numpy as np
import pandas as pd

from quantum_training.market.schema import COLUMNS
from quantum_training.sources.tables.table import KEY, Table


class Recording(Protocol):
    """One table of bars. chosen: of each column of `rows_where`, the texts whose rows are asked for."""

    @property
    def is_partial(self) -> bool:
        """Whether `rows` reads only what lies in the period that is asked for; else it gives all rows."""

    def keys(self, name: str) -> Sequence[str]:
        """The texts in a column of `rows_where`."""

    def rows(self, chosen: Mapping[str, list[str]], start: pd.Timestamp, end: pd.Timestamp) -> Table:
        """The chosen rows, without their keys."""

    def newest(self, chosen: Mapping[str, list[str]]) -> pd.Timestamp | None:
        """The newest stamp of the chosen rows."""


class Whole:
    """A table in memory."""

    is_partial = False

    def __init__(self, table: Table) -> None:
        self.table = table

    def keys(self, name: str) -> Sequence[str]:
        """See Recording."""
        return list(self.table.bars[KEY + name].cat.categories)

    def rows(self, chosen: Mapping[str, list[str]], start: pd.Timestamp, end: pd.Timestamp) -> Table:
        """See Recording."""
        return chosen_rows(self.table, chosen)

    def newest(self, chosen: Mapping[str, list[str]]) -> pd.Timestamp | None:
        """See Recording."""
        times = chosen_rows(self.table, chosen).bars.index
        return times.max() if len(times) else None


def chosen_rows(table: Table, chosen: Mapping[str, list[str]]) -> Table:
    """The chosen rows of a table, without their keys."""
    bars, unread = table.bars, table.unread
    for name, texts in chosen.items():
        key = bars[KEY + name].cat
        rows = np.isin(key.codes, key.categories.get_indexer(pd.Index(texts))) & (key.codes >= 0)
        bars = bars.iloc[np.flatnonzero(rows)]
        unread = unread[unread[KEY + name].isin(texts)] if len(unread) else unread
    return Table(bars[list(COLUMNS)], unread[["column", "text", "empty"]])


def no_rows() -> Table:
    """A table of no rows, without keys."""
    empty = pd.DatetimeIndex([], tz="UTC", name="open_time").as_unit("ns")
    texts = pd.DataFrame({"column": [], "text": [], "empty": pd.Series([], dtype=bool)}).set_index(empty)
    return Table(pd.DataFrame({column: pd.Series([], dtype=float) for column in COLUMNS}).set_index(empty), texts)


def matching(texts: Sequence[str], text: str) -> list[str]:
    """The text itself, else those that are the same number: 660 for 000660."""
    if text in texts:
        return [text]
    with suppress(ValueError):
        numbers = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce")
        return [t for t, number in zip(texts, numbers, strict=True) if number == float(text)]
    return []
