"""The walk-forward record: one account per strategy over the bars that were scored, with all its metrics.

The metrics themselves live in metrics.py, trade_metrics.py, uncertainty.py, overfitting.py and sensitivity.py; their
charts live in tearsheet.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from quantum_training.trading.baselines import BUY_AND_HOLD, random_timing
from quantum_training.trading.episodes import Market
from quantum_training.trading.metrics import Number, Reason, return_metrics, sharpe
from quantum_training.trading.overfitting import probability_of_overfitting
from quantum_training.trading.own_metrics import add_own_metrics
from quantum_training.trading.sensitivity import break_even_fees, cost_sensitivity
from quantum_training.trading.simulator import Simulation, simulate
from quantum_training.trading.trade_metrics import trade_metrics
from quantum_training.trading.trades import trades
from quantum_training.trading.uncertainty import (
    deflated_sharpe,
    minimum_track_record,
    probabilistic_sharpe,
    sharpe_bootstrap,
)

FLAT = "flat"
SEED = 7
RANDOM_TRADERS = 200


@dataclass(frozen=True)
class Evaluation:
    """The result of evaluate(). Frames are indexed by open_time, a column per strategy, NaN before its first decision.

    metrics: by strategy, those of return_metrics and trade_metrics and: sharpe_low, sharpe_high, the 95 % interval;
    sharpe_lead, _low, _high, over Buy & Hold on the same bars; total_return_closed, with the open position closed at
    its cost; cost, all costs as a fraction of the starting capital; bars_without_decision. For recipes also
    break_even_fee_bps; psr; dsr; minimum_track_record, in bars; random_traders_beaten, and the random traders' 5, 50
    and 95 % Sharpe ratios. None if undefined; `reasons` then holds the code of the reason.
    verdict: text, winner, margin, margin_low, margin_high, distinguishable; these bounds hold for all recipes
    together, because the best of them was chosen by its result. overfitting: probability that the
    best recipe leads by luck, or why it is undefined. periods: bars in a year. equity starts at 1.
    """

    metrics: dict[str, dict[str, Any]]
    verdict: dict[str, Any]
    overfitting: tuple[float | None, str | None]
    periods: float
    candles: pd.DataFrame
    equity: pd.DataFrame
    net_return: pd.DataFrame
    trades: pd.DataFrame
    cost_sensitivity: pd.DataFrame
    random_sharpes: dict[str, np.ndarray]


def evaluate(
    market: Market,
    targets: pd.DataFrame,
    recipes: Sequence[str],
    periods: float,
    seeds: Mapping[str, int] = MappingProxyType({}),
    own_metrics: Mapping[str, str] = MappingProxyType({}),
) -> Evaluation:
    """Trade the recorded targets of every strategy as one account each and measure it.

    market: the bars of the record, costs and account. targets: by the bar that fills them, a column per recipe and
    baseline, one of them buy_and_hold; NaN without a decision, which counts as flat. A strategy is measured from its
    first decision on. recipes: the columns that are recipes. They are the trials of the deflated Sharpe ratio, each
    counted as often as `seeds` says that it is fitted. `flat` is added. own_metrics: see own_metrics.py.
    ValueError if no bar was scored or Buy & Hold has no decision on the first, or for the name of an own metric.
    """
    candles, costs, account = market.candles, market.costs, market.account
    if targets.empty or np.isnan(targets[BUY_AND_HOLD].iloc[0]):
        what = "no bar was scored" if targets.empty else f"{BUY_AND_HOLD} has no decision on the bar {targets.index[0]}"
        raise ValueError(f"{what}; materialise the shadow scores of these weeks again, or of weeks with bars")
    targets = targets.assign(**{FLAT: 0.0})
    accounts = simulate(candles, targets.fillna(0.0), costs, account)
    table = trades(accounts)
    started = targets.notna().cummax()
    net = pd.DataFrame(accounts.net_return, candles.index, targets.columns).where(started)
    decided = [str(s) for s in targets if started[s].any()]
    measured = [r for r in recipes if r in decided]
    break_even = break_even_fees(candles, targets[measured].fillna(0.0), costs, account)
    metrics = {s: _measure(s, accounts, net, targets[s], table, periods) for s in decided}
    for s, values in metrics.items():
        _add(values, break_even_fee_bps=break_even.get(s, (None, "not_a_recipe")))
    family = _intervals(metrics, net[decided], periods, len(measured))
    random = {r: _random_sharpes(market, targets[r], periods) for r in measured}
    spread = [v for r in measured if (v := metrics[r]["sharpe"]) is not None]
    variance = float(np.var(spread, ddof=1)) / periods if len(spread) > 1 else 0.0
    for r in measured:
        own = net[r].dropna().to_numpy()
        _add(
            metrics[r],
            psr=probabilistic_sharpe(own),
            dsr=deflated_sharpe(own, sum(seeds.get(r, 1) for r in measured), variance),
            minimum_track_record=minimum_track_record(own),
            **_against_random(metrics[r]["sharpe"], random[r]),
        )
    for s, values in metrics.items():
        rows = net[s].notna().to_numpy()
        position = accounts.position[rows, accounts.columns.get_loc(s)]
        add_own_metrics(values, own_metrics, net[s].to_numpy()[rows], position, periods)
    together = net[measured].dropna()
    return Evaluation(
        metrics,
        _verdict(metrics, measured, family),
        probability_of_overfitting(together.to_numpy()),
        periods,
        candles,
        (1 + net).cumprod(),
        net,
        table,
        cost_sensitivity(candles, targets[measured].fillna(0.0), costs, account),
        random,
    )


def _measure(
    strategy: str, accounts: Simulation, net: pd.DataFrame, target: pd.Series, table: pd.DataFrame, periods: float
) -> dict[str, Any]:
    at = accounts.columns.get_loc(strategy)
    rows = net[strategy].notna().to_numpy()
    times = accounts.index[rows]
    values = return_metrics(
        net.loc[times, strategy].to_numpy(),
        times,
        periods,
        benchmark=net.loc[times, BUY_AND_HOLD].to_numpy(),
        position=accounts.position[rows, at],
        turnover=accounts.turnover[rows, at],
    )
    done = trade_metrics(table[table["strategy"] == strategy])
    closed = accounts.closed_equity[at] / accounts.start_equity[at] - 1
    return {
        **values,
        **done,
        "reasons": {**values["reasons"], **done["reasons"]},
        "total_return_closed": float(closed),
        "cost": float(accounts.cost[:, at].sum() / accounts.start_equity[at]),
        "bars_without_decision": int(target[times].isna().sum()),
    }


def _add(values: dict[str, Any], **numbers: Number) -> None:
    for name, (value, reason) in numbers.items():
        values[name] = value
        if reason is not None:
            values["reasons"][name] = reason


def _intervals(
    metrics: dict[str, dict[str, Any]], net: pd.DataFrame, periods: float, choices: int
) -> dict[str, tuple[float, float]]:
    """Bounds of each Sharpe ratio, and its lead over Buy & Hold on the same bars, resampled together.

    Strategies that started on the same bar share the resamples with all that had started before. Returns the bounds of
    the leads that hold for a family of `choices` strategies.
    """
    family = {}
    starts = net.notna().idxmax()
    for start in sorted(set(starts)):
        together = net.loc[start:, starts <= start]
        bootstrap = sharpe_bootstrap(together, periods, SEED)
        passive = sharpe(together[BUY_AND_HOLD].to_numpy(), periods)[0]
        for strategy in starts.index[starts == start]:
            values = metrics[strategy]
            undefined = values["reasons"].get("sharpe", "too_few_bars")
            _add_bounds(values, "sharpe", bootstrap.interval(strategy), undefined)
            comparable = values["sharpe"] is not None and passive is not None and strategy != BUY_AND_HOLD
            lead = values["sharpe"] - passive if comparable else None
            _add(values, sharpe_lead=(lead, None if comparable else "nothing_to_compare"))
            bounds = bootstrap.difference(strategy, BUY_AND_HOLD) if comparable else None
            _add_bounds(values, "sharpe_lead", bounds, "too_few_bars" if comparable else "nothing_to_compare")
            if bounds and (wide := bootstrap.difference(strategy, BUY_AND_HOLD, max(choices, 1))):
                family[strategy] = wide
    return family


def _add_bounds(values: dict[str, Any], name: str, bounds: tuple[float, float] | None, undefined: Reason) -> None:
    low, high = bounds or (None, None)
    reason = None if bounds else undefined
    _add(values, **{f"{name}_low": (low, reason), f"{name}_high": (high, reason)})


def _random_sharpes(market: Market, target: pd.Series, periods: float) -> np.ndarray:
    """Sharpe ratios of random traders with the recipe's positions; empty if it never trades or they have none."""
    own = target.loc[target.first_valid_index() :].fillna(0.0)
    if not own.any():
        return np.empty(0)
    traders = random_timing(own, RANDOM_TRADERS, SEED)
    net = simulate(market.candles.loc[own.index], traders, market.costs, market.account).net_return
    values = [sharpe(column, periods)[0] for column in net.T]
    return np.array([value for value in values if value is not None])


def _against_random(own: float | None, random: np.ndarray) -> dict[str, Number]:
    """Share of the random traders with a Sharpe ratio below the recipe's, and their 5, 50 and 95 % quantiles."""
    names = ("random_sharpe_low", "random_sharpe_median", "random_sharpe_high")
    if own is None or not len(random):
        return dict.fromkeys(("random_traders_beaten", *names), (None, "no_trades"))
    levels = (float(level) for level in np.percentile(random, [5, 50, 95]))
    return {
        "random_traders_beaten": (float((random < own).mean()), None),
        **{name: (level, None) for name, level in zip(names, levels, strict=True)},
    }


def _verdict(
    metrics: dict[str, dict[str, Any]], recipes: Sequence[str], family: dict[str, tuple[float, float]]
) -> dict[str, Any]:
    """Who leads, the best recipe or Buy & Hold, by how much, and whether the lead is distinguishable from chance."""
    measured = [r for r in recipes if r in family]
    if not measured:
        text = "no recipe has a Sharpe ratio, on enough bars, to compare with Buy & Hold's"
        nothing = dict.fromkeys(("winner", "margin", "margin_low", "margin_high"))
        return {"text": text, "distinguishable": False, **nothing}
    best = max(measured, key=lambda r: metrics[r]["sharpe"])
    lead, (low, high) = metrics[best]["sharpe_lead"], family[best]
    leader, other = best, BUY_AND_HOLD
    if lead < 0:
        leader, other, lead, low, high = other, leader, -lead, -high, -low
    distinguishable = low > 0
    text = f"{leader} leads {other} by {lead:.2f} in Sharpe ratio [{low:.2f}, {high:.2f}], n={metrics[best]['bars']}"
    return {
        "text": text if distinguishable else f"{text}: not distinguishable",
        "winner": leader if distinguishable else None,
        "distinguishable": distinguishable,
        "margin": lead,
        "margin_low": low,
        "margin_high": high,
    }
