"""Who trades a symbol's next bar, with what share of capital, and what its trades have returned so far.

Not here: the target position and the checks before it becomes a signal (signals.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from quantum_training.lifecycle.decision.ab_tests import running_test
from quantum_training.lifecycle.decision.rollout import by_day, daily_returns
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import (
    CANDLES,
    FEATURES,
    ROLLOUT,
    WeeklyDecision,
    WeeklyRollout,
    read_records,
)
from quantum_training.lifecycle.training.version_loader import Load
from quantum_training.market.calendars import LONGEST_CLOSURE
from quantum_training.market.timeframe import opens_before
from quantum_training.trading.scoring import Version, decisions, score


class FlatSignalError(Exception):
    """The signal must be flat; the message says why."""


@dataclass(frozen=True)
class Trader:
    """The recipe that trades the next bar, its share of capital, and from when its losses count.

    champions: by week, the recipe whose returns count as its own. arm, block: in an A/B test, else None.
    """

    recipe: str
    share: float
    week: str
    guarded_from: pd.Timestamp
    champions: Mapping[str, str | None]
    arm: str | None = None
    block: int | None = None


def trader_of(history: MarketHistory, rollout: WeeklyRollout, fill: pd.Timestamp) -> Trader:
    """Who trades the bar that opens at `fill`: the champion, or the challenger in its blocks of an A/B test.

    rollout: the newest one. FlatSignalError if there is no champion, or if a later decision has no rollout yet.
    """
    champions = _champions(history, fill)
    week = max(champions)
    if week != rollout.week or champions[week] != rollout.champion:
        raise FlatSignalError(f"the champion of {week} was decided since; run {ROLLOUT} of that week")
    if rollout.champion is None:
        raise FlatSignalError("no champion")
    guarded_from = pd.Timestamp(rollout.guarded_from)
    trader = Trader(rollout.champion, rollout.share, rollout.week, guarded_from, champions)
    test = running_test(rollout, fill)
    block = test.block(fill) if test else None
    if test is None or block is None:
        return trader
    trader = replace(trader, arm=test.arm(block), block=block + 1)
    if trader.arm != test.challenger:
        return trader
    return replace(
        trader,
        recipe=test.challenger,
        share=min(test.share, rollout.share),
        guarded_from=pd.Timestamp(test.start),
        champions={"": test.challenger},
    )


def _champions(history: MarketHistory, fill: pd.Timestamp) -> dict[str, str | None]:
    """The champion of each decided week up to the bar."""
    decided = read_records(history.store, WeeklyDecision, history.symbol, f"{fill:%Y-%m-%d}")
    return {week: decision.champion for week, decision in decided.items()}


def champion_returns(
    history: MarketHistory, trader: Trader, versions: Sequence[Version], last: pd.Timestamp, load: Load
) -> pd.Series:
    """Net return per UTC day, at full size, of the trader since its losses count, up to the bar `last`.

    The scored weeks count as they were scored; later bars are scored here by the same code, so that the next weekly
    decision finds the same returns.
    """
    weeks = [w for w in history.scored_weeks(trader.week) if trader.guarded_from < pd.Timestamp(w, tz="UTC")]
    scored = daily_returns(trader.champions, {week: history.scores(week) for week in weeks})
    start = opens_before(pd.Timestamp(trader.week, tz="UTC"), history.market.timeframe)
    if last < start:
        return scored.loc[trader.guarded_from :]
    candles, features = (_stored_until(history, asset, start, last) for asset in (CANDLES, FEATURES))
    decided = decisions(candles, features, versions, start, load)
    frame = score(candles, start, {trader.recipe: decided}, history.market.costs, history.market.account)
    returns: pd.Series = pd.concat([scored, by_day(frame["net_return"])]).loc[trader.guarded_from :]
    return returns


def _stored_until(history: MarketHistory, asset: str, start: pd.Timestamp, last: pd.Timestamp) -> pd.DataFrame:
    """The stored rows up to the bar `last`, from early enough on that every recipe can decide at `start`."""
    first = pd.Timestamp(history.first_month_for_scores(start), tz="UTC")
    return history.stored_rows(asset, min(history_start(history, start), first), last).loc[:last]


def history_start(history: MarketHistory, time: pd.Timestamp) -> pd.Timestamp:
    """A time early enough that every recipe can decide on a bar at `time`."""
    return min(time - LONGEST_CLOSURE, pd.Timestamp(history.first_month_for_decisions(time), tz="UTC"))
