"""A stored backtest as a benchmark: strategies by the usual metrics, which one leads, who meets the criteria."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantum_training.lifecycle.records import BACKTEST
from quantum_training.service.reading.decisions import newest_record
from quantum_training.service.state import State
from quantum_training.trading.baselines import BASELINES, BUY_AND_HOLD

EIGHT = {
    "sharpe_ratio": "sharpe",
    "sortino_ratio": "sortino",
    "max_drawdown": "max_drawdown",
    "win_rate": "win_rate",
    "profit_factor": "profit_factor",
    "total_return": "total_return",
    "calmar_ratio": "calmar",
    "alpha": "alpha",
}
"""Usual names of metrics by those of the records. A drawdown is a negative fraction, alpha is annual and against Buy &
Hold."""
CRITERIA = {"sharpe_ratio": 1.5, "max_drawdown": -0.15, "win_rate": 0.55}
"""Limits for success; a value has to be above."""


def eight_metrics(metrics: Mapping[str, Any] | None) -> dict[str, float | None]:
    """The eight metrics of a strategy's stored ones; None if one is undefined."""
    return {name: (metrics or {}).get(stored) for name, stored in EIGHT.items()}


def success_criteria(strategy: Mapping[str, Any], buy_and_hold: Mapping[str, Any]) -> dict[str, bool | None]:
    """Which criteria a strategy's eight metrics meet; None if a value is undefined."""
    met = {name: None if strategy[name] is None else bool(strategy[name] > least) for name, least in CRITERIA.items()}
    lead = difference(strategy["total_return"], buy_and_hold["total_return"])
    return {**met, "beats_buy_and_hold": None if lead is None else lead > 0}


def leader(sharpe_ratios: Mapping[str, float | None]) -> str | None:
    """Who has the highest Sharpe ratio; None if none is defined."""
    defined = {name: ratio for name, ratio in sharpe_ratios.items() if ratio is not None}
    return max(defined, key=lambda name: defined[name], default=None)


def difference(value: float | None, other: float | None) -> float | None:
    """value - other; None if one is undefined."""
    return None if value is None or other is None else float(value - other)


def benchmark(state: State, symbol: str) -> dict[str, Any] | None:
    """Every strategy of the newest backtest: the recipes, the baselines, and for each recipe random traders, of which
    the median Sharpe ratio is known. None before the first backtest."""
    record = newest_record(state, BACKTEST, symbol)
    if record is None:
        return None
    stored = record["metrics"]
    passive = eight_metrics(stored.get(BUY_AND_HOLD))
    rows = [
        {
            "strategy": strategy,
            **(metrics := eight_metrics(stored[strategy])),
            "random_sharpe_ratio": stored[strategy].get("random_sharpe_median"),
            "criteria": None if strategy in BASELINES else success_criteria(metrics, passive),
        }
        for strategy in (*state.settings.symbols[symbol].recipes, *BASELINES)
        if strategy in stored
    ]
    ratios = {row["strategy"]: row["sharpe_ratio"] for row in rows}
    random = {f"random traders, as often as {row['strategy']}": row["random_sharpe_ratio"] for row in rows}
    return {"rows": rows, "leader": leader({**ratios, **random}), "first_week": record["first_week"]}
