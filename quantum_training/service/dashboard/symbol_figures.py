"""The figures of a symbol's page, read from its stored records."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from quantum_training.lifecycle.records import (
    BACKTEST,
    DRIFT_REPORT,
    SHADOW_SCORES,
    BacktestRecord,
    DailyDrift,
    WeeklyDecay,
    WeeklyDecision,
    WeeklyRollout,
    read_record,
    read_records,
)
from quantum_training.resources.store.store import Store
from quantum_training.service.dashboard import figures
from quantum_training.trading.scoring import by_strategy

WEEKS = 26
"""Newest weeks that the heat map of returns shows."""
DAYS = 182
"""Newest days that the pictures of drift show."""


def symbol_figures(store: Store, symbol: str) -> dict[str, figures.Figure]:
    """The figures by title, in the order of the page. One that would be empty is left out."""
    drawn: dict[str, figures.Figure] = {}
    if weeks := store.periods(BACKTEST, symbol):
        drawn["Equity over the newest backtest"] = figures.equity(store.read_frame(BACKTEST, symbol, weeks[-1]))
    decisions = read_records(store, WeeklyDecision, symbol)
    drawn |= _evidence(decisions)
    if backtests := read_records(store, BacktestRecord, symbol):
        drawn["Sharpe ratio over the weeks"] = figures.sharpe_over_weeks(backtests)
    drawn |= _scores(store, symbol, decisions[max(decisions)].champion if decisions else None)
    rollouts = read_records(store, WeeklyRollout, symbol)
    if any(rollout.champion for rollout in rollouts.values()):
        drawn["Share of the capital"] = figures.capital(rollouts)
    decays = read_records(store, WeeklyDecay, symbol)
    if any(decay.statistic is not None for decay in decays.values()):
        drawn["Decay of the champion against its limit"] = figures.decay(decays)
    days = store.periods(DRIFT_REPORT, symbol, "json")[-DAYS:]
    drift = {day: report for day in days if (report := read_record(store, DailyDrift, symbol, day))}
    if any(report.outcome == "measured" for report in drift.values()):
        drawn["PSI of the columns that moved most"] = figures.psi_over_days(drift)
        drawn["PSI of all columns"] = figures.drift_heat_map(drift)
    return drawn


def _evidence(decisions: Mapping[str, WeeklyDecision]) -> dict[str, figures.Figure]:
    """z against its boundary; of a rule without z the margin."""
    judgements = [judgement for decision in decisions.values() for judgement in decision.judgements.values()]
    if any(judgement.z is not None for judgement in judgements):
        return {"Evidence: z of each challenger against what is needed": figures.evidence(decisions)}
    if any(judgement.margin is not None for judgement in judgements):
        return {"Evidence: Sharpe ratio of each challenger less what is needed": figures.margins(decisions)}
    return {}


def _scores(store: Store, symbol: str, champion: str | None) -> dict[str, figures.Figure]:
    """What strategies earned by week, and the champion by day, in the newest weeks."""
    weeks = store.periods(SHADOW_SCORES, symbol)[-WEEKS:]
    scores = {week: store.read_frame(SHADOW_SCORES, symbol, week) for week in weeks}
    drawn = {"Net return by week": figures.weekly_returns(_weekly_returns(scores))} if scores else {}
    own = [frame[(frame["strategy"] == champion) & frame["target"].notna()] for frame in scores.values()]
    if any(len(frame) for frame in own):
        days = figures.daily_returns(_by_day(pd.concat(own)))
        drawn[f"Net return and fills of {champion}, the champion, by day"] = days
    return drawn


def _weekly_returns(scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Net return of each strategy by week, as fractions. scores: by week."""
    returns = {week: by_strategy(frame, "net_return") for week, frame in scores.items()}
    return pd.DataFrame({week: (1 + frame).prod() - 1 for week, frame in returns.items()}).T


def _by_day(bars: pd.DataFrame) -> pd.DataFrame:
    """Net return, as a fraction, and number of fills by UTC day. bars: scores of one strategy."""
    days = pd.DatetimeIndex(bars.index).floor("D")
    net_return = (1 + bars["net_return"]).groupby(days).prod() - 1
    return pd.DataFrame({"net_return": net_return, "fills": (bars["turnover"] > 0).groupby(days).sum()})
