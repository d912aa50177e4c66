"""The share of capital of a symbol's champion, week by week: reads decisions, scores, drift reports and orders.

How the share moves is the pure fold of selection/rollout.py. An A/B test of the week is ab_tests.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from quantum_training.lifecycle.consistency.inconsistency import require_consistent
from quantum_training.lifecycle.consistency.ledger import orders_against_ledger
from quantum_training.lifecycle.decision.ab_tests import ab_state
from quantum_training.lifecycle.evaluation.model_health import worst_drift_of_week
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import WeeklyDecision, WeeklyRollout, read_records
from quantum_training.resources.ledger import Ledger
from quantum_training.selection.decision import Decision
from quantum_training.selection.ledger_rows import AB_KINDS, ORDERS, order_of
from quantum_training.selection.rollout import Stage, fold


def rollout_weeks(history: MarketHistory, ledger: Ledger, last: str) -> dict[str, WeeklyRollout]:
    """The rollout of every week up to `last` that has a decision, with the A/B test that runs in it.

    InconsistentStateError if the ledger does not know an order that an earlier week followed.
    """
    require_consistent(orders_against_ledger(history.store, ledger, history.symbol))
    decisions = read_records(history.store, WeeklyDecision, history.symbol, last)
    tests = ledger.rows(history.symbol, AB_KINDS)
    return {
        week: WeeklyRollout(**dict(stage), ab=ab_state(history, tests, decisions, week) if tests else None)
        for week, stage in stages_of(history, ledger, decisions, last).items()
    }


def stages_of(history: MarketHistory, ledger: Ledger, decisions: Mapping[str, Decision], last: str) -> dict[str, Stage]:
    """The stage of every decided week up to `last`. decisions: by week."""
    drift = {week: worst_drift_of_week(history.store, history.symbol, week) for week in decisions}
    champions = {week: decision.champion for week, decision in decisions.items()}
    returns = daily_returns(champions, history.scores_by_week(last))
    orders = [order_of(row) for row in ledger.rows(history.symbol, ORDERS)]
    return {stage.week: stage for stage in fold(decisions, drift, returns, history.settings.rollout, orders)}


def daily_returns(champions: Mapping[str, str | None], scores: Mapping[str, pd.DataFrame]) -> pd.Series:
    """Net return per UTC day of the recipe that was champion on it; days without one are left out.

    champions: by week; in a week that is missing the champion of the week before remained. scores: records of
    trading.scoring.score by week; record W holds the bars of the week before W, of several days each those that closed
    in it.
    """
    parts = []
    for frame in scores.values():
        opens = pd.DatetimeIndex(frame.index)
        begins = (opens - pd.to_timedelta(opens.weekday, "D")).strftime("%Y-%m-%d")
        for start in begins.unique():
            recipe = next((champions[w] for w in sorted(champions, reverse=True) if w <= start), None)
            if recipe is not None:
                parts.append(frame.loc[(frame["strategy"] == recipe) & (begins == start), "net_return"])
    if not parts:
        return pd.Series(dtype="float64", index=pd.DatetimeIndex([], tz="UTC"))
    return by_day(pd.concat(parts))


def by_day(net: pd.Series) -> pd.Series:
    """Net returns per bar compounded per UTC day, oldest first."""
    return net.groupby(pd.DatetimeIndex(net.index).floor("D")).agg(lambda r: float(np.prod(1 + r) - 1)).sort_index()
