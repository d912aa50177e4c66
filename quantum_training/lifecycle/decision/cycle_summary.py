"""The summary of a cycle: one row per symbol with its champion, the verdict and the evidence of the newest week."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from quantum_training.lifecycle.records import (
    BacktestRecord,
    ModelRecord,
    WeeklyDecision,
    model_asset,
    read_record,
    read_records,
)
from quantum_training.lifecycle.training.training_window import incomplete_window
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.trading.summary import interval


def champion_row(store: Store, registry: ModelRegistry, symbol: str, recipes: Sequence[str] = ()) -> dict[str, Any]:
    """The newest decision of a symbol: who trades, the Sharpe ratios of the champion and of Buy & Hold, the verdict,
    the evidence of each challenger, and which of these recipes were trained although months are missing.
    """
    decisions = list(read_records(store, WeeklyDecision, symbol).values())
    if not decisions:
        return {"symbol": symbol, "champion": "none", "verdict": "no week was decided yet"}
    decision = decisions[-1]
    backtest = read_record(store, BacktestRecord, symbol, decision.week)
    metrics = backtest.metrics if backtest else {}
    version = registry.find(symbol, decision.model_id) if decision.model_id else None
    return {
        "symbol": symbol,
        "week": decision.week,
        "champion": decision.champion or "none",
        "Sharpe [95 %]": _sharpe(metrics.get(decision.champion or "")),
        "Buy & Hold": _sharpe(metrics.get("buy_and_hold")),
        "verdict": f"{decision.verdict}: {decision.proposed} waits for promote"
        if decision.proposed
        else decision.verdict,
        "evidence": "; ".join(f"{recipe}: {judgement.reason}" for recipe, judgement in decision.judgements.items()),
        "MLflow version": version.number if version else "-",
        "months missing in training": _missing_months(store, symbol, decision.week, recipes),
    }


def champion_table(rows: list[dict[str, Any]]) -> str:
    """Rows of `champion_row` as a text table."""
    return str(pd.DataFrame(rows).to_markdown(index=False))


def _missing_months(store: Store, symbol: str, week: str, recipes: Sequence[str]) -> str:
    records = {recipe: read_record(store, ModelRecord, symbol, week, model_asset(recipe)) for recipe in recipes}
    incomplete = {recipe: text for recipe, r in records.items() if r and (text := incomplete_window(r))}
    return "; ".join(f"{recipe}: {text}" for recipe, text in incomplete.items()) or "-"


def _sharpe(metrics: dict[str, Any] | None) -> str:
    return f"{interval(metrics, 'sharpe')} n={metrics['bars']}" if metrics else "-"
