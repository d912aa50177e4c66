"""Which columns of an unknown table are which, by their names or by their numbers, and how its stamps are written."""

from __future__ import annotations

import re
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from quantum_training.sources.tables.layouts import Head
from quantum_training.sources.tables.text import fields_of

_NAMES = {
    "open_time": "open_time timestamp t datetime date_time gmt_time utc_time time date unix ts start period day datum "
    "zeitpunkt fecha data",
    "open": "open o first open_price openprice eröffnung eröffn apertura ouverture otwarcie",
    "high": "high h max high_price highprice hoch máximo maximo haut najwyzszy",
    "low": "low l min low_price lowprice tief mínimo minimo bas najnizszy",
    "close": "close c last price close_last close_price closeprice schluss zuletzt cierre clôture zamkniecie",
    "volume": "volume v vol tickvol tick_volume qty quantity base_volume volume_base volumen wolumen",
}
_TICKERS = {"ticker", "symbol", "tic", "code", "instrument", "pair"}
_DAYS = ("%d.%m.%Y", "%Y.%m.%d", "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%Y%m%d", "%b %d, %Y", "%d %b %Y")
_CLOCKS = ("", " %H:%M:%S", " %H:%M", " %H%M%S", " %H%M", " %H:%M:%S.%f", " %I:%M %p", " %I-%p")
_FORMS = ("%Y-%m-%d %I-%p", *(day + clock for day in _DAYS for clock in _CLOCKS))
_STAMP = re.compile(
    r"\d{9,19}(\.\d*)?|\d{4}-\d\d-\d\d.*|\d{1,4}[./-]\d{1,2}[./-]\d{1,4}.*|\d{8}( \d{4,6})?|[A-Z][a-z]{2} \d.*"
)
_SAMPLE = 200


class Columns(NamedTuple):
    """options: of the source, that name the columns. tickers: the column of symbols, or "". rows: the first rows."""

    options: dict[str, Any]
    tickers: str
    rows: pd.DataFrame


def columns_of(head: Head) -> Columns | None:
    """The columns of a table; None if there are none for all four prices."""
    lines = [fields_of(line, head.separator) for line in head.text.split("\n")[: _SAMPLE + 10]]
    for number, line in enumerate(lines[:10]):
        if named := _named(line):
            rows = _table(lines[number + 1 :], line)
            return Columns({**named, **({"skip_rows": number} if number else {})}, _ticker(line, rows), rows)
    start = next((n for n, line in enumerate(lines[:10]) if len(line) > 4 and _is_stamp(line[0])), None)
    return None if start is None else _unnamed(lines[start:], start)


def _named(header: list[str]) -> dict[str, Any] | None:
    names = [re.sub(r"\W+", "_", name).strip("_").casefold() for name in header]
    columns: dict[str, str] = {}
    for ours, known in _NAMES.items():
        words = known.split()
        fitting = [n for n in words if n in names] or [n for n in names if ours == "volume" and n.startswith("vol")]
        if fitting:
            columns[ours] = header[names.index(fitting[0])]
    if not {"open_time", "open", "high", "low", "close"} <= {*columns}:
        return None
    options: dict[str, Any] = {} if "volume" in columns else {"volume": "none"}
    if {"date", "time"} <= {*names}:
        del columns["open_time"]
        options |= {"date_column": header[names.index("date")], "time_column": header[names.index("time")]}
    return {"columns": {ours: name for ours, name in columns.items() if ours != name}, **options}


def _ticker(header: list[str], rows: pd.DataFrame) -> str:
    name = next((name for name in header if re.sub(r"\W+", "", name).casefold() in _TICKERS), "")
    return name if name and len(rows[name].unique()) > 1 else ""


def _unnamed(lines: list[list[str]], start: int) -> Columns | None:
    """Columns by position, stamps first: high and low are told by their numbers, open and close by continuity."""
    rows = _table(lines, [str(number) for number in range(len(lines[0]))])
    two = bool(re.fullmatch(r"\d{1,2}:?\d\d(:?\d\d)?", lines[0][1]))
    first = 2 if two else 1
    prices = rows.iloc[:, first : first + 4].apply(pd.to_numeric, errors="coerce")
    if prices.shape[1] < 4 or prices.isna().any(axis=None):
        return None
    order = min(permutations(range(4)), key=lambda order: _jumps(prices.to_numpy()[:, order]))
    columns = {
        ours: str(first + position) for ours, position in zip(("open", "high", "low", "close"), order, strict=True)
    }
    stamps = {"date_column": "0", "time_column": "1"} if two else {}
    columns |= {} if two else {"open_time": "0"}
    has_volume = rows.shape[1] > first + 4
    columns |= {"volume": str(first + 4)} if has_volume else {}
    options = {"header": False, "columns": columns, **stamps, **({} if has_volume else {"volume": "none"})}
    return Columns({**options, **({"skip_rows": start} if start else {})}, "", rows)


def _jumps(prices: np.ndarray) -> float:
    """How little an order of columns looks like open, high, low and close: impossible bars, then steps between bars."""
    opens, high, low, closes = prices.T
    impossible = ((high < np.maximum(opens, closes)) | (low > np.minimum(opens, closes))).sum()
    steps = np.abs(opens[1:] - closes[:-1])
    backwards = np.abs(closes[1:] - opens[:-1])
    return float(impossible * 1e12 + min(steps.sum(), backwards.sum() + steps.sum()))


def _table(lines: list[list[str]], names: list[str]) -> pd.DataFrame:
    rows = [line[: len(names)] for line in lines[:_SAMPLE] if len(line) >= len(names)]
    return pd.DataFrame(rows, columns=names)


def _is_stamp(text: str) -> bool:
    return bool(_STAMP.fullmatch(text.strip()))


def stamp_form(texts: pd.Series) -> str | None:
    """The form of stamps as strptime has it, the one with the steadiest steps; None for ISO 8601 and Unix time.

    ValueError if no known form reads all of them.
    """
    texts = texts.str.strip()
    if texts.str.fullmatch(r"\d{9,19}(\.\d*)?").all() or texts.str.match(r"\d{4}-\d\d-\d\d(?!.*-[AP]M)").all():
        return None
    fitting = [form for form in _FORMS if pd.to_datetime(texts, format=form, errors="coerce").notna().all()]
    if not fitting:
        raise ValueError(f"no known form of stamps reads {', '.join(texts.head(3))}; set datetime_format")
    return min(fitting, key=lambda form: pd.to_datetime(texts, format=form).diff().abs().max())
