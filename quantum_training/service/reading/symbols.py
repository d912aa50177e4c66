"""All symbols on one page, and one symbol in detail: champion, share, evidence, drift, decay, age of the data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

import pandas as pd
from pydantic import BaseModel, Field

from quantum_training.lifecycle.data_end import data_end
from quantum_training.lifecycle.records import (
    BACKTEST,
    CANDLES,
    CHAMPION,
    DECAY_REPORT,
    DRIFT_REPORT,
    LATEST,
    ROLLOUT,
    SIGNALS,
)
from quantum_training.lifecycle.reporting.summaries import in_office_since
from quantum_training.lifecycle.reporting.week_report import symbol_week
from quantum_training.lifecycle.stored_months import stored_until
from quantum_training.service.reading.dated import Dated, age, newest, page, utc
from quantum_training.service.reading.decisions import newest_record
from quantum_training.service.state import State
from quantum_training.trading.baselines import BUY_AND_HOLD


class SharpeRatio(BaseModel):
    """An annualised Sharpe ratio with its 95 % interval."""

    sharpe: float | None = Field(description="Null if it is undefined.", examples=[0.51])
    low: float | None = Field(description="Lower end of the interval.", examples=[-3.1])
    high: float | None = Field(description="Upper end of the interval.", examples=[4.2])
    bars: int | None = Field(description="Bars that it was measured on.", examples=[168])
    reason: str | None = Field(description="Why it is undefined.")


class SymbolRow(Dated):
    """A symbol in its newest decided week."""

    symbol: str = Field(examples=["AAA"])
    timeframe: str = Field(examples=["4h"])
    recipes: list[str] = Field(examples=[["xgboost", "lightgbm"]])
    week: str | None = Field(description="The newest decided week; null before the first.", examples=["2020-02-10"])
    champion: str | None = Field(description="Recipe in office; null if there is none.", examples=["lightgbm"])
    champion_since: str | None = Field(description="Week since which it is in office.", examples=["2020-01-20"])
    model_id: str | None = Field(description="Its version.")
    verdict: str | None = Field(description="Verdict of the week.", examples=["CONTINUE"])
    proposed: str | None = Field(description="Recipe that waits for a person to promote it.")
    pinned: bool = Field(description="Does a person keep the champion in office?")
    share: float | None = Field(description="Share of the capital that the champion may use.", examples=[0.05])
    stage: int | None = Field(description="Stage of the rollout.", examples=[2])
    champion_sharpe: SharpeRatio | None = Field(description="Of the champion in the backtest of the week.")
    buy_and_hold: SharpeRatio | None = Field(description="Of Buy & Hold on the same bars.")
    drift: str | None = Field(description="Severity of the newest drift report.", examples=["NONE"])
    drift_day: str | None = Field(description="Its day.", examples=["2020-02-10"])
    decay: str | None = Field(description="Status of the newest decay report.", examples=["NONE"])
    position: float | None = Field(description="What the newest signal says to hold; null without one.")
    bars_end: datetime | None = Field(description="UTC time up to which bars could exist now.")


class StrategyRow(BaseModel):
    """A recipe or Buy & Hold in the week, in words."""

    strategy: str
    sharpe: str = Field(description="With its 95 % interval.", examples=["0.51 [-3.10, 4.20]"])
    bars: int | None
    state: str = Field(description="Where its evidence stands.", examples=["champion"])


class SymbolDetail(SymbolRow):
    """A symbol with its market and what its week found, in sentences."""

    source: str = Field(description="Kind of its source.", examples=["yfinance"])
    calendar: str = Field(examples=["XNYS"])
    first_day: str | None = Field(description="First day of its candles in the settings.")
    last_day: str | None = Field(description="Last day of its data; null if they go on.")
    strategies: list[StrategyRow]
    sentences: dict[str, str] = Field(description="What the week found, by subject.")
    attention: list[str] = Field(description="What a person should look at.")


def symbol_page(state: State, symbols: list[str], offset: int, limit: int) -> dict[str, Any]:
    """The rows of these symbols."""
    rows = [symbol_row(state, symbol) for symbol in symbols[offset : offset + limit]]
    return {**page(rows, newest(row["as_of"] for row in rows)), "total": len(symbols)}


def symbol_row(state: State, symbol: str) -> dict[str, Any]:
    """The fields of SymbolRow."""
    stored = state.memory.made(("row", symbol), partial(_stored_row, state, symbol))
    bars_end = utc(data_end(state.settings, symbol, pd.Timestamp.now("UTC")))
    return {**stored, **age(stored["as_of"]), "bars_end": bars_end}


def _stored_row(state: State, symbol: str) -> dict[str, Any]:
    """Those fields that only the store changes."""
    store, market = state.store, state.settings.symbols[symbol]
    decisions = store.read_records(CHAMPION, symbol)
    week = max(decisions, default=None)
    decision = decisions[week] if week else {}
    champion = decision.get("champion")
    champions = {decided: record["champion"] for decided, record in decisions.items()}
    backtest = newest_record(state, BACKTEST, symbol) or {}
    metrics = backtest.get("metrics", {})
    rollout = newest_record(state, ROLLOUT, symbol) or {}
    signal = store.read_record(SIGNALS, symbol, LATEST) or {}
    drift_days = store.periods(DRIFT_REPORT, symbol, "json")
    return {
        "as_of": stored_until(store, CANDLES, symbol),
        "symbol": symbol,
        "timeframe": market.timeframe,
        "recipes": [*market.recipes],
        "week": week,
        "champion": champion,
        "champion_since": in_office_since(champions, week) if week and champion else None,
        "model_id": decision.get("model_id"),
        "verdict": decision.get("verdict"),
        "proposed": decision.get("proposed"),
        "pinned": decision.get("pinned", False),
        "share": rollout.get("share"),
        "stage": rollout.get("stage"),
        "champion_sharpe": sharpe_ratio(metrics.get(champion)),
        "buy_and_hold": sharpe_ratio(metrics.get(BUY_AND_HOLD)),
        "drift": (newest_record(state, DRIFT_REPORT, symbol) or {}).get("severity"),
        "drift_day": drift_days[-1] if drift_days else None,
        "decay": (newest_record(state, DECAY_REPORT, symbol) or {}).get("status"),
        "position": signal.get("position"),
    }


def symbol_detail(state: State, symbol: str) -> dict[str, Any]:
    """The fields of SymbolDetail."""
    market = state.settings.symbols[symbol]
    week = state.memory.made(("week", symbol), partial(symbol_week, state.store, state.settings, symbol))
    last_day = state.settings.last_day(symbol)
    return {
        **symbol_row(state, symbol),
        "source": market.source.kind,
        "calendar": str(market.calendar),
        "first_day": str(market.start or state.settings.start),
        "last_day": str(last_day) if last_day else None,
        "strategies": [line._asdict() for line in week.lines],
        "sentences": dict(week.sentences),
        "attention": [*week.attention],
    }


def sharpe_ratio(metrics: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The fields of SharpeRatio of a strategy's stored metrics."""
    if metrics is None:
        return None
    return {
        "sharpe": metrics["sharpe"],
        "low": metrics.get("sharpe_low"),
        "high": metrics.get("sharpe_high"),
        "bars": metrics.get("bars"),
        "reason": metrics.get("reasons", {}).get("sharpe"),
    }
