"""Pooled recipes: which symbols share one fit, and their training windows as one."""

from collections.abc import Iterable
from contextlib import suppress

import pandas as pd

from quantum_training.features.pool import Pool, pool
from quantum_training.features.windows import InsufficientData
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.stored_months import features_available_until
from quantum_training.lifecycle.training.training_window import training_window
from quantum_training.models.contract import algorithm
from quantum_training.resources.store.store import StoreError
from quantum_training.settings import Settings


def pool_of(settings: Settings, symbol: str, recipe: str) -> list[str]:
    """The symbols that share a fit of this recipe with `symbol`: those of its timeframe that use the recipe."""
    timeframe = settings.symbols[symbol].timeframe
    return sorted(
        s for s, market in settings.symbols.items() if recipe in market.recipes and market.timeframe == timeframe
    )


def pool_peers(settings: Settings, symbols: Iterable[str]) -> list[str]:
    """All symbols that share a fit with one of these, these included.

    A recipe whose algorithm cannot be imported is skipped: its own training reports the error.
    """
    peers: set[str] = set()
    for symbol in symbols:
        for name in settings.symbols[symbol].recipes:
            with suppress(Exception):
                if algorithm(settings.recipes[name].algorithm).traits.is_pooled:
                    peers |= {*pool_of(settings, symbol, name)}
    return sorted(peers)


def pooled_window(history: MarketHistory, name: str, as_of: pd.Timestamp) -> tuple[Pool, dict[str, str]]:
    """The training windows of all symbols that share recipe `name` as one, and why a symbol is excluded or incomplete.

    A symbol with too few bars or none is excluded. One whose bars are late takes part with what is stored, so that it
    does not stop the others. StoreError if the bars of the history's own symbol are not stored. InsufficientData if no
    symbol has enough.
    """
    store, settings, symbol = history.store, history.settings, history.symbol
    recipe = settings.recipes[name]
    windows, excluded = {}, {}
    for peer in pool_of(settings, symbol, name):
        until = as_of if peer == symbol else features_available_until(store, peer)
        if until is None:
            excluded[peer] = "no bars are stored"
            continue
        if until < as_of:
            excluded[peer] = f"its bars after {until}; run the job market_data"
        try:
            windows[peer] = training_window(store, settings, peer, recipe, min(until, as_of))
        except (InsufficientData, StoreError) as error:
            if peer == symbol and isinstance(error, StoreError):
                raise
            excluded[peer] = str(error)
    if not windows:
        raise InsufficientData(f"no symbol of the pool has enough bars: {excluded}", 0, 1)
    window = pool(windows, recipe.validation_fraction)
    excluded |= {peer: "no row before the validation starts" for peer in windows if peer not in window.normalisers}
    return window, excluded
