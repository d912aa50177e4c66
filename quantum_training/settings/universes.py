"""What must hold between universes, symbols and the feature sets that are ranked within a universe."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import pandas as pd

from quantum_training.features.sets.feature_set import FeatureSet
from quantum_training.market.timeframe import DAY, floor
from quantum_training.market.universe import Universe
from quantum_training.settings.schema import Recipe, Symbol


def check_universe(name: str, universe: Universe, symbols: Mapping[str, Symbol], last_days: Mapping[str, date]) -> None:
    """ValueError if a member is no symbol of the settings, if the bars of two members are of different hours, or if the
    data of one end while it is a member. last_days: of the symbols whose data end before those of others."""
    first = universe.spells[0].symbol
    for spell in universe.spells:
        place = f"universes.{name}: {universe.path}, line {spell.line}"
        if spell.symbol not in symbols:
            raise ValueError(
                f"{place}: unknown symbol {spell.symbol}; allowed: {', '.join(symbols)}. Members need candles of their "
                "own, also those that have left"
            )
        for field in ("timeframe", "calendar"):
            own, other = getattr(symbols[spell.symbol], field), getattr(symbols[first], field)
            if own != other:
                raise ValueError(
                    f"{place}: {spell.symbol} has {field} {own}, but {first} {other}; bars are ranked with those of "
                    "the same time, so that all members need one timeframe and one calendar"
                )
        if last_day := last_days.get(spell.symbol):
            last = floor(pd.Timestamp(last_day, tz="UTC") + DAY, symbols[spell.symbol].timeframe)
            if spell.end is None or spell.end > last:
                raise ValueError(
                    f"{place}: the data of {spell.symbol} end on {last_day}, but it is a member after its last whole "
                    f"bar; give `to`, {last:%Y-%m-%d} at the latest"
                )


def require_universe(place: str, within: str, universes: Mapping[str, Universe]) -> None:
    """ValueError if a place of the settings names a universe that there is not."""
    if within not in universes:
        allowed = ", ".join(universes) or "none, as the settings have no universes"
        raise ValueError(f"{place}.within: unknown {within}; allowed: {allowed}")


def ranked_set(name: str, feature_set: FeatureSet, universes: Mapping[str, Universe]) -> FeatureSet:
    """A set that is ranked within a universe, with the universe's symbols as those that it is computed from.

    ValueError if there is no such universe, or if the set names other symbols.
    """
    require_universe(f"features.{name}", feature_set.within, universes)
    symbols = universes[feature_set.within].symbols
    if feature_set.of not in ((), symbols):
        raise ValueError(f"features.{name}: of and within: a set is of these symbols, or ranked; make two sets")
    return feature_set.model_copy(update={"of": symbols})


def check_reader(symbol: str, recipes: Mapping[str, Recipe], universes: Mapping[str, Universe]) -> None:
    """ValueError if a recipe of a symbol compares within a universe that there is not, or in which the symbol never
    is."""
    for name, recipe in recipes.items():
        places = [(f"features.{s}", made_by.within) for s, made_by in recipe.used_sets.items() if made_by.within]
        places += [(f"recipes.{name}.label", within) for within in recipe.label_universes]
        for place, within in places:
            require_universe(place, within, universes)
            if symbol not in universes[within].symbols:
                raise ValueError(
                    f"symbols.{symbol}.recipes: {name} learns from {place}, but {symbol} never is in the universe "
                    f"{within}, so that it has no rank; add it there, or take another recipe"
                )
