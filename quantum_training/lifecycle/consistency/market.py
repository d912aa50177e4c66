"""Are the stored bars, and the scores that rest on them, of the market that the settings name?

Readers and ingestion refuse bars that are recorded as another market's: market_identity.py. Here the whole store is
compared, and scores with bars by what they say.
"""

from __future__ import annotations

import pandas as pd

from quantum_training.lifecycle.consistency.inconsistency import Inconsistency
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.market_identity import MARKET, REMEDY, mismatch
from quantum_training.lifecycle.records import CANDLES, EVERY, FEATURES
from quantum_training.market.periods import WEEK
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.trading.baselines import BUY_AND_HOLD

SAME_RETURN, SAME_RETURN_SHARE = 1e-4, 0.1
"""Two returns of one bar are equal if they differ by no more than this, plus this share of the return."""


def market_inconsistencies(store: Store, settings: Settings, symbol: str) -> list[Inconsistency]:
    """What a symbol's stored bars and scores say of another market than the settings name."""
    others = bars_of_another_market(store, settings, symbol)
    return others or scores_of_another_market(MarketHistory(store, settings, symbol))


def bars_of_another_market(store: Store, settings: Settings, symbol: str) -> list[Inconsistency]:
    """The months that are recorded as another market's; months without a record of it count as right.

    Of each year one month is read, and the newest: a market replaced in part differs at one end.
    """
    inconsistencies = []
    for asset in (CANDLES, FEATURES):
        stored = store.periods(asset, symbol)
        months = [*stored[::12], *stored[-1:]]
        recorded = {month: store.attributes(asset, symbol, month).get(MARKET) for month in months}
        if problem := mismatch(settings.symbols[symbol], asset, recorded):
            inconsistencies.append(Inconsistency(symbol, "market", problem, REMEDY))
    return inconsistencies


def scores_of_another_market(history: MarketHistory, last: str = EVERY) -> list[Inconsistency]:
    """Scored weeks up to `last` in which Buy & Hold earned something else than the candles say, on most bars.

    A dividend or a mended bar changes a few returns, another market or timeframe nearly all. The oldest week and the
    two newest are compared: these are the two ends of a record that one market began and another continued.
    """
    weeks = history.scored_weeks(last)
    others = [week for week in dict.fromkeys([*weeks[:1], *weeks[-2:]]) if _is_of_other_bars(history, week)]
    if not others:
        return []
    problem = (
        f"the scores of {', '.join(others)} do not belong to the stored candles: on most of their bars Buy & Hold "
        "earned something else"
    )
    remedy = (
        "Give the new market another symbol name; if the former bars were wrong, train and score again what rests on "
        f"them: run weekly_cycle for all weeks from {weeks[0]} on"
    )
    return [Inconsistency(history.symbol, "market", problem, remedy)]


def _is_of_other_bars(history: MarketHistory, week: str) -> bool:
    end = pd.Timestamp(week, tz="UTC")
    candles = history.stored_rows(CANDLES, history.scored_from(end - WEEK), end)
    if candles.empty or candles.index[0] >= history.scored_from(end):
        return False  # nothing to compare with
    scores = history.scores(week)
    scores = scores[(scores["strategy"] == BUY_AND_HOLD) & (scores.index <= candles.index[-1])]
    if not {"position", "gross_return"} <= {*scores}:
        return False  # a record that says only what was earned
    held = scores[scores["position"] > SAME_RETURN_SHARE]
    moves = candles["close"].pct_change().reindex(held.index)
    errors = (held["gross_return"] / held["position"] - moves).abs()
    same = errors <= SAME_RETURN + SAME_RETURN_SHARE * moves.abs()
    return len(held) > 0 and bool(same.mean() < 0.5)
