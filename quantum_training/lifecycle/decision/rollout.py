"""The share of capital of a symbol's champion, week by week. How it moves: selection.rollout."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from quantum_training.lifecycle.evaluation.model_health import drift_before
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.market.periods import WEEK
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.store.store import Store
from quantum_training.selection.ledger import Row
from quantum_training.selection.rollout import Stage, fold
from quantum_training.selection.rollout_policy import Order
from quantum_training.settings.settings import Settings

ORDERS = {"rollout_reset": "reset", "rollout_ceiling": "ceiling"}
"""Kinds of ledger rows that are orders; their payload holds week, recipe and, for a ceiling, the share."""


def stages_of(store: Store, ledger: Ledger, settings: Settings, symbol: str, last: str) -> dict[str, Stage]:
    """The stage of every week up to `last` that has a champion record."""
    champions = store.read_records("champion", symbol, last)
    drift = {week: drift_before(store, symbol, week) for week in champions}
    returns = daily_returns(champions, MarketHistory(store, settings, symbol).scores_by_week(last))
    orders = [order(row) for row in ledger.rows(symbol, ORDERS)]
    return {stage.week: stage for stage in fold(champions, drift, returns, settings.rollout, orders)}


def daily_returns(champions: Mapping[str, Mapping[str, Any]], scores: Mapping[str, pd.DataFrame]) -> pd.Series:
    """Net return per UTC day of whoever was champion on it; days without one are left out.

    champions: decisions by week; one that is missing means that the one before still stood. scores: records of
    trading.scoring.score by week; record W holds the bars of the week before W.
    """
    parts = []
    for week, frame in scores.items():
        start = str((pd.Timestamp(week) - WEEK).date())
        recipe = next((champions[w]["champion"] for w in sorted(champions, reverse=True) if w <= start), None)
        if recipe is not None:
            parts.append(frame.loc[frame["strategy"] == recipe, "net_return"])
    if not parts:
        return pd.Series(dtype="float64", index=pd.DatetimeIndex([], tz="UTC"))
    return by_day(pd.concat(parts))


def by_day(net: pd.Series) -> pd.Series:
    """Net returns per bar compounded per UTC day, oldest first."""
    return net.groupby(pd.DatetimeIndex(net.index).floor("D")).agg(lambda r: float(np.prod(1 + r) - 1)).sort_index()


def order(row: Row) -> Order:
    """The order that a ledger row holds. ValidationError where its payload is none."""
    return Order.model_validate(
        {
            **row.payload,
            "kind": ORDERS[row.kind],
            "effective": row.effective,
            "actor": row.actor,
            "reason": row.reason,
        }
    )
