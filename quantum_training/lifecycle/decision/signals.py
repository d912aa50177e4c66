"""A symbol's signal: the champion's target position for the next bar, times its share of capital.

Nothing is decided here: trader.py reads who trades and with what share. In doubt the signal is flat; its reason says
why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from quantum_training.lifecycle.decision.trader import (
    FlatSignalError,
    Trader,
    champion_returns,
    history_start,
    trader_of,
)
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import (
    CANDLES,
    FEATURES,
    ROLLOUT,
    SignalRecord,
    WeeklyRollout,
    read_records,
)
from quantum_training.lifecycle.training.version_loader import Load
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.market.calendars import LONGEST_CLOSURE, expected_open_times
from quantum_training.market.periods import WEEK
from quantum_training.market.timeframe import DAY, known_at, to_timedelta
from quantum_training.selection.position_limits import guard, percent, position
from quantum_training.settings.schema import Symbol
from quantum_training.trading.scoring import Version, assign_versions, positions_at

STALE_BARS = 2
"""A signal is flat if so many bars after the newest one are missing: the first may still be on its way, for a day at
most."""

SHARE_TTL = 2 * WEEK
"""How long a share of capital is valid: if it is older, a weekly cycle has failed and nobody judged the champion."""


@dataclass(frozen=True)
class NewestBar:
    """The newest complete bar: `time` is its open, `fill` the open of the bar after it, which ends at `valid_until`.

    features: of the bars from `since` on, up to that bar.
    """

    since: pd.Timestamp
    time: pd.Timestamp
    fill: pd.Timestamp
    valid_until: pd.Timestamp
    features: pd.DataFrame


@dataclass
class _Draft:
    """A signal in the making; the fields are filled from top to bottom."""

    symbol: str
    bar: NewestBar | None = None
    rollout: WeeklyRollout | None = None
    trader: Trader | None = None
    model_id: str | None = None
    target: float | None = None

    def record(self, size: float, reason: str) -> SignalRecord:
        """The record that is stored."""
        bar, rollout, trader = self.bar, self.rollout, self.trader
        return SignalRecord(
            symbol=self.symbol,
            bar=bar.time.isoformat() if bar else None,
            valid_until=bar.valid_until.isoformat() if bar else None,
            week=rollout.week if rollout else None,
            champion=rollout.champion if rollout else None,
            stage=rollout.stage if rollout else None,
            next_step=rollout.next_step if rollout else None,
            share=trader.share if trader else rollout.share if rollout else 0.0,
            arm=trader.arm if trader else None,
            block=trader.block if trader else None,
            model_id=self.model_id,
            target=self.target,
            position=size,
            reason=reason,
        )


def signal(history: MarketHistory, now: pd.Timestamp, load: Load) -> SignalRecord:
    """The signal of a symbol at the time `now`, from what the store holds. load: the model of a version.

    In an A/B test the challenger never has a larger share than the champion has now, and its own losses since the test
    began stop it.
    """
    draft = _Draft(history.symbol)
    try:
        size, reason = _size(history, now, load, draft)
    except FlatSignalError as flat:
        return draft.record(0.0, f"flat: {flat}")
    return draft.record(size, reason)


def _size(history: MarketHistory, now: pd.Timestamp, load: Load, draft: _Draft) -> tuple[float, str]:
    """The position and how it comes about; fills the draft on the way. FlatSignalError if there is none."""
    policy = history.settings.rollout
    if policy.kill_switch:
        raise FlatSignalError("the kill switch is on")
    draft.bar = bar = newest_bar(history, now)
    draft.rollout = rollout = _newest(_read_rollouts(history, bar))
    draft.trader = trader = trader_of(history, rollout, bar.fill)
    versions = versions_of(history.store, history.symbol, trader.recipe, f"{bar.fill:%Y-%m-%d}")
    draft.model_id = _deciding_version(trader.recipe, versions, bar.fill)
    draft.target = target = _target(history, trader.recipe, draft.model_id, bar, load)
    if trader.share == 0:
        raise FlatSignalError(f"0 % of capital: {rollout.reason}")
    _assert_recent(history.market, bar, rollout.week, now)
    _assert_within_limits(history, trader, versions, bar.time, load)
    size = position(target, trader.share, policy)
    cut = "" if size == target * trader.share else f", cut to {percent(policy.max_position_size)}"
    return size, f"{target:.4g} x {percent(trader.share)}{cut}"


def newest_bar(history: MarketHistory, now: pd.Timestamp) -> NewestBar:
    """The newest bar that is closed at `now` and has features. FlatSignalError if there is none."""
    market, since = history.market, history_start(history, now)
    features = known_at(history.stored_rows(FEATURES, since, now), now, market.timeframe)
    if features.empty:
        raise FlatSignalError(f"no complete bar since {since:%Y-%m-%d} is stored")
    time, length = features.index[-1], to_timedelta(market.timeframe)
    fill = expected_open_times(market.calendar, market.timeframe, time + length, time + LONGEST_CLOSURE)[0]
    return NewestBar(since, time, fill, fill + length, features)


def _read_rollouts(history: MarketHistory, bar: NewestBar) -> dict[str, WeeklyRollout]:
    return read_records(history.store, WeeklyRollout, history.symbol, f"{bar.fill:%Y-%m-%d}")


def _newest(rollouts: Mapping[str, WeeklyRollout]) -> WeeklyRollout:
    if not rollouts:
        raise FlatSignalError(f"no {ROLLOUT} is stored")
    return rollouts[max(rollouts)]


def _deciding_version(recipe: str, versions: Sequence[Version], fill: pd.Timestamp) -> str:
    """The newest version of the recipe when the bar opens. FlatSignalError if it has none."""
    number = int(assign_versions(pd.DatetimeIndex([fill]), versions)[0])
    if number < 0:
        raise FlatSignalError(f"{recipe} has no version as of {fill}")
    return versions[number].model_id


def _target(history: MarketHistory, recipe: str, model_id: str, bar: NewestBar, load: Load) -> float:
    """The target position that a version decides on the newest bar. FlatSignalError if there is none."""
    try:
        model = load(model_id)
        candles = history.stored_rows(CANDLES, bar.since, bar.time).loc[: bar.time]
        decided, filled = pd.DatetimeIndex([bar.time]), pd.DatetimeIndex([bar.fill])
        target = float(positions_at(model, candles, bar.features, decided, filled)[0])
    except Exception as error:  # whatever the model raises, the signals of the other symbols are still made
        raise FlatSignalError(f"{recipe} cannot decide: {type(error).__name__}: {error}") from error
    if pd.isna(target):
        newest = bar.features.iloc[-1]
        empty = [column for column in newest.index if pd.isna(newest[column])]
        raise FlatSignalError(f"{recipe} decides nothing on this bar: without a value are {', '.join(empty)}")
    return target


def _assert_recent(market: Symbol, bar: NewestBar, week: str, now: pd.Timestamp) -> None:
    """FlatSignalError if bars after the newest one are missing, or if the share of capital is too old."""
    expected = expected_open_times(market.calendar, market.timeframe, bar.fill, max(bar.fill, now))
    length = to_timedelta(market.timeframe)
    missing = int((expected + length <= now).sum())
    is_late = length > DAY and missing > 0 and expected[0] + length + DAY <= now
    if missing >= STALE_BARS or is_late:
        raise FlatSignalError(f"{missing} bars after the newest are missing; run the job market_data")
    if bar.fill >= pd.Timestamp(week, tz="UTC") + SHARE_TTL:
        raise FlatSignalError(f"the newest {ROLLOUT} is of {week}; run the job weekly_cycle")


def _assert_within_limits(
    history: MarketHistory, trader: Trader, versions: Sequence[Version], last: pd.Timestamp, load: Load
) -> None:
    """FlatSignalError if the trader's losses up to the bar `last` reach the risk guard, or cannot be computed."""
    try:
        returns = champion_returns(history, trader, versions, last, load)
    except Exception as error:
        raise FlatSignalError(
            f"the losses of {trader.recipe} are not known: {type(error).__name__}: {error}"
        ) from error
    if tripped := guard(returns, history.settings.rollout).tripped:
        raise FlatSignalError(f"the risk guard: {trader.recipe} {tripped}")
