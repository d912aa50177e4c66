"""What strategies earned in the shadow: leaderboard, metrics by week, equity and fills. No return is computed here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field

from quantum_training.lifecycle.records import BACKTEST, CHAMPION, SHADOW_SCORES
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.service.problems import Problem, unknown
from quantum_training.service.reading.dated import Dated, age, page
from quantum_training.service.reading.decisions import newest_record
from quantum_training.service.reading.symbols import SharpeRatio, sharpe_ratio
from quantum_training.service.state import State
from quantum_training.trading.baselines import BASELINES

MAX_POINTS = 2000
"""Points of a curve in an answer: more than a screen has."""


class LeaderboardRow(BaseModel):
    """A strategy on the bars of the newest backtest, beside the champion and Buy & Hold."""

    strategy: str = Field(examples=["xgboost"])
    is_champion: bool
    model_id: str | None = Field(description="Its newest accepted version; null for a baseline.")
    trained_as_of: datetime | None = Field(description="Up to when that version saw data.")
    predictions: int | None = Field(description="Bars that count in the open campaign, else in the backtest.")
    needed_predictions: int = Field(description="Bars before anything is decided.", examples=[100])
    sharpe: SharpeRatio
    total_return: float | None
    max_drawdown: float | None = Field(description="Negative fraction.")
    win_rate: float | None
    sharpe_lead: float | None = Field(description="Sharpe ratio over that of Buy & Hold on the same bars.")
    sharpe_lead_low: float | None = Field(description="Lower end of its 95 % interval.")
    sharpe_lead_high: float | None
    sharpe_difference: float | None = Field(description="Over the champion's; null without a champion.")
    win_rate_difference: float | None = Field(description="Over the champion's; null without a champion.")
    z: float | None = Field(description="Test statistic of the newest interim analysis.")
    boundary: float | None = Field(description="What z has to cross.")
    verdict: str | None = Field(description="Verdict on it in the newest week.")
    reason: str | None = Field(description="That verdict in words.")


class Leaderboard(Dated):
    """All strategies of a symbol, the highest Sharpe ratio first."""

    symbol: str
    week: str = Field(description="Week of the backtest.", examples=["2020-02-10"])
    first_week: str
    champion: str | None
    verdict: str = Field(description="Does the best recipe lead Buy & Hold?")
    probability_of_overfitting: float | None
    rows: list[LeaderboardRow]


class WeekMetrics(BaseModel):
    """A strategy in the backtest of a week."""

    week: str
    strategy: str
    sharpe: float | None
    sharpe_low: float | None
    sharpe_high: float | None
    bars: int
    total_return: float | None
    max_drawdown: float | None
    win_rate: float | None


class Equity(Dated):
    """Equity of every strategy over the backtest of a week, from 1."""

    symbol: str
    week: str
    times: list[datetime] = Field(description="Open times of the bars, UTC.")
    equity: dict[str, list[float | None]] = Field(description="By strategy; null before its first decision.")


class Fill(BaseModel):
    """A bar in which a strategy's position was changed in the shadow."""

    time: datetime = Field(description="Open time of the bar at whose open it was filled.")
    strategy: str
    side: str = Field(examples=["BUY"])
    price: float = Field(description="Slippage included.")
    target: float = Field(description="Position that was decided, as a share of the capital.")
    turnover: float = Field(description="Traded value as a share of the capital.")
    cost: float = Field(description="As a share of the capital.")
    model_id: str = Field(description="Version that decided; empty for a baseline.")


def leaderboard(state: State, symbol: str) -> dict[str, Any]:
    """The fields of Leaderboard. Problem 404 before the first backtest."""
    record = newest_backtest(state, symbol)
    decision = newest_record(state, CHAMPION, symbol) or {}
    champion, judgements = decision.get("champion"), decision.get("judgements", {})
    metrics = record["metrics"]
    rows = [
        _leaderboard_row(state, symbol, strategy, metrics, judgements.get(strategy, {}), champion)
        for strategy in metrics
        if strategy in BASELINES or strategy in state.settings.symbols[symbol].recipes
    ]
    rows.sort(key=lambda row: -np.inf if (s := row["sharpe"]["sharpe"]) is None else s, reverse=True)
    return {
        **age(record["week"]),
        "symbol": symbol,
        "week": record["week"],
        "first_week": record["first_week"],
        "champion": champion,
        "verdict": record["verdict"]["text"],
        "probability_of_overfitting": record["probability_of_overfitting"],
        "rows": rows,
    }


def _leaderboard_row(
    state: State,
    symbol: str,
    strategy: str,
    metrics: Mapping[str, Mapping[str, Any]],
    judgement: Mapping[str, Any],
    champion: str | None,
) -> dict[str, Any]:
    values, of_champion = metrics[strategy], metrics.get(champion or "", {})
    versions = versions_of(state.store, symbol, strategy) if strategy not in BASELINES else []

    def over_champion(name: str) -> float | None:
        own, other = values.get(name), of_champion.get(name)
        return None if own is None or other is None else float(own - other)

    return {
        "strategy": strategy,
        "is_champion": strategy == champion,
        "model_id": versions[-1].model_id if versions else None,
        "trained_as_of": versions[-1].as_of.to_pydatetime() if versions else None,
        "predictions": judgement.get("bars", values.get("bars")),
        "needed_predictions": state.settings.promotion.min_predictions,
        "sharpe": sharpe_ratio(values),
        **{name: values.get(name) for name in ("total_return", "max_drawdown", "win_rate")},
        **{name: values.get(name) for name in ("sharpe_lead", "sharpe_lead_low", "sharpe_lead_high")},
        "sharpe_difference": over_champion("sharpe"),
        "win_rate_difference": over_champion("win_rate"),
        **{name: judgement.get(name) for name in ("z", "boundary", "verdict", "reason")},
    }


def newest_backtest(state: State, symbol: str, week: str | None = None) -> dict[str, Any]:
    """The record of the newest backtest, or of a week, with its week. Problem 404 if there is none."""
    weeks = state.store.periods(BACKTEST, symbol, "json")
    chosen = week or (weeks[-1] if weeks else None)
    record = state.store.read_record(BACKTEST, symbol, chosen) if chosen in weeks else None
    if record is None:
        if week and weeks:
            raise unknown(f"backtest of {symbol} in the week", week, weeks[::-1])
        raise Problem(404, f"{symbol} has no backtest yet", "a backtest follows a scored week", "run the job clm_cycle")
    return {**record, "week": chosen}


def metrics_page(state: State, symbol: str, weeks: int) -> dict[str, Any]:
    """The metrics of every strategy in the backtests of the newest weeks, oldest first."""
    names = ("sharpe", "sharpe_low", "sharpe_high", "bars", "total_return", "max_drawdown", "win_rate")
    records = state.store.read_records(BACKTEST, symbol)
    chosen = [*records][-weeks:]
    rows = [
        {"week": week, "strategy": strategy, **{name: values.get(name) for name in names}}
        for week in chosen
        for strategy, values in records[week]["metrics"].items()
    ]
    return page(rows, chosen[-1] if chosen else None)


def equity(state: State, symbol: str, week: str | None) -> dict[str, Any]:
    """The fields of Equity. Problem 404 if there is none."""
    week = newest_backtest(state, symbol, week)["week"]
    frame = state.store.read_frame(BACKTEST, symbol, week)
    rows = np.unique(np.linspace(0, len(frame) - 1, min(len(frame), MAX_POINTS)).round().astype(int))
    thinned = frame.iloc[rows]
    curves = {str(name): _numbers(values) for name, values in thinned.items()}
    return {
        **age(week),
        "symbol": symbol,
        "week": week,
        "times": pd.DatetimeIndex(thinned.index).to_pydatetime().tolist(),
        "equity": curves,
    }


def _numbers(values: pd.Series) -> list[float | None]:
    return [None if missing else value for value, missing in zip(values.tolist(), values.isna(), strict=True)]


def fill_page(state: State, symbol: str, strategy: str | None, weeks: int, limit: int) -> dict[str, Any]:
    """The newest fills in the scores of the newest weeks. strategy: only of this one. Problem 404 if it has no scores.

    What was scored is the position and its price, so a fill's side is the sign of its target less the position before.
    """
    scored = state.store.periods(SHADOW_SCORES, symbol)[-weeks:]
    if not scored:
        return page([], None)
    scores = state.store.read_frames(SHADOW_SCORES, symbol, scored[0], scored[-1])
    strategies = [*scores["strategy"].unique()]
    if strategy is not None and strategy not in strategies:
        raise unknown(f"strategy of {symbol}", strategy, strategies)
    chosen = scores if strategy is None else scores[scores["strategy"] == strategy]
    before = chosen.groupby("strategy")["position"].shift(fill_value=0.0)
    filled = chosen.assign(side=np.where(chosen["target"] >= before, "BUY", "SELL"))
    filled = filled[(filled["turnover"] > 0) & filled["fill_price"].notna()].sort_index(kind="stable")[::-1]
    names = ["strategy", "side", "price", "target", "turnover", "cost", "model_id"]
    table = filled.rename(columns={"fill_price": "price"}).head(limit)
    rows = [
        {"time": time.to_pydatetime(), **dict(zip(names, values, strict=True))}
        for time, *values in table[names].fillna({"target": 0.0}).itertuples(name=None)
    ]
    return {**page(rows, scored[-1]), "total": len(filled)}
