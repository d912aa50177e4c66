"""The figures of a symbol's page, read from its stored records."""

from __future__ import annotations

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
    if decisions := read_records(store, WeeklyDecision, symbol):
        drawn["Evidence: z of each challenger against what is needed"] = figures.evidence(decisions)
    if backtests := read_records(store, BacktestRecord, symbol):
        drawn["Sharpe ratio over the weeks"] = figures.sharpe_over_weeks(backtests)
    if scored := store.periods(SHADOW_SCORES, symbol)[-WEEKS:]:
        drawn["Net return by week"] = figures.weekly_returns(_weekly_returns(store, symbol, scored))
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


def _weekly_returns(store: Store, symbol: str, weeks: list[str]) -> pd.DataFrame:
    """Net return of each strategy by week, as fractions."""
    returns = {week: by_strategy(store.read_frame(SHADOW_SCORES, symbol, week), "net_return") for week in weeks}
    return pd.DataFrame({week: (1 + frame).prod() - 1 for week, frame in returns.items()}).T
