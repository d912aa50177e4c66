"""Reading a symbol's stored candles, features and shadow scores, as far back as a caller needs them."""

from contextlib import suppress

import pandas as pd

from quantum_training.features.indicators import WARMUP_BARS
from quantum_training.lifecycle.records import SHADOW_SCORES
from quantum_training.market.calendars import periods_per_year
from quantum_training.market.periods import MONTH, WEEK, month_of
from quantum_training.models.contract import algorithm
from quantum_training.resources.store.store import Store, StoreError, content_hash
from quantum_training.settings.schema import Symbol
from quantum_training.settings.settings import Settings
from quantum_training.trading.baselines import LOOKBACK_BARS
from quantum_training.trading.scoring import deciding_bars


def first_month_needed(symbol: Symbol, before: pd.Timestamp, bars: int) -> str:
    """A month early enough that `bars` bars lie between its start and `before`, holidays included."""
    years = bars / periods_per_year(symbol.calendar, symbol.timeframe)
    return month_of(before - pd.Timedelta(days=365 * years * 1.05 + 7))


def read_bars(store: Store, asset: str, symbol: str, first: str, until: pd.Timestamp) -> pd.DataFrame:
    """The rows of a monthly asset from month `first` on that open before `until`.

    StoreError where the months up to `until` are not all stored, or the last one does not reach `until` yet.
    """
    last = month_of(until - pd.Timedelta("1ns"))
    stored = [p for p in store.periods(asset, symbol) if first <= p <= last]
    covered = store.attributes(asset, symbol, last).get("covered_until", "nothing")
    expected = pd.date_range(stored[0], last, freq="MS").strftime("%Y-%m-%d") if stored else [last]
    missing = [p for p in expected if p not in stored]
    if missing or covered == "nothing" or pd.Timestamp(covered) < until:
        raise StoreError(
            f"{symbol}: {asset} is needed until {until}, but "
            + (f"the months {', '.join(missing)} are not stored" if missing else f"{last} reaches only {covered}")
            + "; run the job market_data for these months first"
        )
    return store.read_frames(asset, symbol, first, last).loc[: until - pd.Timedelta("1ns")]


def features_available_until(store: Store, symbol: str) -> pd.Timestamp | None:
    """The time up to which the features of a symbol are stored; None where there are none."""
    months = store.periods("features", symbol)
    if not months:
        return None
    return pd.Timestamp(store.attributes("features", symbol, months[-1])["covered_until"])


def memory(settings: Settings, symbol: str) -> int:
    """Bars before a week that the symbol's recipes depend on; none for an algorithm that cannot be imported.

    Its own training says so; the other recipes go on.
    """
    bars = 0
    for name in {settings.recipes[recipe].algorithm for recipe in settings.symbols[symbol].recipes}:
        with suppress(Exception):
            bars = max(bars, algorithm(name).memory)
    return bars


def first_month_for_decisions(settings: Settings, symbol: str, start: pd.Timestamp) -> str:
    """The month from which on bars are read so that every recipe and baseline can decide from before `start` on."""
    bars = max(LOOKBACK_BARS, memory(settings, symbol)) + 2
    return first_month_needed(settings.symbols[symbol], start - WEEK, bars)


def rows(store: Store, asset: str, symbol: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    """The stored rows of a monthly asset in the months from `start` to `end`, none where none is stored."""
    stored = [p for p in store.periods(asset, symbol) if month_of(start) <= p <= month_of(end)]
    if not stored:
        return pd.DataFrame(index=pd.DatetimeIndex([], tz="UTC"))
    return store.read_frames(asset, symbol, stored[0], stored[-1])


INPUTS = "inputs_hash"
"""Attribute of a week of shadow scores: hash of the features that its bars were decided on."""


def inputs_hash(features: pd.DataFrame, candles: pd.DataFrame, filled: pd.DatetimeIndex, memory: int) -> str:
    """Hash of the features that the bars `filled`, of one week, are decided on; with a memory of all that it holds."""
    decided = deciding_bars(candles.index, filled)
    if not memory:
        return content_hash(features.reindex(decided))
    lived = candles.loc[: decided[-1], ["open", "close"]].iloc[-memory - len(decided) :]
    return content_hash(features.reindex(lived.index).join(lived))


def read_scores(store: Store, symbol: str, last: str) -> dict[str, pd.DataFrame]:
    """The shadow scores of a symbol by week up to `last`, oldest first: frames of trading.scoring.score."""
    return {p: store.read_frame(SHADOW_SCORES, symbol, p) for p in store.periods(SHADOW_SCORES, symbol) if p <= last}


def first_month(settings: Settings, symbol: str, week: str) -> str:
    """The month from which candles are needed for the week: the recipes' longest reach and the warm-up."""
    options = settings.symbols[symbol]
    recipes = [settings.recipes[name] for name in options.recipes]
    rows = max((settings.training_batch_size or r.window_bars) + r.label.span_bars for r in recipes)
    bars = max(rows, LOOKBACK_BARS, memory(settings, symbol)) + WARMUP_BARS
    return first_month_needed(options, pd.Timestamp(week, tz="UTC") - MONTH, bars)
