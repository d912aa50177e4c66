"""Trying what the settings name: the newest bars of each source, and a small fit of each recipe. Nothing is stored.

What can be known from the settings alone is refused when they are read.
"""

from __future__ import annotations

import pandas as pd

from quantum_training.lifecycle.evaluation.leakage import recipe_under_test
from quantum_training.market.calendars import expected_open_times
from quantum_training.monitoring.synthetic_training import SyntheticMarket, fit_on_synthetic
from quantum_training.settings.schema import Recipe, Symbol
from quantum_training.sources import SourceError

_REACH = pd.Timedelta(days=14)


def newest_bars(name: str, symbol: Symbol, now: pd.Timestamp) -> str:
    """What the source has of the symbol, in words. SourceError if it cannot be read or has no bar of the last 14 days
    before its end."""
    end = symbol.source.available_until(name, symbol.timeframe, now)
    bars = symbol.source.fetch(name, symbol.timeframe, end - _REACH, end, now)
    if bars.empty:
        problem = f"it has no bar in the 14 days up to {end:%Y-%m-%d %H:%M}"
        remedy = "Check timeframe, and the market's name in source"
        raise SourceError(name, symbol.source.venue, problem, remedy)
    expected_open_times(symbol.calendar, symbol.timeframe, end - _REACH, end)
    newest = bars.index[-1]
    return f"{len(bars)} bars of {symbol.timeframe} up to {newest:%Y-%m-%d %H:%M}, close {bars['close'].iloc[-1]:g}"


def fit_small(recipe: Recipe) -> str:
    """Fit the recipe once, on a small market of random numbers. Returns its report, in words.

    Raises what the algorithm raises: ValueError for a parameter that is unknown or out of bounds.
    """
    parts = recipe_under_test(recipe)
    market = SyntheticMarket.of(parts, drift=0.0, seed=0, new_bars=1, shuffled=False)
    model = fit_on_synthetic(parts, market, seed=0)
    return f"{recipe.algorithm} fits; it reads {len(model.columns)} columns"
