"""Pooled recipes: which symbols share one fit, and their training windows as one."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pandas as pd
from cachetools import LRUCache

from quantum_training.features.pool import Pool, pool
from quantum_training.features.windows import InsufficientData
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.other_markets import symbols_read_by
from quantum_training.lifecycle.records import CANDLES, FEATURES
from quantum_training.lifecycle.restatement import RESTATEMENTS
from quantum_training.lifecycle.series import SERIES
from quantum_training.lifecycle.stored_months import features_available_until
from quantum_training.lifecycle.stored_sets import feature_asset
from quantum_training.lifecycle.training.training_window import training_window
from quantum_training.models.contract import algorithm
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings import Settings

_NEWEST: LRUCache[tuple[Any, ...], tuple[Settings, Pool, dict[str, str]]] = LRUCache(maxsize=1)
"""The newest pool of this process: a batch trains all its symbols on the same one."""


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

    It is assembled once for all symbols, until something that it is made of is written. A symbol with too few bars or
    none is excluded. One whose bars are late takes part with what is stored, so that it does not stop the others.
    StoreError if the bars of the history's own symbol are not stored. InsufficientData if no symbol has enough.
    """
    if type(history.store) is not Store:  # a view of it, whose files are not the store's
        return _assembled(history, name, as_of)
    key = (id(history.settings), name, as_of, history.store.root, _written(history, name))
    if key not in _NEWEST or history.symbol in _NEWEST[key][2]:
        _NEWEST[key] = (history.settings, *_assembled(history, name, as_of))  # settings: so that their id stays theirs
    _, window, excluded = _NEWEST[key]
    return window, dict(excluded)


def _written(history: MarketHistory, name: str) -> tuple[tuple[str, str], ...]:
    """A token that changes with every write of what the pool is made of."""
    store, settings = history.store, history.settings
    assets = [(symbol, asset) for symbol in pool_of(settings, history.symbol, name) for asset in (CANDLES, FEATURES)]
    assets += [(symbol, RESTATEMENTS) for symbol in pool_of(settings, history.symbol, name)]
    others = symbols_read_by(settings, settings.recipes[name])
    assets += [(symbol, asset) for symbol in others for asset in (CANDLES, RESTATEMENTS)]
    for set_name, feature_set in settings.recipes[name].feature_sets.items():
        owners = feature_set.read_from or pool_of(settings, history.symbol, name)
        assets += [(owner, asset) for owner in owners for asset in (feature_asset(set_name), SERIES)]
    return tuple((suffix, str(store.stamps(a, s, suffix))) for s, a in assets for suffix in ("parquet", "json"))


def _assembled(history: MarketHistory, name: str, as_of: pd.Timestamp) -> tuple[Pool, dict[str, str]]:
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
