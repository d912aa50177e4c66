"""The table that a cycle ends with."""

from typing import Any

import pandas as pd

from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.trading.summary import interval


def champion_row(store: Store, registry: ModelRegistry, symbol: str) -> dict[str, Any]:
    """The newest decision of a symbol: who trades, its Sharpe ratio, Buy & Hold's, the verdict and the evidence of each
    challenger.
    """
    record = list(store.read_records("champion", symbol).values())[-1]
    metrics = (store.read_record("backtest", symbol, record["week"]) or {"metrics": {}})["metrics"]
    found = registry.find(symbol, record["model_id"]) if record["model_id"] else None
    return {
        "symbol": symbol,
        "week": record["week"],
        "champion": record["champion"] or "none",
        "Sharpe [95 %]": _sharpe(metrics.get(record["champion"])),
        "Buy & Hold": _sharpe(metrics.get("buy_and_hold")),
        "verdict": record["verdict"],
        "evidence": "; ".join(f"{r}: {j['reason']}" for r, j in record["judgements"].items()),
        "MLflow version": found.number if found else "-",
    }


def champion_table(rows: list[dict[str, Any]]) -> str:
    """Rows of champion_row as a text table."""
    return pd.DataFrame(rows).to_markdown(index=False)


def _sharpe(metrics: dict | None) -> str:
    return f"{interval(metrics, 'sharpe')} n={metrics['bars']}" if metrics else "-"
