"""Which symbols share one fit of a pooled recipe."""

from collections.abc import Iterable
from contextlib import suppress

from quantum_training.models.contract import algorithm
from quantum_training.settings.settings import Settings


def pool_of(settings: Settings, symbol: str, name: str) -> list[str]:
    """The symbols that share a fit of recipe `name` with this one: those of its timeframe that use the recipe."""
    timeframe = settings.symbols[symbol].timeframe
    return sorted(
        s for s, market in settings.symbols.items() if name in market.recipes and market.timeframe == timeframe
    )


def peers(settings: Settings, symbols: Iterable[str]) -> list[str]:
    """All symbols that share a fit with one of these, themselves not left out. Of a recipe that cannot be imported its
    own training says so.
    """
    found: set[str] = set()
    for symbol in symbols:
        for name in settings.symbols[symbol].recipes:
            with suppress(Exception):
                if algorithm(settings.recipes[name].algorithm).traits.is_pooled:
                    found |= {*pool_of(settings, symbol, name)}
    return sorted(found)
