"""What a search knows of its market: the bars that are closed at its as_of, read once and shared by all trials.

Labels and training windows are made once for each setting that trials share. How a trial is scored is objective.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.features.windows import InsufficientData, Window, WindowSize, build_window
from quantum_training.lifecycle.feature_sets import require_sets
from quantum_training.lifecycle.market_history import Bars, MarketHistory
from quantum_training.lifecycle.training.training_window import known_labels, wanted_rows
from quantum_training.market.timeframe import to_timedelta
from quantum_training.models.contract import algorithm
from quantum_training.resources.store.store import content_hash
from quantum_training.settings.schema import Recipe
from quantum_training.settings.search import Search
from quantum_training.trading.liquidity import mark_untraded
from quantum_training.trading.own_label import RecipeLabel
from quantum_training.trading.scoring import deciding_bars

KEPT_WINDOWS = 64
"""Training windows in memory; one of 5,000 bars takes some 2 MB, and what XGBoost makes of it 3."""


class Fold(NamedTuple):
    """A part of the scored bars. as_of: what a fit for it may see; start, stop: positions among the scored bars."""

    as_of: pd.Timestamp
    start: int
    stop: int


class FoldBars(NamedTuple):
    """What all trials read of a fold. candles: up to its last bar. filled: its bars; decided: those before them.

    features: of the bars `decided`.
    """

    candles: pd.DataFrame
    decided: pd.DatetimeIndex
    filled: pd.DatetimeIndex
    features: pd.DataFrame


@dataclass(frozen=True, eq=False)
class KnownMarket:
    """The market of a symbol as of a time. stretches: its known bars without a gap, oldest first, the last one scored.

    scored: open times of the bars that the trials are scored on, (bars,).
    """

    history: MarketHistory
    stretches: tuple[Bars, ...]
    scored: pd.DatetimeIndex
    folds: tuple[Fold, ...]

    @cached_property
    def window(self) -> Callable[[Recipe, pd.Timestamp], Window]:
        """The training window of a recipe as of a time: the same object for recipes that differ only in other settings.

        Each is kept.
        """
        return windows_of(self.history, self.stretches)

    @property
    def newest(self) -> Bars:
        """The bars since the newest gap, of which the last ones are scored."""
        return self.stretches[-1]

    @cached_property
    def fold_bars(self) -> list[FoldBars]:
        """The bars of each fold."""
        marked, features = mark_untraded(self.newest.candles), self.newest.features
        bars = []
        for fold in self.folds:
            filled = self.scored[fold.start : fold.stop]
            decided = deciding_bars(marked.index, filled)
            bars.append(FoldBars(marked.loc[: filled[-1]], decided, filled, features.reindex(decided)))
        return bars

    @cached_property
    def data_hash(self) -> str:
        """Hash of all that a trial can see: candles and features of the known bars."""
        return content_hash(pd.concat([bars.candles.join(bars.features) for bars in self.stretches]))

    def labels_hash(self, label: RecipeLabel) -> str:
        """Hash of the labels of all known bars, for those that are made of other symbols' bars, too."""
        return content_hash(known_labels(self.history, self.stretches, label))


def read_known_market(
    history: MarketHistory, search: Search, recipes: Iterable[Recipe], as_of: pd.Timestamp
) -> KnownMarket:
    """The market as of a time, as far back as the longest window of these recipes, the extremes of the space, reaches.

    InsufficientData if there are not more known bars since the newest gap than are to be scored. StoreError if bars up
    to as_of are not stored.
    """
    recipes = [*recipes]
    reach = max(wanted_rows(history.settings, recipe) + recipe.label.span_bars for recipe in recipes)
    first = history.first_month(as_of, search.bars + search.embargo_bars + reach + 1)
    sets = {name: s for recipe in recipes for name, s in recipe.feature_sets.items()}
    require_sets(history.store, history.settings, history.symbol, sets, first, as_of)
    read = history.known_stretches(first, as_of)
    stretches = tuple(bars for bars in read if len(bars.candles)) or (read[-1],)
    bars = pd.DatetimeIndex(stretches[-1].candles.index)
    if len(bars) <= search.bars + search.embargo_bars:
        need = search.bars + search.embargo_bars + 1
        raise InsufficientData(
            f"{history.symbol}: {len(bars)} bars without a gap known at {as_of}, need {need}, and before them the "
            "training windows; set search.bars lower",
            len(bars),
            need,
        )
    return known_market(history, stretches, search)


def known_market(history: MarketHistory, stretches: tuple[Bars, ...], search: Search) -> KnownMarket:
    """The market of these bars without a gap, oldest first, with the folds of a search over the newest of them."""
    bars = pd.DatetimeIndex(stretches[-1].candles.index)
    first_scored = len(bars) - search.bars
    folds = tuple(
        Fold(bars[first_scored + part[0] - search.embargo_bars], int(part[0]), int(part[-1]) + 1)
        for part in np.array_split(np.arange(search.bars), search.folds)
    )
    return KnownMarket(history, stretches, bars[first_scored:], folds)


def windows_of(history: MarketHistory, stretches: tuple[Bars, ...]) -> Callable[[Recipe, pd.Timestamp], Window]:
    """`window(recipe, as_of)`, which keeps what it has made: that of a training as of then.

    A training sees bars that are closed, so that a label is known to it one bar after its exit bar opens.
    """
    spacing = to_timedelta(history.market.timeframe)
    features: dict[bool, pd.DataFrame] = {}
    for only_newest in (False, True):
        features[only_newest] = pd.concat([bars.features for bars in _used(stretches, only_newest)])

    @lru_cache(maxsize=KEPT_WINDOWS)
    def labels(label: RecipeLabel, only_newest: bool) -> pd.DataFrame:
        return known_labels(history, _used(stretches, only_newest), label)

    @lru_cache(maxsize=KEPT_WINDOWS)
    def window(
        label: RecipeLabel, columns: tuple[str, ...], size: WindowSize, as_of: pd.Timestamp, only_newest: bool
    ) -> Window:
        closed = build_window(
            features[only_newest], labels(label, only_newest), as_of=as_of - spacing, columns=columns, size=size
        )
        return replace(closed, as_of=as_of)

    def window_of(recipe: Recipe, as_of: pd.Timestamp) -> Window:
        size = WindowSize(
            wanted_rows(history.settings, recipe), history.settings.min_training_data_points, recipe.validation_fraction
        )
        needs_market = algorithm(recipe.algorithm).traits.needs_market
        return window(recipe.label, recipe.columns, size, as_of, needs_market)

    return window_of


def _used(stretches: tuple[Bars, ...], only_newest: bool) -> tuple[Bars, ...]:
    """What a fit may learn from: an algorithm that reads the bars between its rows gets those since the newest gap."""
    return stretches[-1:] if only_newest else stretches
