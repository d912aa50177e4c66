"""The stored history of one symbol: candles, features and shadow scores, as far back as a caller needs them.

Only reads. JSON records are in records.py; how bars come into the store is in ingestion.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from quantum_training.features.indicators import WARMUP_BARS
from quantum_training.features.sets.feature_set import FeatureSet, FeatureSetError, warmup_of
from quantum_training.lifecycle.feature_sets import require_sets, with_sets
from quantum_training.lifecycle.gaps import Gap, gap_of_week, gaps, split_at_gaps
from quantum_training.lifecycle.market_identity import require_market
from quantum_training.lifecycle.other_markets import symbols_read
from quantum_training.lifecycle.records import CANDLES, EVERY, FEATURES, SHADOW_SCORES
from quantum_training.lifecycle.restatement import require_whole_restatement, restatements_since
from quantum_training.lifecycle.stored_months import NANOSECOND, read_bars, read_stretches
from quantum_training.market.calendars import periods_per_year
from quantum_training.market.periods import MONTH, WEEK, month_of
from quantum_training.market.timeframe import known_at, opens_before
from quantum_training.models.contract import algorithm
from quantum_training.resources.store.store import Store, content_hash
from quantum_training.settings import Settings
from quantum_training.settings.schema import Symbol
from quantum_training.trading.baselines import LOOKBACK_BARS
from quantum_training.trading.liquidity import UNTRADED, with_volume
from quantum_training.trading.scoring import deciding_bars

LONGEST_PAUSE = pd.Timedelta(days=28)
INPUTS = "inputs_hash"
"""Attribute of a week of shadow scores: hash of the features that its bars were decided on."""


class Bars(NamedTuple):
    """Candles, with the column UNTRADED, and features of the same time span, by open time."""

    candles: pd.DataFrame
    features: pd.DataFrame


@dataclass(frozen=True)
class MarketHistory:
    """The stored bars and scores of `symbol`. Months are named by their first day, `YYYY-MM-01`.

    Every method that returns bars raises OtherMarketError if they are recorded as another market's.
    """

    store: Store
    settings: Settings
    symbol: str

    @property
    def market(self) -> Symbol:
        """The settings of the symbol."""
        return self.settings.symbols[self.symbol]

    @property
    def lookback_bars(self) -> int:
        """Bars before a week that the symbol's recipes depend on."""
        return lookback_bars(self.settings, self.symbol)

    def first_month(self, before: pd.Timestamp, bars: int) -> str:
        """A month early enough that `bars` bars lie between its start and `before`, holidays included."""
        return first_month_needed(self.market, before, bars)

    def first_month_for_decisions(self, start: pd.Timestamp) -> str:
        """A month early enough that every recipe and baseline can decide on the bars from `start` on."""
        return self.first_month(start - WEEK, max(LOOKBACK_BARS, self.lookback_bars) + 2)

    def first_month_for_scores(self, start: pd.Timestamp) -> str:
        """The same; if nobody traded in the week before `start`, also for the last bar in which somebody did.

        Its position is held at `start`.
        """
        week_before = self.stored_rows(CANDLES, start - WEEK, start).loc[start - WEEK : start - NANOSECOND]
        if week_before.empty or not week_before[UNTRADED].all():
            return self.first_month_for_decisions(start)
        return self.first_month_for_decisions(self.last_traded(start))

    def scored_from(self, week: pd.Timestamp) -> pd.Timestamp:
        """From when on the bars open that are scored in a week: those of its seven days, or of several days each, those
        that closed in them.
        """
        return opens_before(week - WEEK, self.market.timeframe)

    @property
    def gaps(self) -> list[Gap]:
        """The gaps of the symbol, oldest first."""
        return gaps(self.store, self.symbol, self.market.timeframe)

    def gap_of_week(self, week: pd.Timestamp) -> Gap | None:
        """The gap for which a week cannot be scored; None if it can."""
        return gap_of_week(self.store, self.symbol, self.market, week)

    def candles(self, first: str, until: pd.Timestamp) -> pd.DataFrame:
        """The candles from month `first`, or the newest gap, on that open before `until`. Errors as in read_bars."""
        return self._marked(read_bars(self.store, CANDLES, self.symbol, first, until, self.market))

    def features(self, first: str, until: pd.Timestamp) -> pd.DataFrame:
        """The features of the same bars, and the columns of the symbol's feature sets. Errors as in read_bars."""
        return self._with_sets(read_bars(self.store, FEATURES, self.symbol, first, until, self.market))

    def bars(self, first: str, until: pd.Timestamp) -> Bars:
        """Candles and features of the same bars. Errors as in read_bars."""
        return Bars(self.candles(first, until), self.features(first, until))

    def known_bars(self, first: str, as_of: pd.Timestamp) -> Bars:
        """Those of `bars` that are closed at `as_of`. Errors as in read_bars."""
        candles, features = (known_at(frame, as_of, self.market.timeframe) for frame in self.bars(first, as_of))
        return Bars(candles, features)

    def known_stretches(self, first: str, as_of: pd.Timestamp) -> list[Bars]:
        """The bars from month `first` on that are closed at `as_of`, by stretches without a gap, oldest first.

        The last one may be empty. Errors as in read_stretches.
        """

        def closed_bars(asset: str) -> list[pd.DataFrame]:
            stretches = read_stretches(self.store, asset, self.symbol, first, as_of, self.market)
            return [known_at(frame, as_of, self.market.timeframe) for frame in stretches]

        stretches = zip(closed_bars(CANDLES), closed_bars(FEATURES), strict=True)
        return [Bars(candles, self._with_sets(features)) for candles, features in stretches]

    def stored_rows(self, asset: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
        """The rows of a monthly asset that are stored for the months from `start`, or the newest gap, to `end`; there
        may be none. Candles have the column UNTRADED.
        """
        months = [p for p in self.store.periods(asset, self.symbol) if month_of(start) <= p <= month_of(end)]
        if not months:
            return pd.DataFrame(index=pd.DatetimeIndex([], tz="UTC"))
        rows, attributes = self.store.read_with_attributes(asset, self.symbol, months[0], months[-1])
        require_market(self.symbol, self.market, asset, attributes)
        rows = split_at_gaps(rows, [gap for gap in self.gaps if gap.end <= end])[-1]
        if asset != CANDLES:
            return self._with_sets(rows)
        require_whole_restatement(self.store, self.symbol)
        return self._marked(rows)

    def require_sets(self, first: str, until: pd.Timestamp) -> None:
        """StoreError if a feature set of the symbol's recipes lacks a month from `first` on, or ends before `until`."""
        sets = self.settings.feature_sets(self.symbol)
        require_sets(self.store, self.settings, self.symbol, sets, first, until)

    def restatements_since(self, time: pd.Timestamp) -> tuple[str, ...]:
        """What the restatements say that changed bars since a time: the symbol's, and others' that its recipes read."""
        symbols = dict.fromkeys((self.symbol, *symbols_read(self.settings, [self.symbol])))
        return tuple(message for symbol in symbols for message in restatements_since(self.store, symbol, time))

    def _with_sets(self, features: pd.DataFrame) -> pd.DataFrame:
        return with_sets(self.store, self.settings, self.symbol, features, self.settings.feature_sets(self.symbol))

    @cached_property
    def first_volume(self) -> pd.Timestamp | None:
        """Open time of the first stored bar with volume; None if the market reports none."""
        for month in self.store.periods(CANDLES, self.symbol):
            if len(times := with_volume(self.store.read_frame(CANDLES, self.symbol, month))):
                return times[0]
        return None

    def last_traded(self, before: pd.Timestamp) -> pd.Timestamp:
        """Open time of the newest stored bar with volume that opens before `before`; `before` if there is none."""
        months = [month for month in self.store.periods(CANDLES, self.symbol) if month <= month_of(before)]
        for month in reversed(months):
            times = with_volume(self.store.read_frame(CANDLES, self.symbol, month))
            if len(times := times[times < before]):
                return times[-1]
        return before

    def _marked(self, candles: pd.DataFrame) -> pd.DataFrame:
        """The candles with the column UNTRADED, judged by the whole stored history: see liquidity.untraded_bars."""
        since = self.first_volume
        untraded = (candles.index > since) & ~candles.index.isin(with_volume(candles)) if since is not None else False
        return candles.assign(**{UNTRADED: untraded})

    def scored_weeks(self, last: str = EVERY) -> list[str]:
        """The weeks up to `last` that have shadow scores, oldest first."""
        return [week for week in self.store.periods(SHADOW_SCORES, self.symbol) if week <= last]

    def scores(self, week: str) -> pd.DataFrame:
        """The shadow scores of a week: a frame of trading.scoring.score. StoreError if it was not scored."""
        return self.store.read_frame(SHADOW_SCORES, self.symbol, week)

    def scores_by_week(self, last: str = EVERY) -> dict[str, pd.DataFrame]:
        """The shadow scores of every week up to `last`, oldest first."""
        return {week: self.scores(week) for week in self.scored_weeks(last)}

    def returns_by_day(self, until: pd.Timestamp) -> pd.Series:
        """Those of all stored bars that open before `until`."""
        months = self.store.periods(CANDLES, self.symbol)
        if not months or months[0] > month_of(until):
            return returns_by_day(pd.Series(dtype="float64", index=pd.DatetimeIndex([], tz="UTC")))
        close = self.store.read_frames(CANDLES, self.symbol, months[0], month_of(until))["close"]
        return returns_by_day(close[close.index < until])

    def inputs_hash(self, bars: Bars, filled: pd.DatetimeIndex) -> str:
        """Hash of what the bars `filled`, of one week, are decided on by the recipes of the symbol."""
        return inputs_hash(bars, filled, self.lookback_bars)

    def scored_inputs_hash(self, week: str) -> str | None:
        """The hash of the features that a week was scored on; None if it was not scored, or by an early build."""
        return self.store.attributes(SHADOW_SCORES, self.symbol, week).get(INPUTS)


def returns_by_day(close: pd.Series) -> pd.Series:
    """Sums of close-to-close returns by UTC day. The first bar after a pause of LONGEST_PAUSE has none."""
    opened = pd.DatetimeIndex(close.index)
    returns = close.pct_change()[opened.to_series().diff().to_numpy() < LONGEST_PAUSE]
    return returns.groupby(pd.DatetimeIndex(returns.index).floor("D")).sum()


def lookback_bars(settings: Settings, symbol: str) -> int:
    """Bars before a week that the symbol's recipes depend on.

    An algorithm that cannot be imported counts as 0: its own training reports the error, the other recipes go on.
    """
    bars = 0
    for name in {settings.recipes[recipe].algorithm for recipe in settings.symbols[symbol].recipes}:
        with suppress(Exception):
            bars = max(bars, algorithm(name).lookback_bars)
    return bars


def first_month_for_week(settings: Settings, symbol: str, week: str) -> str:
    """The first month whose candles a week needs: for the longest training window, and the warm-up before it.

    So it is for the windows of other symbols whose recipes read this one's bars.
    """
    readers = [other for other in settings.symbols if symbol in symbols_read(settings, [other])]
    of_readers = [_first_month_of_window(settings, reader, week) for reader in readers]
    return min(
        [
            _first_month_of_window(settings, symbol, week),
            *(_first_month_of_context(settings, symbol, first) for first in of_readers),
        ]
    )


def _first_month_of_window(settings: Settings, symbol: str, week: str) -> str:
    market = settings.symbols[symbol]
    recipes = [settings.recipes[name] for name in market.recipes]
    rows = max(((settings.training_batch_size or r.window_bars) + r.label.span_bars for r in recipes), default=0)
    own = {name: feature_set for name, feature_set in settings.feature_sets(symbol).items() if not feature_set.of}
    bars = max(rows, LOOKBACK_BARS, lookback_bars(settings, symbol)) + _warmup(own, market.timeframe)
    return first_month_needed(market, pd.Timestamp(week, tz="UTC") - MONTH, bars)


def _first_month_of_context(settings: Settings, symbol: str, first: str) -> str:
    """The first month of a symbol whose candles its sets for others need, for rows from month `first` on."""
    market = settings.symbols[symbol]
    sets = {name: feature_set for name, feature_set in settings.features.items() if symbol in feature_set.of}
    return first_month_needed(market, pd.Timestamp(first, tz="UTC"), _warmup(sets, market.timeframe))


def _warmup(sets: Mapping[str, FeatureSet], timeframe: str) -> int:
    with suppress(FeatureSetError):  # a set that cannot be imported is reported where it is computed
        return warmup_of(sets, timeframe)
    return WARMUP_BARS


def inputs_hash(bars: Bars, filled: pd.DatetimeIndex, lookback_bars: int) -> str:
    """Hash of the features that the bars `filled` are decided on, and of the lookback before them with its prices."""
    decided = deciding_bars(bars.candles.index, filled)
    if not lookback_bars:
        return content_hash(bars.features.reindex(decided))
    prices = bars.candles.loc[: decided[-1], ["open", "close"]].iloc[-lookback_bars - len(decided) :]
    return content_hash(bars.features.reindex(prices.index).join(prices))


def first_month_needed(market: Symbol, before: pd.Timestamp, bars: int) -> str:
    """A month early enough that `bars` bars of a market lie between its start and `before`, holidays included."""
    years = bars / periods_per_year(market.calendar, market.timeframe)
    return month_of(before - pd.Timedelta(days=365 * years * 1.05 + 7))
