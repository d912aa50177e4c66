"""Completing stored candles with newly fetched ones, and finding where the source has revised its history."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.market.quality import Defect
from quantum_training.market.schema import PRICES, as_candles

TOLERANCE = 1e-4
REVISED = "revised_history"
"""Name of the defect that stored bars and those that the source gives now do not fit together."""

CORRECTION = 0.01
"""A venue corrects a bar overnight by less than this, and not all of its prices."""


class Rescaling(NamedTuple):
    """By what a source has multiplied prices and volumes. corrected_bars: number of bars that it changed otherwise."""

    price: float
    volume: float
    corrected_bars: int

    @property
    def is_none(self) -> bool:
        """Are prices and volumes as they were?"""
        return abs(self.price - 1) <= TOLERANCE and self.volume == 1


def complete(stored: pd.DataFrame, fetched: pd.DataFrame) -> pd.DataFrame:
    """Stored bars followed by the later ones of those fetched; a bar that is in both stays as it is stored."""
    newer = fetched[fetched.index > stored.index[-1]] if len(stored) else fetched
    return as_candles(pd.concat([stored, newer])) if len(stored) else newer


def same_bars(stored: pd.DataFrame, fetched: pd.DataFrame) -> bool:
    """Whether all stored bars are fetched again, each with prices that differ by at most 0.01 %."""
    if stored.empty or not stored.index.isin(fetched.index).all() or fetched.index.has_duplicates:
        return False
    again = fetched.loc[stored.index, list(PRICES)]
    return bool(((again / stored[list(PRICES)] - 1).abs() <= TOLERANCE).to_numpy().all())


def revised(symbol: str, stored: pd.DataFrame, fetched: pd.DataFrame) -> list[Defect]:
    """A defect if the newest stored bar is fetched again with a price that differs by more than 0.01 %.

    An error if the source may have adjusted its history for a dividend or split: old and new bars then do not fit
    together. A warning if it corrected one or two of the bar's prices by at most 1 %: the bar stays as it is stored.
    """
    if stored.empty or stored.index[-1] not in fetched.index:
        return []
    bar = stored.index[-1]
    old, new = stored.loc[bar, list(PRICES)], fetched.loc[[bar], list(PRICES)].iloc[0]
    change = (new / old - 1).abs()
    if (change <= TOLERANCE).all():
        return []
    price = change.idxmax()
    what = f"{price} was {old[price]:g}, the source now says {new[price]:g}"
    if (change <= TOLERANCE).sum() >= 2 and change.max() <= CORRECTION:
        message = f"{symbol} bar {bar}: corrected_bar: {what}; the bar stays as it is stored"
        return [Defect("corrected_bar", "warning", (bar,), message)]
    message = (
        f"{symbol} bar {bar}: {REVISED}: {what}; set `revisions: restate` for the symbol if the source adjusts for "
        "dividends or splits, or materialise candles and features of all stored months again, oldest first, with "
        "config refetch: true"
    )
    return [Defect(REVISED, "error", (bar,), message)]


def rescaled(symbol: str, stored: pd.DataFrame, fetched: pd.DataFrame) -> list[Defect]:
    """A defect if the stored bars are fetched again with all prices multiplied by a factor."""
    step = rescaling(stored, fetched)
    if step is None or step.is_none:
        return []
    message = f"{symbol}: {REVISED}: the source has multiplied its prices by {step.price:.6g}"
    return [Defect(REVISED, "error", (stored.index[0], stored.index[-1]), message)]


def rescaling(stored: pd.DataFrame, fetched: pd.DataFrame) -> Rescaling | None:
    """How fetched bars differ from the same ones as they are stored; None if bars are missing or changed otherwise.

    Factors are medians over the bars. A bar may be off the price factor by at most 1 %: it then counts as corrected.
    """
    if not stored.index.isin(fetched.index).all() or fetched.index.has_duplicates:
        return None
    if stored.empty:
        return Rescaling(1.0, 1.0, 0)
    again = fetched.loc[stored.index]
    ratios = (again[list(PRICES)] / stored[list(PRICES)]).to_numpy("float64")
    price = float(np.median(ratios))
    off = np.abs(ratios / price - 1).max(axis=1)
    if not (off <= CORRECTION).all():
        return None
    has_volume = stored["volume"] > 0
    volume = float(np.median(again["volume"][has_volume] / stored["volume"][has_volume])) if has_volume.any() else 1.0
    is_split = abs(volume * price - 1) <= CORRECTION and abs(price - 1) > 2 * CORRECTION
    return Rescaling(price, 1 / price if is_split else 1.0, int((off > TOLERANCE).sum()))
