"""Stamps as files write them, as UTC instants: ISO 8601, any strptime form, or Unix time in whatever unit.

A stamp that cannot be read has no instant (NaT), and spoils no other one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from quantum_training.sources.tables.numbers import Notation, as_numbers
from quantum_training.sources.tables.options import TableOptions
from quantum_training.sources.tables.text import TEXT
from quantum_training.sources.tables.zones import as_zone, instants

UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_FIRST, _LAST = pd.Timestamp("1980-01-01", tz="UTC").timestamp(), pd.Timestamp("2100-01-01", tz="UTC").timestamp()
_OFFSET = r"(?:Z|\d:\d\d(?:\.\d+)?\s?[+-]\d{2}(?::?\d{2})?|[+-]\d{2}:\d{2})$"
_UNIX = r"\d{9,}(\.\d*)?"


def as_instants(options: TableOptions, stamps: pd.Series, groups: np.ndarray | None = None) -> pd.DatetimeIndex:
    """UTC instants of a column of stamps, ns; NaT for those that cannot be read. groups: as zones.instants has them."""
    localize = partial(instants, zone=as_zone(options.timezone), groups=groups, descending=options.descending)
    if isinstance(stamps.dtype, pd.DatetimeTZDtype):
        return pd.DatetimeIndex(stamps).tz_convert("UTC").as_unit("ns")
    if pd.api.types.is_datetime64_dtype(stamps):
        return localize(pd.DatetimeIndex(stamps).as_unit("ns"))
    if pd.api.types.is_numeric_dtype(stamps):
        if options.datetime_format in (None, *UNITS) and not _are_dates(stamps):
            return _from_unix(stamps.to_numpy())
        stamps = stamps.astype("string")
    if stamps.dtype != TEXT:
        stamps = stamps.map(lambda value: "" if value is None or value != value else str(value)).astype(TEXT)
    stamps = stamps.fillna("")
    if options.datetime_format in (None, *UNITS):
        unix = stamps.str.fullmatch(_UNIX).to_numpy(bool)
        if unix.any():
            return _from_unix(_unix_numbers(stamps.where(unix, "")))
    return _from_text(stamps, None if options.datetime_format in UNITS else options.datetime_format, localize)


def _are_dates(stamps: pd.Series) -> bool:
    """Whether numbers are dates, as 20240131."""
    return bool(stamps.dropna().between(19000101, 21001231).all())


def unit_of(text: str) -> str | None:
    """The unit in which a text is Unix time; None if it is in none."""
    if not re.fullmatch(_UNIX, text):
        return None
    number = float(text)
    return next((unit for unit, size in UNITS.items() if _FIRST * size <= number < _LAST * size), None)


def _unix_numbers(texts: pd.Series) -> np.ndarray:
    """Whole numbers without a detour over floats, which would lose nanoseconds."""
    try:
        return pc.cast(pa.array(texts.replace("", None)), pa.int64()).to_pandas().to_numpy()
    except pa.ArrowInvalid:
        return as_numbers(texts, Notation(".", ""))[0]


def _from_unix(numbers: np.ndarray) -> pd.DatetimeIndex:
    """Each stamp in the unit in which it lies between 1980 and 2100: no number does in two."""
    times = np.full(len(numbers), np.iinfo("int64").min)
    for per_second in UNITS.values():
        within = (numbers >= _FIRST * per_second) & (numbers < _LAST * per_second)
        scale = UNITS["ns"] // per_second
        whole = numbers[within] if numbers.dtype == np.int64 else np.floor(numbers[within])
        times[within] = whole.astype("int64") * scale
        if whole.dtype != np.int64:
            times[within] += np.rint((numbers[within] - whole) * scale).astype("int64")
    return pd.DatetimeIndex(times.view("datetime64[ns]"), tz="UTC")


def _from_text(
    texts: pd.Series, form: str | None, localize: Callable[[pd.DatetimeIndex], pd.DatetimeIndex]
) -> pd.DatetimeIndex:
    """Clock times are those of the zone; a stamp with an offset of its own needs none."""
    if form is None and (times := _iso(texts)) is not None:
        return times if times.tz is not None else localize(times)
    parsed: Any = pd.to_datetime(texts.astype(object), format=form or "ISO8601", errors="coerce", utc=True)
    in_range = (parsed > pd.Timestamp.min.tz_localize("UTC")) & (parsed < pd.Timestamp.max.tz_localize("UTC"))
    times = pd.DatetimeIndex(parsed.where(in_range)).as_unit("ns")
    has_offset = texts.str.contains(_OFFSET).to_numpy(bool) if form is None else np.full(len(texts), "%z" in form)
    if has_offset.all():
        return times
    local = localize(times.tz_localize(None))
    return pd.DatetimeIndex(np.where(has_offset, times, local), tz="UTC") if has_offset.any() else local


def _iso(texts: pd.Series) -> pd.DatetimeIndex | None:
    """Plain ISO 8601 stamps, all with an offset or all without; None if they are not of this kind."""
    values = pa.array(texts)
    for kind in (pa.timestamp("ns"), pa.timestamp("ns", "UTC")):
        try:
            return pd.DatetimeIndex(pc.cast(values, kind).to_pandas()).as_unit("ns")
        except pa.ArrowInvalid:
            continue
    return None
