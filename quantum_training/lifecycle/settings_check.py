"""Trying what the settings name: the newest bars of each source, each feature set and metric on random numbers, and a
small fit of each recipe. Nothing is stored.

What can be known from the settings alone is refused when they are read.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from quantum_training.features.sets.feature_set import FeatureSet, FeatureSetError
from quantum_training.lifecycle.evaluation.leakage import CUTS_OF_SETS, recipe_under_test
from quantum_training.lifecycle.feature_sets import computation
from quantum_training.lifecycle.searches import search_of, searched_trials
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.timeframe import to_timedelta
from quantum_training.monitoring.feature_leakage import examine_features
from quantum_training.monitoring.random_markets import random_candles
from quantum_training.monitoring.synthetic_training import SyntheticMarket, fit_on_synthetic
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.settings.schema import Recipe, Symbol
from quantum_training.sources import SourceError
from quantum_training.trading.own_metrics import own_metric

FIRST_BAR, BARS = pd.Timestamp("2001-01-01", tz="UTC"), 750
"""The first of the random bars for feature sets, and how many follow their warm-up: a month of hours."""
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


def examine_set(name: str, sets: Mapping[str, FeatureSet], timeframe: str) -> str:
    """Look for look-ahead in a feature set, on random bars of a timeframe. Returns its columns, in words.

    FeatureSetError says what is wrong; raises what the module raises.
    """
    made_by = computation(name, sets, timeframe)
    spacing = to_timedelta(timeframe)
    times = pd.date_range(FIRST_BAR, periods=made_by.warmup_bars + BARS, freq=spacing)
    candles = random_candles(times, 100.0, seed=0)
    stored = made_by.compute(candles, times[made_by.warmup_bars])
    report = examine_features(made_by.compute, candles, stored, spacing, made_by.warmup_bars, CUTS_OF_SETS)
    if report.failures:
        raise FeatureSetError("; ".join(report.failures))
    columns = ", ".join(sets[name].columns(name))
    return f"no look-ahead; {made_by.warmup_bars} bars of warm-up; it gives {columns}"


def try_metric(path: str) -> str:
    """Call a metric of one's own on random returns. Returns its value, in words; raises what it raises."""
    rng = np.random.default_rng(0)
    value = own_metric(path)(rng.normal(0.0, 0.01, BARS), rng.uniform(0.0, 1.0, BARS), 365.0)
    return (
        f"{path} gives {value:g} on random returns" if value is not None else f"{path} is undefined on random returns"
    )


def found_by(store: Store, settings: Settings, recipe: str) -> str:
    """The search that a recipe was found by, in words. SearchRecordMissing if the store has no record of it."""
    found = search_of(store, settings, recipe)
    if found is None:
        return "it was found by no search"
    trials = searched_trials(store, settings, recipe)
    return f"the search as of {found[1].time:%Y-%m-%d %H:%M} on {found[0]}; {trials} trials count against it"


def fit_small(recipe: Recipe, timeframe: str) -> str:
    """Fit the recipe once, on a small market of random numbers. Returns its report, in words.

    Raises what the algorithm raises: ValueError for a parameter that is unknown or out of bounds.
    """
    parts = recipe_under_test(recipe, timeframe)
    market = SyntheticMarket.of(parts, drift=0.0, seed=0, new_bars=1, shuffled=False)
    model = fit_on_synthetic(parts, market, seed=0)
    return f"{recipe.algorithm} fits; it reads {len(model.columns)} columns"
