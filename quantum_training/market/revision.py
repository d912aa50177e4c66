"""Completing stored candles with newly fetched ones, and finding where the source has revised its history."""

from __future__ import annotations

import pandas as pd

from quantum_training.market.quality import Defect
from quantum_training.market.schema import PRICES, as_candles

TOLERANCE = 1e-4


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

    It happens when a source adjusts its history for a dividend or split: old and new bars then do not fit together.
    """
    if stored.empty or stored.index[-1] not in fetched.index:
        return []
    bar = stored.index[-1]
    old, new = stored.loc[bar, list(PRICES)], fetched.loc[[bar], list(PRICES)].iloc[0]
    if ((new / old - 1).abs() <= TOLERANCE).all():
        return []
    price = (new / old - 1).abs().idxmax()
    message = (
        f"{symbol} bar {bar}: revised_history: {price} was {old[price]:g}, the source now says {new[price]:g}; "
        "re-materialise candles and features from the first month on with config refetch: true"
    )
    return [Defect("revised_history", "error", (bar,), message)]
