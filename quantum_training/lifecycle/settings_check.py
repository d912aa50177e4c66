"""Trying what the settings name: the newest bars of each source, each feature set and metric on random numbers, and a
small fit of each recipe. Nothing is stored.

What can be known from the settings alone is refused when they are read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from quantum_training.features.sets.feature_set import FeatureSet, FeatureSetError
from quantum_training.features.sets.series_events import known_rows
from quantum_training.lifecycle.evaluation.leakage import CUTS_OF_SETS, recipe_under_test
from quantum_training.lifecycle.evaluation.series_leakage import examine_series_set
from quantum_training.lifecycle.feature_sets import computation
from quantum_training.lifecycle.searches import search_of, searched_trials
from quantum_training.lifecycle.series import series_defects
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.series_schema import KNOWN_AT, TIME, VALUE
from quantum_training.market.timeframe import to_timedelta
from quantum_training.market.universe import Universe
from quantum_training.monitoring.feature_leakage import FUTURE_BARS, examine_features
from quantum_training.monitoring.random_markets import perturb_future, random_candles
from quantum_training.monitoring.synthetic_training import SyntheticMarket, fit_on_synthetic
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.settings.schema import Recipe, Symbol
from quantum_training.settings.series import Series
from quantum_training.sources import SourceError
from quantum_training.trading.own_label import OwnLabel, OwnLabelError, RecipeLabel, labels_of
from quantum_training.trading.own_metrics import own_metric
from quantum_training.trading.own_reward import reward_in

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


def newest_values(name: str, series: Series, now: pd.Timestamp) -> str:
    """What the source has of a series, in words. SourceError if it cannot be read, or gives what cannot be."""
    rows = series.source.fetch(name, None, now)
    if defects := [*series_defects(rows)]:
        raise SourceError(name, series.source.kind, defects[0], "Mend the source, or its options")
    if rows.empty:
        raise SourceError(name, series.source.kind, "it gives no value that is known by now", "Check its options")
    newest = rows.iloc[-1]
    old = " (older than max_age)" if now - newest[KNOWN_AT] > series.age else ""
    return f"{len(rows)} values, the newest {newest[VALUE]:g} of {newest[TIME]}, known at {newest[KNOWN_AT]}{old}"


def members_now(universe: Universe, now: pd.Timestamp) -> str:
    """Who is a member of a universe, in words."""
    newest = pd.DatetimeIndex([now])
    members = [symbol for symbol in universe.symbols if universe.is_member(symbol, newest)[0]]
    few = "" if len(members) >= universe.min_members else f", fewer than min_members {universe.min_members}: no ranks"
    return f"{len(universe.symbols)} symbols, of which {len(members)} are members now{few}"


def examine_set(name: str, sets: Mapping[str, FeatureSet], timeframe: str) -> str:
    """Look for look-ahead in a feature set, on random bars of a timeframe. Returns its columns, in words.

    FeatureSetError says what is wrong; raises what the module raises.
    """
    if sets[name].series:
        return _examine_set_of_series(name, sets[name])
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


def _examine_set_of_series(name: str, feature_set: FeatureSet) -> str:
    warmup = feature_set.warmup_bars(name, "1d")
    times = pd.date_range(FIRST_BAR, periods=warmup + BARS, freq="1D")
    values = np.random.default_rng(0).normal(size=len(times)).cumsum()
    rows = pd.DataFrame({TIME: times, KNOWN_AT: times, VALUE: values})
    stored = known_rows(feature_set, name, rows, times[warmup])
    if failures := examine_series_set(feature_set, name, rows, stored, CUTS_OF_SETS).failures:
        raise FeatureSetError("; ".join(failures))
    columns = ", ".join(feature_set.columns(name))
    return f"no look-ahead; {warmup} values of warm-up; it gives {columns}"


def try_metric(path: str) -> str:
    """Call a metric of one's own on random returns. Returns its value, in words; raises what it raises."""
    rng = np.random.default_rng(0)
    value = own_metric(path)(rng.normal(0.0, 0.01, BARS), rng.uniform(0.0, 1.0, BARS), 365.0)
    return (
        f"{path} gives {value:g} on random returns" if value is not None else f"{path} is undefined on random returns"
    )


def examine_label(label: RecipeLabel, timeframe: str) -> None:
    """OwnLabelError if a label of one's own reads bars after its exit, or gives other values a second time."""
    if not isinstance(label, OwnLabel):
        return
    spacing, bars = to_timedelta(timeframe), label.span_bars + BARS
    candles = random_candles(pd.date_range(FIRST_BAR, periods=bars, freq=spacing), 100.0, seed=0)
    labels, again = (labels_of(candles, label, 0.0) for _ in range(2))
    if not labels.equals(again):
        raise OwnLabelError(f"label: {label.module}.outcome gives other values if it is called again; fix its seed")
    _examine_label_warmup(label, candles, labels["label"])
    for n in range(1, CUTS_OF_SETS + 1):
        cut = candles.index[bars * n // (CUTS_OF_SETS + 1)]
        before = labels.loc[labels["label_end"] <= cut, "label"]
        for rising in (True, False):
            other = labels_of(perturb_future(candles, cut, FUTURE_BARS, spacing, rising), label, 0.0)["label"]
            moved = before.fillna(-1.0) != other.reindex(before.index).fillna(-1.0)
            if moved.any():
                raise OwnLabelError(
                    f"label: {label.module}.outcome of the bar {moved.idxmax()} changes with bars after its outcome is "
                    "known; let it read no later bar than that of its exit, or raise horizon"
                )


def _examine_label_warmup(label: OwnLabel, candles: pd.DataFrame, whole: pd.Series) -> None:
    """OwnLabelError if labels change without the bars before their warm-up."""
    later = labels_of(candles.iloc[BARS // 2 :], label, 0.0)["label"].iloc[label.warmup_bars :]
    moved = whole.reindex(later.index).fillna(-1.0) != later.fillna(-1.0)
    if moved.any():
        raise OwnLabelError(
            f"label: {label.module}.outcome of the bar {moved.idxmax()} reads more than {label.warmup_bars} bars "
            "before it; set label.warmup_bars to the longest span that it reads"
        )


def examine_reward(params: Mapping[str, Any]) -> None:
    """OwnRewardError if the reward in a recipe's params cannot be used, raises or is not finite for what a bar can be,
    as flat, free or ruined, or gives other values a second time."""
    reward = reward_in(params)
    if reward is None:
        return
    from quantum_training.trading.episode_kernel import FLOOR
    from quantum_training.trading.own_reward_kernel import compiled_reward

    function = compiled_reward(reward).function
    bars = product((math.log(FLOOR), -0.01, 0.0, 0.01), (0.0, 0.001), (0.0, 0.01, 0.5, 1 - FLOOR), (0.0, 1.0))
    for arguments in bars:
        gain, _, drawdown, _ = arguments
        if drawdown < 1 - math.exp(gain):
            continue  # so much was lost in this bar alone
        try:
            value, again = (function(*arguments) for _ in range(2))
        except Exception as error:  # a reward of one's own raises what it likes
            raise reward.raised(arguments, error) from error
        if not math.isfinite(value):
            raise reward.not_finite(arguments, value)
        if value != again:
            raise reward.error("gives other values if it is called again; let them depend on its arguments alone")


def found_by(store: Store, settings: Settings, recipe: str) -> str:
    """The search that a recipe was found by, in words. SearchRecordMissing if the store has no record of it."""
    search = search_of(store, settings, recipe)
    if search is None:
        return "it was found by no search"
    trials = searched_trials(store, settings, recipe)
    return f"the search as of {search.record.time:%Y-%m-%d %H:%M} on {search.symbol}; {trials} trials count against it"


def fit_small(recipe: Recipe, timeframe: str) -> str:
    """Fit the recipe on a small market of random numbers, and once with each extreme of what its search varies. Returns
    its report, in words.

    Raises what the algorithm raises: ValueError for a parameter that is unknown or out of bounds. OwnLabelError or
    OwnRewardError for a label or a reward of one's own that cannot be used. ValueError names the value of a search that
    cannot be fitted.
    """
    columns = _fit(recipe, timeframe)
    extremes = recipe.search.extremes if recipe.search else []
    for place, value in extremes:
        try:
            _fit(recipe.with_values({place: value}), timeframe)
        except Exception as error:  # an algorithm raises what it likes
            raise ValueError(f"search.space.{place} with {value!r}: {error or type(error).__name__}") from error
    searched = ", ".join(dict.fromkeys(place for place, _ in extremes))
    also = f", also with the extremes of its search in {searched}" if searched else ""
    return f"{recipe.algorithm} fits; it reads {columns} columns{also}"


def _fit(recipe: Recipe, timeframe: str) -> int:
    """Fit a recipe once. Returns how many columns its model reads."""
    examine_label(recipe.label, timeframe)
    examine_reward(recipe.params)
    parts = recipe_under_test(recipe, timeframe)
    market = SyntheticMarket.of(parts, drift=0.0, seed=0, new_bars=1, shuffled=False)
    return len(fit_on_synthetic(parts, market, seed=0).columns)
