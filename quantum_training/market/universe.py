"""A universe: which symbols belonged to it when, as a file with from and to dates says.

What is ranked within a universe is features/sets/ranks.py; that its symbols are those of the settings is
settings/universes.py.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

COLUMNS = ("symbol", "from", "to")


class Spell(NamedTuple):
    """A symbol is a member from `start` on, UTC, until before `end`; None: it still is one. line: of the file."""

    symbol: str
    start: pd.Timestamp
    end: pd.Timestamp | None
    line: int


class Universe(BaseModel):
    """The members of a universe at each time, read from a CSV file when the settings are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(min_length=1, description="CSV file with the columns symbol, from and to.")
    min_members: int = Field(
        2, ge=2, description="Members that must have a value at a bar, so that they are ranked there."
    )

    _spells: tuple[Spell, ...] = PrivateAttr(())

    @model_validator(mode="after")
    def _read_file(self) -> Universe:
        self._spells = read_spells(self.path)
        return self

    @property
    def spells(self) -> tuple[Spell, ...]:
        """All memberships, by symbol, oldest first."""
        return self._spells

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols that ever were members."""
        return tuple(dict.fromkeys(spell.symbol for spell in self._spells))

    def is_member(self, symbol: str, opened: pd.DatetimeIndex) -> np.ndarray:
        """For each bar that opens at a time: was the symbol a member then?"""
        member = np.zeros(len(opened), dtype=bool)
        for spell in self.spells_of(symbol):
            member |= np.asarray((opened >= spell.start) & (True if spell.end is None else opened < spell.end))
        return member

    def spells_of(self, symbol: str) -> list[Spell]:
        """The memberships of a symbol, oldest first."""
        return [spell for spell in self._spells if spell.symbol == symbol]

    def known_between(self, first: pd.Timestamp, as_of: pd.Timestamp) -> list[tuple[str, str, str]]:
        """Symbol, begin and end of the memberships between two times, as they are known at the later one."""
        return [
            (spell.symbol, str(max(spell.start, first)), str(spell.end) if spell.end and spell.end < as_of else "")
            for spell in self._spells
            if spell.start < as_of and (spell.end is None or spell.end > first)
        ]


def read_spells(path: str) -> tuple[Spell, ...]:
    """The rows of a universe's file, by symbol, oldest first. ValueError names the file, the line and the rule."""
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            spells = sorted(_rows(path, file), key=lambda spell: (spell.symbol, spell.start))
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read: {error.strerror}; a path is absolute, or from the folder in which the process was "
            "started"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} cannot be read: it is no UTF-8; save it as UTF-8") from error
    if not spells:
        raise ValueError(f"{path} has no row; a universe needs members")
    for former, later in pairwise(spells):
        if former.symbol == later.symbol and (former.end is None or former.end > later.start):
            raise ValueError(
                f"{path}, lines {former.line} and {later.line}: {later.symbol} is a member twice at {later.start}; end "
                "the first membership by then"
            )
    return tuple(spells)


def _rows(path: str, lines: Iterable[str]) -> Iterator[Spell]:
    reader = csv.DictReader(lines)
    header = [*(reader.fieldnames or ())]
    if absent := [column for column in COLUMNS if column not in header]:
        raise ValueError(
            f"{path}, line 1: the columns {', '.join(absent)} are missing; a universe has {', '.join(COLUMNS)}"
        )
    if twice := [column for column in COLUMNS if header.count(column) > 1]:
        raise ValueError(f"{path}, line 1: the column {twice[0]} is there twice; keep one")
    for row in reader:
        symbol, start, end = ((row[column] or "").strip() for column in COLUMNS)
        place = f"{path}, line {reader.line_num}"
        if None in row:  # where the reader keeps what is beyond the header
            cells = len(row) - 1 + len(row[None])
            raise ValueError(f"{place}: {cells} cells, but {len(header)} columns; put a text with a comma in quotes")
        if not symbol or not start:
            raise ValueError(f"{place}: symbol and from may not be empty")
        spell = Spell(symbol, _time(place, start), _time(place, end) if end else None, reader.line_num)
        if spell.end is not None and spell.end <= spell.start:
            raise ValueError(f"{place}: to {end} is not after from {start}; a member stays until before `to`")
        yield spell


def _time(place: str, text: str) -> pd.Timestamp:
    """A time in nanoseconds, as those of bars. pandas takes words, too: `nan` is never, `today` is no fixed day."""
    try:
        if not text[0].isdigit():
            raise ValueError
        return pd.Timestamp(pd.to_datetime(text, format="ISO8601", utc=True)).as_unit("ns")
    except ValueError as error:
        raise ValueError(
            f"{place}: {text!r} is no time; give a date as 2024-05-01, or a UTC time, and leave `to` empty for who "
            "still is a member"
        ) from error
