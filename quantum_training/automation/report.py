"""The table that a cycle ends with."""

import pandas as pd

from quantum_training.resources.registry import ModelRegistry
from quantum_training.resources.store import Store
from quantum_training.trading.summary import interval


def champion_table(store: Store, registry: ModelRegistry, symbols: list[str]) -> str:
    """The newest decision of each symbol as a text table: who trades, its Sharpe ratio, Buy & Hold's, the verdict
    and the evidence of each challenger.
    """
    rows = []
    for symbol in symbols:
        record = list(store.read_records("champion", symbol).values())[-1]
        metrics = (store.read_record("backtest", symbol, record["week"]) or {"metrics": {}})["metrics"]
        found = registry.find(symbol, record["model_id"]) if record["model_id"] else None
        rows.append(
            {
                "symbol": symbol,
                "week": record["week"],
                "champion": record["champion"] or "none",
                "Sharpe [95 %]": _sharpe(metrics.get(record["champion"])),
                "Buy & Hold": _sharpe(metrics.get("buy_and_hold")),
                "verdict": record["verdict"],
                "evidence": "; ".join(f"{r}: {j['reason']}" for r, j in record["judgements"].items()),
                "MLflow version": found.number if found else "-",
            }
        )
    return pd.DataFrame(rows).to_markdown(index=False)


def _sharpe(metrics: dict | None) -> str:
    return f"{interval(metrics, 'sharpe')} n={metrics['bars']}" if metrics else "-"
