"""An evaluation as a table that people read: one row per strategy, the best Sharpe ratio first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from quantum_training.trading.evaluation import Evaluation

COLUMNS = ("total_return", "cagr", "max_drawdown", "turnover", "exposure", "trades", "win_rate", "break_even_fee_bps")


def summary(evaluation: Evaluation) -> pd.DataFrame:
    """Index strategy; Sharpe ratio and its lead over Buy & Hold with 95 % intervals, bars, returns."""
    rows = {
        strategy: {
            "sharpe [95 %]": interval(values, "sharpe"),
            "vs buy_and_hold [95 %]": interval(values, "sharpe_lead"),
            "bars": values["bars"],
            **{name: values[name] for name in COLUMNS},
        }
        for strategy, values in evaluation.metrics.items()
    }
    order = sorted(rows, key=lambda s: -np.inf if (v := evaluation.metrics[s]["sharpe"]) is None else v, reverse=True)
    return pd.DataFrame.from_dict(rows, orient="index", dtype=object).loc[order]


def interval(values: dict[str, Any], name: str) -> str:
    """A number with its interval, or why it is undefined."""
    if values[name] is None:
        reason: str = values["reasons"].get(name, "-")
        return reason
    low, high = values[f"{name}_low"], values[f"{name}_high"]
    return f"{values[name]:.2f}" + (f" [{low:.2f}, {high:.2f}]" if low is not None else "")
