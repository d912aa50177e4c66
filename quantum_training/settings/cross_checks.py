"""What must hold between the sections of the settings. Each check raises a ValueError that names the field.

What must hold within a section is in its own module; universes.py has what is about members.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date

from quantum_training.features.indicators import FEATURES
from quantum_training.features.sets.feature_set import DEFAULT, SEPARATOR, FeatureSet
from quantum_training.market.schema import COLUMNS
from quantum_training.market.universe import Universe
from quantum_training.settings.schema import Recipe, Symbol
from quantum_training.settings.universes import check_reader, check_universe, ranked_set

Symbols = Mapping[str, Symbol]
Recipes = Mapping[str, Recipe]
Universes = Mapping[str, Universe]


def check_days(start: date, end: date | None, symbols: Symbols) -> None:
    """The days of the settings and of symbols are in order."""
    if end and end < start:
        raise ValueError(f"end {end} is before start {start}; give a later end or an earlier start")
    for name, symbol in symbols.items():
        for field in ("start", "end"):
            day = getattr(symbol, field)
            if day and not start <= day <= (end or day):
                raise ValueError(f"symbols.{name}.{field} {day} is outside the settings' {start} to {end or 'today'}")
        if symbol.start and symbol.end and symbol.end < symbol.start:
            raise ValueError(f"symbols.{name}: end {symbol.end} is before start {symbol.start}")


def resolve_feature_sets(
    features: dict[str, FeatureSet], symbols: Symbols, series: Collection[str], universes: Universes, recipes: Recipes
) -> None:
    """Give ranked sets their members and recipes their sets. What these name, and what sets read, must exist."""
    for name in features:
        if name in (DEFAULT, *FEATURES, *COLUMNS) or SEPARATOR in name:
            raise ValueError(
                f"features.{name}: {DEFAULT!r}, the project's features and the columns of candles have names of "
                f"their own, and {SEPARATOR!r} stands between a set and its column; take another name"
            )
        for field, known in (("of", symbols), ("series", series)):
            if unknown := [read for read in getattr(features[name], field) if read not in known]:
                allowed = ", ".join(known) or "none, as the settings have no series"
                raise ValueError(f"features.{name}.{field}: unknown {', '.join(unknown)}; allowed: {allowed}")
        if features[name].within:
            features[name] = ranked_set(name, features[name], universes)
    if both := [name for name in series if name in symbols]:
        raise ValueError(f"series.{both[0]}: a symbol has this name; give the series another one")
    for name, recipe in recipes.items():
        try:
            recipe.find_sets(features)
        except ValueError as error:
            raise ValueError(f"recipes.{name}.features: {error}") from None


def check_universes(universes: Universes, symbols: Symbols, end: date | None) -> None:
    """Members of universes are symbols of the settings, as check_universe says. end: of the data of all symbols."""
    ends = {symbol: market.end for symbol, market in symbols.items() if market.end}
    last_days = {symbol: day for symbol, day in ends.items() if end is None or day < end}
    for name, universe in universes.items():
        check_universe(name, universe, symbols, last_days)


def check_recipe_names(symbols: Symbols, recipes: Recipes, universes: Universes, retrained: Collection[str]) -> None:
    """Symbols, ensembles and `retraining.recipes` name recipes that there are, and some symbol names one."""
    if not any(symbol.recipes for symbol in symbols.values()):
        raise ValueError("symbols: none has a recipe; name one in the recipes of a symbol")
    allowed = ", ".join(recipes)
    for name, symbol in symbols.items():
        for recipe in symbol.recipes:
            if recipe not in recipes:
                raise ValueError(f"symbols.{name}.recipes: unknown recipe {recipe!r}; allowed: {allowed}")
        check_reader(name, {recipe: recipes[recipe] for recipe in symbol.recipes}, universes)
    for name, ensemble in recipes.items():
        if unknown := [member for member in ensemble.members if member not in recipes]:
            raise ValueError(f"recipes.{name}.members: unknown {', '.join(unknown)}; allowed: {allowed}")
    if unknown := sorted({*retrained} - recipes.keys()):
        raise ValueError(f"retraining.recipes: unknown {', '.join(unknown)}; allowed: {allowed}")


def check_windows(recipes: Recipes, training_batch_size: int | None, least: int) -> None:
    """Each training window, those of searches included, has at least so many bars (`min_training_data_points`)."""
    for name, recipe in recipes.items():
        if (training_batch_size or recipe.window_bars) < least:
            raise ValueError(
                f"recipes.{name}.window_bars {recipe.window_bars} is below min_training_data_points {least}, so that "
                "no version could be trained; raise it or training_batch_size, or set min_training_data_points "
                "(MIN_TRAINING_DATA_POINTS) lower"
            )
        searched = recipe.search.space.get("window_bars") if recipe.search else None
        place = f"recipes.{name}.search.space.window_bars"
        if searched and training_batch_size:
            raise ValueError(
                f"{place}: training_batch_size {training_batch_size} takes its place in every fit; drop one of them"
            )
        if searched and (smallest := min(searched.extremes)) < least:
            raise ValueError(
                f"{place}: {smallest} is below min_training_data_points {least}, so that no trial with it could be "
                "trained; raise it"
            )
