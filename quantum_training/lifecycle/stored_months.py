"""Reading the months of a monthly asset, candles or features: all that are needed are stored, whole and of one market.

MarketHistory reads through this module; what a symbol's months are used for is there.
"""

from __future__ import annotations

import pandas as pd

from quantum_training.lifecycle.gaps import gaps, require_no_gap, split_at_gaps
from quantum_training.lifecycle.market_identity import require_market
from quantum_training.lifecycle.records import CANDLES, FEATURES
from quantum_training.lifecycle.restatement import outdated_features, require_whole_restatement
from quantum_training.market.periods import MONTH, month_of
from quantum_training.market.timeframe import end_of_bars, floor, opens_before
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings.schema import Symbol

NANOSECOND = pd.Timedelta("1ns")
AFTER_GAP = "after_gap"
"""Attribute of a month of features whose warm-up begins after a gap: the month that was missing."""


def read_bars(
    store: Store, asset: str, symbol: str, first: str, until: pd.Timestamp, market: Symbol | None = None
) -> pd.DataFrame:
    """The rows of a monthly asset up to `until`: from month `first` on, or since the newest gap.

    market and errors as in read_stretches.
    """
    return read_stretches(store, asset, symbol, first, until, market)[-1]


def read_stretches(
    store: Store, asset: str, symbol: str, first: str, until: pd.Timestamp, market: Symbol | None = None
) -> list[pd.DataFrame]:
    """The rows of a monthly asset from month `first` on that open before `until`, or are closed then if they are of
    several days: one frame for each stretch of time without a gap, oldest first. Each may be empty; the last one is,
    if no bar follows the newest gap yet.

    market: of the settings; None if it need not be compared with the recorded one. GapError if `until` lies in a gap.
    StoreError if a month up to `until` is neither stored nor in a gap, or if it does not reach its end, or `until`,
    yet. OtherMarketError if a month is of another market.
    """
    timeframe = market.timeframe if market else "1d"
    opened = opens_before(until, timeframe)
    closed = until if opened == until else floor(until, timeframe)
    last = month_of(opened - NANOSECOND)
    symbol_gaps = [gap for gap in gaps(store, symbol, timeframe) if gap.start < until]
    require_no_gap(symbol, asset, until, symbol_gaps)
    gap_months = {gap.month for gap in symbol_gaps}
    stored = [p for p in store.periods(asset, symbol) if first <= p <= last]
    expected = pd.date_range(stored[0], last, freq="MS").strftime("%Y-%m-%d") if stored else [last]
    missing = [p for p in expected if p not in stored and p not in gap_months]
    if missing:
        raise _missing(symbol, asset, until, f"the months {', '.join(missing)} are not stored")
    if not stored:
        raise _missing(symbol, asset, until, f"no month from {first} on is stored")
    frame, attributes = store.read_with_attributes(asset, symbol, first, last)
    if asset == CANDLES:
        require_whole_restatement(store, symbol)
    elif outdated := [month for month in outdated_features(store, symbol) if month in stored]:
        raise _missing(symbol, asset, until, f"{', '.join(outdated)} rest on candles that were restated since")
    for month in stored:
        start = pd.Timestamp(month, tz="UTC")
        needed = min(closed, end_of_bars(start, start + MONTH, timeframe))
        covered = attributes[month].get("covered_until", "nothing" if month == last else None)
        is_short = covered == "nothing" or (covered is not None and pd.Timestamp(covered) < needed)
        if is_short and month not in gap_months:
            raise _missing(symbol, asset, until, f"{month} reaches only {covered}")
        closed_gap = attributes[month].get(AFTER_GAP)
        if closed_gap and closed_gap not in gap_months:
            raise _missing(symbol, asset, until, f"{month} was computed without {closed_gap}")
    if market:
        require_market(symbol, market, asset, attributes)
    return split_at_gaps(frame.loc[: opened - NANOSECOND], symbol_gaps)


def _missing(symbol: str, asset: str, until: pd.Timestamp, problem: str) -> StoreError:
    return StoreError(
        f"{symbol}: {asset} is needed until {until}, but {problem}; run the job market_data for these months first"
    )


def features_available_until(store: Store, symbol: str) -> pd.Timestamp | None:
    """The time up to which the features of a symbol are stored; None if there are none."""
    return stored_until(store, FEATURES, symbol)


def stored_until(store: Store, asset: str, symbol: str) -> pd.Timestamp | None:
    """The time up to which a monthly asset of a symbol is stored; None if no month is."""
    months = store.periods(asset, symbol)
    return pd.Timestamp(store.attributes(asset, symbol, months[-1])["covered_until"]) if months else None
