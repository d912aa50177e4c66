"""A stored backtest as S2 and S3 show one: their names of the metrics, equity by day, trades."""

from __future__ import annotations

from typing import Any

import pandas as pd

from quantum_training.lifecycle.records import BACKTEST
from quantum_training.service.problems import unknown
from quantum_training.service.reading.benchmark import difference, eight_metrics, leader, success_criteria
from quantum_training.service.reading.evidence import fill_page, newest_backtest
from quantum_training.service.state import State
from quantum_training.trading.baselines import BUY_AND_HOLD

FIVE = ("total_return", "sharpe_ratio", "max_drawdown", "win_rate")


def agent_backtest(state: State, symbol: str, recipe: str, week: str | None) -> dict[str, Any]:
    """S2's answer from the newest backtest, or that of a week. Problem 404 if there is none, or not of the recipe."""
    record = newest_backtest(state, symbol, week)
    metrics = record["metrics"]
    if recipe not in metrics:
        raise unknown(f"strategy in the backtest of {symbol}", recipe, metrics)
    equity = state.store.read_frame(BACKTEST, symbol, record["week"])[recipe]
    capital = state.settings.symbols[symbol].account.capital
    daily = equity.dropna().groupby(pd.DatetimeIndex(equity.dropna().index).floor("D")).last()
    weeks = 1 + (pd.Timestamp(record["week"]) - pd.Timestamp(record["first_week"])).days // 7
    fills = fill_page(state, symbol, recipe, weeks, 1000)["items"] if week is None else []
    agent, passive = eight_metrics(metrics[recipe]), eight_metrics(metrics.get(BUY_AND_HOLD))
    return {
        "symbol": symbol,
        "recipe": recipe,
        "week": record["week"],
        "agent_metrics": agent,
        "buy_and_hold_metrics": passive,
        "trades": [
            {"date": fill["time"], "action": fill["side"], **{name: fill[name] for name in ("price", "target", "cost")}}
            for fill in reversed(fills)
        ],
        "portfolio_value": [capital * value for value in daily.tolist()],
        "dates": [f"{day:%Y-%m-%d}" for day in daily.index],
        "comparison": {
            "sharpe_improvement": difference(agent["sharpe_ratio"], passive["sharpe_ratio"]),
            "return_improvement": difference(agent["total_return"], passive["total_return"]),
        },
    }


def four_strategies(state: State, symbol: str, recipe: str) -> dict[str, Any]:
    """S3's benchmark from the newest backtest: the recipe, Buy & Hold, moving averages, random traders.

    Of random traders only the median Sharpe ratio is known.
    """
    record = newest_backtest(state, symbol)
    metrics = record["metrics"]
    if recipe not in metrics:
        raise unknown(f"strategy in the backtest of {symbol}", recipe, metrics)
    equity = state.store.read_frame(BACKTEST, symbol, record["week"])

    def five(strategy: str) -> dict[str, float | None]:
        eight = eight_metrics(metrics.get(strategy))
        returns = equity[strategy].dropna().pct_change().dropna() if strategy in equity else pd.Series(dtype="float64")
        average = float(returns.mean()) if len(returns) else None
        return {**{name: eight[name] for name in FIVE}, "avg_return": average}

    random = dict.fromkeys((*FIVE, "avg_return")) | {"sharpe_ratio": metrics[recipe].get("random_sharpe_median")}
    by_strategy = {"RL v3": five(recipe), "Buy & Hold": five(BUY_AND_HOLD), "Moving Average": five("ma_crossover")}
    ratios = {name: of["sharpe_ratio"] for name, of in {**by_strategy, "Random": random}.items()}
    agent, passive = by_strategy["RL v3"], by_strategy["Buy & Hold"]
    return {
        "symbol": symbol,
        "recipe": recipe,
        "week": record["week"],
        "rl_v3_metrics": agent,
        "buy_hold_metrics": passive,
        "moving_avg_metrics": by_strategy["Moving Average"],
        "random_metrics": random,
        "winner": leader(ratios),
        "success_criteria": success_criteria(agent, passive),
        "statistically_distinguishable": record["verdict"]["distinguishable"],
    }
