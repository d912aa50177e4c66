"""A version as a caller outside of the platform asks it: positions from features, or from candles alone.

It travels with the version; resources/registry/pyfunc_model.py hands it to MLflow. Candles are read in
callers_candles.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd
from pydantic import BaseModel, ConfigDict

from quantum_training.features.indicators import FEATURES
from quantum_training.features.sets.feature_set import FeatureSet, compute_with_sets, warmup_of
from quantum_training.market.calendar_settings import ALWAYS_OPEN, CalendarSetting
from quantum_training.market.calendars import LONGEST_CLOSURE, expected_open_times
from quantum_training.market.schema import COLUMNS
from quantum_training.market.timeframe import to_timedelta
from quantum_training.models.callers_candles import CallerError, numbers, read_candles
from quantum_training.models.contract import Model, load_model
from quantum_training.trading.liquidity import mark_untraded
from quantum_training.trading.scoring import positions_at

AUTO, FROM_CANDLES, FROM_FEATURES = "auto", "candles", "features"


class ServedMarket(BaseModel):
    """What a version must know of its symbol to read candles. timeframe: None if it was not told."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    symbol: str
    timeframe: str | None = None
    calendar: CalendarSetting = ALWAYS_OPEN
    feature_sets: dict[str, FeatureSet] = {}
    """The sets among the columns that the version reads."""

    def to_json(self) -> str:
        """The text that ServedVersion.load reads."""
        # a ranked set is known by its members: `of`
        absent: Any = {"feature_sets": {"__all__": {"within"}}} if self.feature_sets else {"feature_sets"}
        # pydantic does not know which types the calendar's validator gives
        return self.model_dump_json(warnings=False, exclude=absent)

    @property
    def warmup_bars(self) -> int:
        """Bars before a row that its features depend on."""
        return warmup_of(self.feature_sets, str(self.timeframe))


@dataclass(frozen=True)
class ServedVersion:
    """A version and its market."""

    model: Model
    market: ServedMarket

    @classmethod
    def load(cls, model: Path, market: Path) -> Self:
        """From the model's folder in an artefact, and the market's file there."""
        return cls(load_model(model), ServedMarket.model_validate(json.loads(market.read_text())))

    def predict(self, rows: pd.DataFrame, params: Mapping[str, Any]) -> pd.Series:
        """Target position decided at each row's close, for the bar after it; of candles without the first bars.

        params: `input` is auto, candles or features; auto takes rows with open, high, low, close and volume and without
        any feature for candles. `accepted_bars`: see callers_candles.read_candles. CallerError says what is wrong.
        """
        kind = params.get("input") or AUTO
        if kind not in (AUTO, FROM_CANDLES, FROM_FEATURES):
            raise CallerError(f"{self.market.symbol}: input {kind!r} is unknown; it is auto, candles or features")
        if kind == AUTO:
            kind = self._kind({*rows})
        read = [owner for feature_set in self.market.feature_sets.values() for owner in feature_set.read_from]
        if kind == FROM_CANDLES and read:
            raise CallerError(
                f"{self.market.symbol}: the version learns from {', '.join(read)}, too, so that its candles "
                "alone do not suffice; send features"
            )
        if kind == FROM_FEATURES:
            return self.model.positions(numbers(rows, self.model.columns, self.market.symbol))
        return self._from_candles(rows, tuple(params.get("accepted_bars") or ()))

    def _kind(self, columns: set[str]) -> str:
        made = {*FEATURES, *self.model.columns} - {*COLUMNS}
        if columns & made or not columns & {*COLUMNS}:
            return FROM_FEATURES
        reads_prices_alone = {*self.model.columns} <= columns and not {*COLUMNS} <= columns
        return FROM_FEATURES if reads_prices_alone else FROM_CANDLES

    def _from_candles(self, rows: pd.DataFrame, accepted: tuple[str, ...]) -> pd.Series:
        """Positions as the platform decides them, from the first bar on that has enough bars before it.

        CallerError if the last has too few. Rows of NaN would break clients: MLflow's server sends them as NaN, which
        is no JSON.
        """
        symbol, timeframe, calendar = self.market.symbol, self.market.timeframe, self.market.calendar
        if timeframe is None:
            raise CallerError(f"{symbol}: the version does not know its timeframe; send features, or train it again")
        candles = mark_untraded(read_candles(rows, symbol, timeframe, calendar, accepted))
        decided = pd.DatetimeIndex(candles.index)
        after = decided[-1] + to_timedelta(timeframe)
        fill = expected_open_times(calendar, timeframe, after, after + LONGEST_CLOSURE)[:1]
        filled = pd.DatetimeIndex(decided[1:].append(fill))
        first = self._first_decision(decided, filled)
        if first == len(decided):
            raise CallerError(f"{symbol}: {len(decided)} bars are too few to decide on the last; {self._need(filled)}")
        features = compute_with_sets(candles[list(COLUMNS)], decided[0], self.market.feature_sets, timeframe)
        decided, filled = decided[first:], filled[first:]
        positions = positions_at(self.model, candles.iloc[self.market.warmup_bars :], features, decided, filled)
        return pd.Series(positions, decided, name="position")

    def _first_decision(self, decided: pd.DatetimeIndex, filled: pd.DatetimeIndex) -> int:
        """Number of the first bar on which the model decides as it does on the whole history; their count if none."""
        first = self.market.warmup_bars + self.model.lookback_bars
        if self.model.has_account:
            is_known = decided.searchsorted(_monday(filled)) - 1 >= first
            first = int(is_known.argmax()) if is_known.any() else len(decided)
        return min(first, len(decided))

    def _need(self, filled: pd.DatetimeIndex) -> str:
        needed = self.market.warmup_bars + self.model.lookback_bars + 1
        if self.model.has_account:
            return f"send {needed} bars before {_monday(filled)[-1]:%Y-%m-%d}, when its account's week began, and since"
        return f"send at least {needed}"


def _monday(filled: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """The start of the UTC week of each bar."""
    return pd.DatetimeIndex((filled - pd.to_timedelta(filled.dayofweek, "D")).normalize())
