"""A settings entry for a file of which nothing is known: format, columns, stamps, timeframe, clock and calendar."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pandas as pd

from quantum_training.lifecycle.source_inspection.columns import columns_of, stamp_form
from quantum_training.lifecycle.source_inspection.hours import hours_of, timeframe_of
from quantum_training.market.schema import PRICES
from quantum_training.market.timeframe import DAY, to_timedelta
from quantum_training.settings.schema import Symbol
from quantum_training.sources import SourceError
from quantum_training.sources.tables.layout import Format
from quantum_training.sources.tables.layouts import Head, head_of, layout_of, options_of
from quantum_training.sources.tables.locations import Part, find_parts
from quantum_training.sources.tables.options import TableOptions
from quantum_training.sources.tables.presets import PRESETS
from quantum_training.sources.tables.table import KEY, Table, read_table

_GENERIC: tuple[Format, ...] = ("histdata", "freqtrade", "stooq", "tradingview", "bitstamp", "yahoo", "qlib")
"""Formats that files of others look like: tried last, in this order."""
_SOUND = 0.5
_OTHERS = 10
"""Files of a folder or zip that are read beside the first: one a day may hold one bar."""
_DECLARED = r"\d{9,19}|.*\d:\d\d.*([+-]\d\d:?\d\d|Z)"
"""Stamps that say of which instant they are."""


class Reading(NamedTuple):
    """A way to read the file. entry: as the settings would have it; options: with what the format fills."""

    entry: dict[str, Any]
    options: TableOptions
    table: Table
    is_local: bool

    @property
    def sound(self) -> float:
        """The share of rows that are possible bars, in one direction of time."""
        bars = self.table.bars
        prices = bars[list(PRICES)]
        possible = (prices["low"] == prices.min(axis=1)) & (prices["high"] == prices.max(axis=1)) & (prices["low"] > 0)
        steps = bars.index.to_series().diff().dropna() > pd.Timedelta(0)
        in_order = steps.mean() if len(steps) and not self.options.rows_where else 1.0
        return float(possible.mean() * in_order) if len(bars) else 0.0


def guess_market(path: str, now: pd.Timestamp) -> tuple[str, Symbol, list[str]]:
    """A name, a market and remarks on what is not certain of it. SourceError if no bars are found in the file."""

    def error_of(problem: str) -> SourceError:
        return SourceError("?", f"files {path}", problem, "Name its columns and stamps in source")

    try:
        part, *others = find_parts(path)
        head = head_of(part, None)
        with TemporaryDirectory() as folder:
            sample = _sample(part, head, Path(folder))
            ways = [*_by_format(head, sample)]
            ways = ways if any(way.sound > _SOUND for way in ways) else [*ways, *_by_columns(head, sample)]
            readings = [_with_others(way, others[:_OTHERS]) for way in ways if way.sound > _SOUND]
    except (OSError, ValueError) as error:
        raise error_of(f"it cannot be read: {error}") from error
    if not readings:
        begin = f"it begins with {head.text[:200]!r}"
        if not ways:
            raise error_of(f"no columns of bars are recognised in it; {begin}")
        share = max(way.sound for way in ways)
        problem = f"only {share:.0%} of its rows are in order with open and close within low and high; {begin}"
        raise error_of(f"{problem}. Columns may be swapped, or only the close adjusted")
    best = max(readings, key=lambda reading: reading.sound)
    same = [r.entry["format"] for r in readings if r is not best and "format" in r.entry and r.sound >= best.sound]
    remarks = [f"format: {best.entry.get('format', 'none of the known ones')}"]
    remarks += [f"  it could also be {', '.join(same)}, which reads the same columns"] if same else []
    remarks += [f"  first stamp {best.table.bars.index.min():%Y-%m-%d %H:%M}, as the file has it"]
    return _market(path, best, now, remarks, error_of)


def _with_others(reading: Reading, parts: list[Part]) -> Reading:
    """With the bars of other files that are read in the same way."""
    bars = [reading.table.bars]
    for part in parts:
        options, name = reading.options, reading.entry.get("format")
        if name:
            head = head_of(part, None)
            layout = layout_of(name, head)
            if layout is None or layout.refusal:
                continue
            options = options_of(layout, head, TableOptions(path="-"))
        bars += [other.table.bars for other in _read(reading.entry, options, part, reading.is_local)]
    return reading._replace(table=reading.table._replace(bars=pd.concat(bars)))


def _market(
    path: str, reading: Reading, now: pd.Timestamp, remarks: list[str], error_of: Any
) -> tuple[str, Symbol, list[str]]:
    bars, entry = reading.table.bars, dict(reading.entry)
    for name in reading.options.rows_where:
        counts = bars[KEY + name].value_counts()
        entry["rows_where"] = {name: str(counts.index[0])}
        bars = bars[bars[KEY + name] == counts.index[0]]
        remarks.append(f"  {name}: {', '.join(map(str, counts.index[:10]))}; the entry is for the first")
    if len(bars) == 1:
        remarks.append("timeframe: a guess, as there is one bar only")
    try:
        timeframe = timeframe_of(pd.DatetimeIndex(bars.index))
    except ValueError as error:
        raise error_of(str(error)) from error
    fitting = hours_of(pd.DatetimeIndex(bars.index), timeframe, reading.is_local)
    hours = fitting[0]
    remarks.append(
        f"calendar: {hours.calendar}{f', clock {hours.timezone}' if hours.timezone else ''}; {hours.unlike:.1%} differ"
    )
    remarks += [
        f"  {h.calendar}, {h.timezone or 'UTC'} fits as well" for h in fitting[1:4] if h.unlike <= hours.unlike + 0.005
    ]
    if hours.timezone not in (None, "UTC"):
        entry["timezone"] = hours.timezone
    elif reading.is_local and to_timedelta(timeframe) < DAY:
        entry["timezone"] = "UTC"
        remarks.append("clock: UTC, as neither the stamps nor the hours of trading show another one")
    calendar = hours.calendar if isinstance(hours.calendar, str) else hours.calendar.model_dump(exclude_unset=True)
    of_market = {"timeframe": timeframe, "calendar": calendar, "recipes": ["none"], "start": bars.index.min().date()}
    market = Symbol.model_validate({"source": {"kind": "files", "path": path, **entry}, **of_market})
    return _name(path, entry), market, remarks


def _name(path: str, entry: dict[str, Any]) -> str:
    """A symbol's name: that of its rows, else the begin of the file's name."""
    text = next(iter(entry.get("rows_where", {}).values()), re.split(r"[/\\]", path.rstrip("/\\"))[-1])
    name = re.match(r"[A-Za-z0-9][A-Za-z0-9-]{0,30}", re.sub(r"^[^A-Za-z0-9]+", "", text))
    return name[0] if name else "SYMBOL"


def _sample(part: Part, head: Head, folder: Path) -> Part:
    """A table of the file's start alone, if it is text."""
    if not part.is_text:
        return part
    (folder / "sample.csv").write_text(head.text)
    return find_parts(str(folder / "sample.csv"))[0]


def _by_format(head: Head, sample: Part) -> Iterator[Reading]:
    """The ways to read a file by each format that it can have."""
    special = sorted(name for name in PRESETS if name not in _GENERIC)
    for name in (*special, *_GENERIC):
        layout = layout_of(name, head)
        if layout is None or layout.refusal:
            continue
        options = options_of(layout, head, TableOptions(path="-"))
        yield from _read({"format": name}, options, sample, bool(layout.clock))


def _by_columns(head: Head, sample: Part) -> Iterator[Reading]:
    """The way to read a file by the names or the numbers of its columns."""
    columns = columns_of(head)
    if columns is None:
        return
    entry = dict(columns.options)
    stamps = [entry[c] for c in ("date_column", "time_column") if c in entry] or [
        entry["columns"].get("open_time", "open_time")
    ]
    texts = columns.rows[stamps].agg(" ".join, axis=1)
    if len(texts):
        form = stamp_form(texts)
        entry |= {"datetime_format": form} if form else {}
        order = pd.to_datetime(texts, format=form or "mixed", errors="coerce", utc=True)
        entry |= {"descending": True} if len(order) > 1 and order.is_monotonic_decreasing else {}
    if columns.tickers:
        entry["rows_where"] = {columns.tickers: "{symbol}"}
    is_local = bool(len(texts)) and not texts.str.fullmatch(_DECLARED).all()
    yield from _read(entry, TableOptions.model_validate({"path": "-", **entry}), sample, is_local)


def _read(entry: dict[str, Any], options: TableOptions, sample: Part, is_local: bool) -> Iterator[Reading]:
    of_all = options.model_copy(update={"rows_where": dict.fromkeys(options.rows_where, "")})
    try:
        yield Reading(entry, options, read_table(of_all, sample), is_local)
    except (OSError, ValueError):
        return
