"""Numbers as files write them: 30,998.19 or 30.998,19, $191.38, 120.5M, 0.76%. What cannot be told is not read."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.sources.tables.options import TableOptions
from quantum_training.sources.tables.text import MISSING, TEXT

_CURRENCY = "[$€£¥₹]"
_EXPONENTS = {"K": "e3", "M": "e6", "B": "e9", "T": "e12"}
_OTHER = {".": ",", ",": "."}
_SHOWN_BY = {  # texts that show which mark is the decimal one: 0.5, 1.25, 1.2345, 1234.567, 1,234.5 and 1,234,567
    mark: rf"^\D*0\{mark}\d|^\D*\d+\{mark}(?:\d{{1,2}}|\d{{4,}})\D*$|^\D*\d{{4,}}\{mark}\d|\{other}\d{{3}}\{mark}\d"
    rf"|\d\{other}\d{{3}}\{other}\d{{3}}"
    for mark, other in _OTHER.items()
}
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"


class Notation(NamedTuple):
    """How numbers are written. decimal: None if their marks do not show it."""

    decimal: str | None
    thousands: str


def notation_of(options: TableOptions, columns: list[pd.Series]) -> Notation:
    """The notation that the options name, else the one that the texts of all number columns show."""
    if options.decimal or options.thousands:
        decimal = options.decimal or _OTHER.get(options.thousands or "", ".")
        return Notation(decimal, options.thousands or _OTHER[decimal])
    texts = pd.concat([pd.Series(dtype=TEXT), *(c.drop_duplicates() for c in columns if c.dtype == TEXT)])
    shown = {mark: int(texts.str.contains(pattern).sum()) for mark, pattern in _SHOWN_BY.items()}
    if not any(shown.values()):
        return Notation(None, "")
    return Notation(".", ",") if shown["."] >= shown[","] else Notation(",", ".")


def as_numbers(column: pd.Series, notation: Notation) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of a column, NaN for what is missing or not read, and which texts were not read."""
    if column.dtype != TEXT:
        if pd.api.types.is_numeric_dtype(column):
            return column.to_numpy("float64", na_value=np.nan), np.zeros(len(column), bool)
        column = column.map(lambda value: "" if value is None or value != value else str(value)).astype(TEXT)
    texts = column.fillna("").str.strip()
    missing = texts.isin(MISSING).to_numpy(bool)
    texts = texts.str.replace(_CURRENCY, "", regex=True).str.replace(r"\s*%$", "", regex=True).str.strip()
    for letter, exponent in _EXPONENTS.items():
        texts = texts.str.replace(rf"(\d)\s*[{letter}{letter.lower()}]$", rf"\1{exponent}", regex=True)
    texts = _with_point(texts, notation)
    readable = texts.str.fullmatch(_NUMBER).to_numpy(bool) & ~missing
    values = np.full(len(texts), np.nan)
    values[readable] = texts[readable].astype("float64[pyarrow]").to_numpy("float64")
    return values, ~readable & ~missing


def _with_point(texts: pd.Series, notation: Notation) -> pd.Series:
    """Without marks between thousands, and with a decimal point. A text whose marks stand elsewhere is no number."""
    decimal = notation.decimal or "."
    for marks in ("[ '\u00a0\u202f]", re.escape(notation.thousands)):
        if marks:
            grouped = texts.str.fullmatch(rf"[+-]?\d{{1,3}}({marks}\d{{3}})+(\{decimal}\d*)?(e\d+)?")
            texts = texts.where(~grouped, texts.str.replace(marks, "", regex=True))
    if decimal == ",":
        texts = texts.str.replace(".", "?", regex=False).str.replace(",", ".", regex=False)
    return texts
