"""Recognising the layout of a file by its start, and filling in the options that its format has for it.

What the user sets stays. Which layouts there are is presets.py.
"""

from __future__ import annotations

import codecs
import re
from functools import lru_cache
from typing import Any, NamedTuple

from quantum_training.market.timeframe import to_timedelta
from quantum_training.sources.tables.layout import Format, Layout
from quantum_training.sources.tables.locations import Part
from quantum_training.sources.tables.options import STAMP, TableOptions
from quantum_training.sources.tables.presets import NO_CANDLES, PRESETS
from quantum_training.sources.tables.raw import column_names
from quantum_training.sources.tables.text import encoding_of, fields_of, separator_of, start_of

_DAY = to_timedelta("1d")
_HEAD_BYTES = 1 << 20
_OTHER_FILES = {"funding_rate": "funding rates", "mark": "mark prices"}
"""What freqtrade keeps beside the candles of a contract in files of the same columns, by the end of their names."""


class LayoutError(ValueError):
    """A file is not of the format that the options name, or the format leaves an option to the user."""


class Head(NamedTuple):
    """The start of a file: whole lines, ended by \\n; of a table that is no text, its column names as one line."""

    text: str
    separator: str


def filled(options: TableOptions, part: Part, timeframe: str) -> TableOptions:
    """The options with those that `format` fills; those that the user has set stay.

    LayoutError if the file is not of that format, or a setting is missing. OSError or ValueError if it cannot be read.
    """
    if options.format is None:
        return options
    ending = re.search(r"-([a-z_]+)\.[a-z.]+\Z", part.name)
    if options.format == "freqtrade" and ending and ending[1] in _OTHER_FILES:
        raise LayoutError(f"freqtrade: {NO_CANDLES.format(_OTHER_FILES[ending[1]])}")
    head = head_of(part, options.encoding)
    layout = layout_of(options.format, head)
    if layout is None:
        raise LayoutError(
            f"it is no file of {options.format}, as its start shows: {head.text[:120]!r}. Mend source.format, or "
            "leave it out and name columns and stamps yourself (docs/markets/formats.md)"
        )
    if layout.refusal:
        raise LayoutError(f"{options.format}: {layout.refusal}")
    if layout.clock and "timezone" not in options.model_fields_set and to_timedelta(timeframe) < _DAY:
        raise LayoutError(f"{options.format}: {layout.clock}")
    return options_of(layout, head, options)


def layout_of(name: Format, head: Head) -> Layout | None:
    """The first layout of a format that the start of a file fits; None if there is none."""
    return next((layout for layout in PRESETS[name] if _fits(layout, head)), None)


def _fits(layout: Layout, head: Head) -> bool:
    if not re.match(layout.begins, head.text, re.IGNORECASE):
        return False
    if layout.refusal:
        return True
    header = _header(layout, head)
    return all(_position(header, column) is not None for column in layout.columns.values())


def options_of(layout: Layout, head: Head, own: TableOptions) -> TableOptions:
    """The options that a layout fills, below those that are set in `own`."""
    header = _header(layout, head)
    by_name = layout.options.get("header", True) and not layout.lines_below
    columns = {}
    for ours, column in layout.columns.items():
        position = _position(header, column)
        if position is not None:
            columns[ours] = header[position] if by_name else str(position)
    skipped = layout.options.get("skip_rows", 0)
    below = {"header": False, "skip_rows": skipped + 1 + layout.lines_below} if layout.lines_below else {}
    own_values = {name: getattr(own, name) for name in own.model_fields_set}
    if {STAMP} <= {*own_values.get("columns", {})}:
        columns.pop(STAMP, None)
    options: dict[str, Any] = {
        **layout.options,
        **below,
        **own_values,
        "columns": {**columns, **own_values.get("columns", {})},
    }
    return TableOptions.model_validate(options)


def _header(layout: Layout, head: Head) -> list[str]:
    """The names of the columns; their positions if there is no header."""
    lines = head.text.split("\n")
    fields = fields_of(lines[min(layout.options.get("skip_rows", 0), len(lines) - 1)], head.separator)
    return fields if layout.options.get("header", True) else [str(number) for number in range(len(fields))]


def _position(header: list[str], column: str | int) -> int | None:
    if isinstance(column, int):
        return column if column < len(header) else None
    names = [name.strip().casefold() for name in header]
    return names.index(column.casefold()) if column.casefold() in names else None


@lru_cache(maxsize=64)
def head_of(part: Part, encoding: str | None) -> Head:
    """The start of a file, at most 1 MiB of it. Cached, as it is asked for with every fetch."""
    if not part.is_text:
        return Head(",".join(column_names(part)) + "\n", ",")
    start = start_of(part, _HEAD_BYTES)
    name = encoding or encoding_of(start)
    text = codecs.getincrementaldecoder("utf-8-sig" if name == "utf-8" else name)().decode(start)
    text = re.sub(r"\r\n?", "\n", text).lstrip("\n")
    whole = text if len(start) < _HEAD_BYTES else text[: text.rfind("\n") + 1]
    whole = whole if whole.endswith("\n") else whole + "\n"
    lines = whole.split("\n", 10)[:10]
    widest = max(lines, key=lambda line: len(fields_of(line, separator_of(line))))
    return Head(whole, separator_of(widest))
