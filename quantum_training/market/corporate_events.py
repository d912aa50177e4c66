"""Dividends and splits as a source names them."""

from __future__ import annotations

from typing import Literal, NamedTuple

import pandas as pd


class CorporateEvent(NamedTuple):
    """A dividend, split or distribution of gains. ex_date: open time of the first bar without it, UTC.

    value: amount a share, or new shares for an old one. is_applied: whether the prices before it are adjusted for it;
    None if that cannot be seen.
    """

    kind: Literal["dividend", "split", "capital gain"]
    ex_date: pd.Timestamp
    value: float
    is_applied: bool | None = None

    def __str__(self) -> str:
        of = f"{self.value:g}:1" if self.kind == "split" else f"of {self.value:g}"
        return f"{self.kind} {of} on {self.ex_date:%Y-%m-%d}"
