"""The pictures of the dashboard as plotly figures, from stored records. A figure is `{"data": [...], "layout": {...}}`.

The browser draws them (static/dashboard.js). Colours and fonts are those of its theme; None is a gap in a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from quantum_training.lifecycle.records import BacktestRecord, DailyDrift, WeeklyDecay, WeeklyDecision, WeeklyRollout
from quantum_training.trading.baselines import BASELINES, BUY_AND_HOLD
from quantum_training.trading.evaluation import FLAT
from quantum_training.trading.tearsheet_figure import numbers, thin

Figure = dict[str, Any]
MOST_POINTS = 600
"""Points of a line, its extremes included."""
HIDDEN = {FLAT, *BASELINES} - {BUY_AND_HOLD}
"""Strategies that are left out of lines."""
MOST_COLUMNS = 12
"""Features whose PSI is drawn as lines: those that moved most."""


def equity(frame: pd.DataFrame) -> Figure:
    """Equity after costs of the recipes and Buy & Hold over the backtest. frame: bars x strategies, start = 1."""
    shown = frame[[name for name in frame.columns if name not in HIDDEN]]
    thinned = shown.iloc[thin(shown, MOST_POINTS)]
    times = [f"{time:%Y-%m-%d %H:%M}" for time in thinned.index]
    return _figure((_line(name, times, numbers(thinned[name])) for name in shown.columns), "equity, start = 1")


def sharpe_over_weeks(records: Mapping[str, BacktestRecord]) -> Figure:
    """The Sharpe ratio of each recipe and of Buy & Hold over the weeks; the interval of the newest is in the table."""
    weeks = [*records]
    names = _strategies(records.values())
    lines = (_line(name, weeks, [r.metrics.get(name, {}).get("sharpe") for r in records.values()]) for name in names)
    return _figure(lines, "Sharpe ratio a year")


def evidence(decisions: Mapping[str, WeeklyDecision]) -> Figure:
    """z of each challenger against the boundary that promotes it, over the weeks of all campaigns."""
    weeks = [*decisions]
    recipes = sorted({recipe for decision in decisions.values() for recipe in decision.judgements})
    judged = [decision.judgements for decision in decisions.values()]
    lines = [_line(name, weeks, [j[name].z if name in j else None for j in judged]) for name in recipes]
    needed = [
        min((judgement.boundary for judgement in j.values() if judgement.boundary is not None), default=None)
        for j in judged
    ]
    return _figure([*lines, _line("needed", weeks, needed, dash="dot")], "z")


def weekly_returns(returns: pd.DataFrame) -> Figure:
    """Net return of each strategy in each week, in per cent. returns: weeks x strategies, as fractions."""
    values = [numbers(100 * returns[name]) for name in returns.columns]
    return _heat_map([*returns.index], [*returns.columns], values, "%", centred=True)


def psi_over_days(reports: Mapping[str, DailyDrift]) -> Figure:
    """PSI of the columns that moved most, over the days of the drift reports. Without a measured PSI it has no line."""
    table = _psi(reports)
    most = table.max(axis=1).sort_values(ascending=False).index[:MOST_COLUMNS]
    return _figure((_line(name, [*table.columns], numbers(table.loc[name])) for name in most), "PSI")


def drift_heat_map(reports: Mapping[str, DailyDrift]) -> Figure:
    """PSI of every column on every day."""
    table = _psi(reports)
    return _heat_map([*table.columns], [*table.index], [numbers(row) for _, row in table.iterrows()], "PSI")


def decay(records: Mapping[str, WeeklyDecay]) -> Figure:
    """The decay statistic against its limit."""
    weeks = [*records]
    statistic, limit = ([getattr(r, name) for r in records.values()] for name in ("statistic", "limit"))
    return _figure([_line("statistic", weeks, statistic), _line("limit", weeks, limit, dash="dot")], "decay statistic")


def capital(records: Mapping[str, WeeklyRollout]) -> Figure:
    """The champion's share of the capital, in per cent."""
    line = _line("share of the capital", [*records], [100 * record.share for record in records.values()])
    figure = _figure([{**line, "line": {"shape": "hv"}}], "%")
    figure["layout"]["yaxis"]["rangemode"] = "tozero"
    return figure


def _psi(reports: Mapping[str, DailyDrift]) -> pd.DataFrame:
    """Columns x days. Columns and days without a value are left out."""
    by_day = {day: {row.column: row.psi for row in report.rows} for day, report in reports.items()}
    return pd.DataFrame(by_day, dtype="float64").dropna(how="all").dropna(axis=1, how="all")


def _strategies(records: Iterable[BacktestRecord]) -> list[str]:
    return [*{name: None for record in records for name in record.metrics if name not in HIDDEN}]


def _line(name: str, x: Sequence[str], y: Sequence[float | None], dash: str = "solid") -> Figure:
    return {"type": "scatter", "mode": "lines", "name": name, "x": [*x], "y": [*y], "line": {"dash": dash}}


def _figure(lines: Iterable[Figure], unit: str) -> Figure:
    return {"data": [*lines], "layout": {"yaxis": {"title": {"text": unit}}}}


def _heat_map(
    x: Sequence[str], y: Sequence[str], z: Sequence[Sequence[float | None]], unit: str, centred: bool = False
) -> Figure:
    scale = {"colorscale": "RdBu", "reversescale": True, "zmid": 0} if centred else {"colorscale": "Viridis"}
    data = {"type": "heatmap", "x": [*x], "y": [*y], "z": [*z], "colorbar": {"title": {"text": unit}}, **scale}
    return {"data": [data], "layout": {"height": 120 + 24 * len(y), "yaxis": {"automargin": True}}}
