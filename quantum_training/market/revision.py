"""How the bars of a source differ from the same bars as they are stored, and stored bars completed by newer ones.

What is done about a difference is revision_policy.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from quantum_training.market.schema import PRICES, as_candles

TOLERANCE = 1e-4
CORRECTION = 0.01
"""A venue corrects a bar overnight by less than this."""


def complete(stored: pd.DataFrame, fetched: pd.DataFrame) -> pd.DataFrame:
    """Stored bars followed by the later ones of those fetched; a bar that is in both stays as it is stored."""
    newer = fetched[fetched.index > stored.index[-1]] if len(stored) else fetched
    return as_candles(pd.concat([stored, newer])) if len(stored) else newer


def updated(stored: pd.DataFrame, bars: pd.DataFrame) -> pd.DataFrame:
    """Stored bars, if there are any, with the values of `bars`, and with those of them that were not stored."""
    if stored.empty or bars.empty:
        return stored
    return as_candles(pd.concat([stored[~stored.index.isin(bars.index)], bars]).sort_index())


def same_bars(stored: pd.DataFrame, fetched: pd.DataFrame) -> bool:
    """Whether all stored bars are fetched again, each with prices that differ by at most 0.01 %."""
    if stored.empty or not stored.index.isin(fetched.index).all() or fetched.index.has_duplicates:
        return False
    again = fetched.loc[stored.index, list(PRICES)]
    return bool(((again / stored[list(PRICES)] - 1).abs() <= TOLERANCE).to_numpy().all())


@dataclass(frozen=True)
class Revision:
    """Stored bars, and what their source says of them now.

    stored: the bars that are compared. now: the same bars as the source gives them; NaN if it has one no more. added:
    bars between them that were not stored. price_factors, volume_factors: by what the source has multiplied each bar,
    as for a dividend or split; 1 from the newest of them on.
    """

    stored: pd.DataFrame
    now: pd.DataFrame
    added: pd.DataFrame
    price_factors: np.ndarray
    volume_factors: np.ndarray

    @property
    def times(self) -> pd.DatetimeIndex:
        """Open times of the compared bars."""
        return pd.DatetimeIndex(self.stored.index)

    @cached_property
    def multiplied(self) -> pd.DataFrame:
        """The stored bars times their factors."""
        bars = self.stored.mul(pd.Series(self.price_factors, self.times), axis=0)
        bars["volume"] = self.stored["volume"] * self.volume_factors
        return bars

    @cached_property
    def price_changes(self) -> np.ndarray:
        """Relative changes of open, high, low and close beyond the factors, one row a bar; 0 if the bar is missing."""
        changes = (self.now[list(PRICES)] / self.multiplied[list(PRICES)] - 1).abs()
        return np.asarray(changes.fillna(0.0))

    @property
    def moved(self) -> np.ndarray:
        """Which bars have a price that differs otherwise than by the factor, as booleans."""
        return np.asarray((self.price_changes > TOLERANCE).any(axis=1))

    @cached_property
    def differing(self) -> np.ndarray:
        """Which bars are not as they were, as booleans: rescaled, with another price or with another volume."""
        return np.asarray(self.replaced | (self.price_factors != 1))

    @cached_property
    def _other_volume(self) -> np.ndarray:
        volume, now = self.multiplied["volume"], self.now["volume"]
        return np.asarray(((now - volume).abs() > TOLERANCE * volume.abs()) & now.notna())

    @property
    def is_rescaled(self) -> bool:
        """Has the source multiplied prices?"""
        return bool((self.price_factors != 1).any())

    @property
    def missing(self) -> pd.DatetimeIndex:
        """Stored bars that the source has no more."""
        return pd.DatetimeIndex(self.stored.index[self.now["close"].isna()])

    @property
    def replaced(self) -> np.ndarray:
        """Which bars differ beyond the factors, as booleans."""
        return np.asarray(self.moved | self._other_volume)

    @property
    def altered(self) -> pd.DatetimeIndex:
        """Bars with another return or volume than they had, and those that were added: features rest on them."""
        steps = np.r_[False, self.price_factors[1:] != self.price_factors[:-1]][: len(self.times)]
        return pd.DatetimeIndex(self.times[steps | self.replaced].union(self.added.index))

    @property
    def bars(self) -> pd.DataFrame:
        """The stored bars as they are now: times their factors, and as the source gives them if they differ beyond."""
        bars = self.multiplied.copy()
        bars.loc[self._other_volume, "volume"] = self.now.loc[self._other_volume, "volume"]
        bars.loc[self.moved, list(PRICES)] = self.now.loc[self.moved, list(PRICES)]
        return as_candles(bars)

    def words(self, position: int) -> str:
        """What the source has changed of the bar at a position."""
        old, new = self.stored.iloc[position], self.now.iloc[position]
        change = (new[list(PRICES)] / old[list(PRICES)] - 1).abs()
        what = str(change.idxmax()) if change.max() > TOLERANCE else "volume"
        return f"{what} was {old[what]:.8g}, the source now says {new[what]:.8g}"


def compare(stored: pd.DataFrame, fetched: pd.DataFrame) -> Revision:
    """How fetched bars differ from stored ones. Stored bars before the first fetched one are not compared."""
    fetched = fetched[fetched[list(PRICES)].notna().all(axis=1)].sort_index(kind="stable")
    fetched = fetched[~fetched.index.duplicated(keep="last")]
    stored = stored[stored.index >= fetched.index[0]] if len(fetched) else stored[:0]
    now = fetched.reindex(stored.index)
    between = fetched[~fetched.index.isin(stored.index)]
    added = between[between.index < stored.index[-1]] if len(stored) else between[:0]
    factors = _levels((now[list(PRICES)] / stored[list(PRICES)]).to_numpy("float64"))
    return Revision(stored, now, added, factors, _volume_factors(stored, now, factors))


def _levels(ratios: np.ndarray) -> np.ndarray:
    """Factor of each bar, given the ratios of its four prices: one number for bars that follow each other.

    A bar whose prices changed by different ratios has the factor of the next bar, else of the one before.
    """
    middle = np.full(len(ratios), np.nan)
    whole = ~np.isnan(ratios).any(axis=1)
    middle[whole] = np.median(ratios[whole], axis=1)
    with np.errstate(invalid="ignore"):
        pure = whole & (np.abs(ratios / middle[:, None] - 1).max(axis=1, initial=0) <= TOLERANCE)
    at = np.flatnonzero(pure)
    if not len(at):
        return np.ones(len(ratios))
    values = middle[at]
    for group in np.split(np.arange(len(at)), np.flatnonzero(np.abs(np.diff(values) / values[:-1]) > TOLERANCE) + 1):
        level = float(np.median(values[group]))
        values[group] = 1.0 if abs(level - 1) <= TOLERANCE else level
    levels = np.full(len(ratios), np.nan)
    levels[at] = values
    return np.asarray(pd.Series(levels).bfill().ffill())


def _volume_factors(stored: pd.DataFrame, now: pd.DataFrame, price_factors: np.ndarray) -> np.ndarray:
    """1 over the price factor for a split, which changes both; else 1."""
    factors = np.ones(len(stored))
    has_volume = ((stored["volume"] > 0) & (now["volume"] > 0)).to_numpy()
    for factor in np.unique(price_factors[np.abs(price_factors - 1) > 2 * CORRECTION]):
        bars = (price_factors == factor) & has_volume
        if bars.any():
            ratio = float(np.median(now["volume"].to_numpy()[bars] / stored["volume"].to_numpy()[bars]))
            if abs(ratio * factor - 1) <= CORRECTION:
                factors[price_factors == factor] = 1 / factor
    return factors
