"""The pictures of the dashboard as plotly figures, from stored records. A figure is `{"data": [...], "layout": {...}}`.

The browser draws them (static/dashboard.js). Colours and fonts are those of its theme; None is a gap in a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import cycle
from typing import Any

import pandas as pd

from quantum_training.lifecycle.records import BacktestRecord, DailyDrift, WeeklyDecay, WeeklyDecision, WeeklyRollout
from quantum_training.service.reading.events import Training
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
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")
"""Those of plotly, for traces that belong together."""
LOSS_TO_GAIN = ((0, "#b2182b"), (0.5, "#f7f7f7"), (1, "#2166ac"))
"""Red, white, blue: told apart by colour-blind people, too."""


def equity(frame: pd.DataFrame) -> Figure:
    """Equity after costs of the recipes and Buy & Hold over the backtest. frame: bars x strategies, start = 1."""
    shown = frame[[name for name in frame.columns if name not in HIDDEN]]
    thinned = shown.iloc[thin(shown, MOST_POINTS)]
    times = [f"{time:%Y-%m-%d %H:%M}" for time in thinned.index]
    return _figure((_line(name, times, numbers(thinned[name])) for name in shown.columns), "equity, start = 1")


def sharpe_over_weeks(records: Mapping[str, BacktestRecord]) -> Figure:
    """The Sharpe ratio of each recipe and of Buy & Hold over the weeks, that of the newest with its 95 % interval."""
    weeks = [*records]
    data = []
    for name, colour in zip(_strategies(records.values()), cycle(COLOURS)):
        metrics = [record.metrics.get(name, {}) for record in records.values()]
        line = _line(name, weeks, [of_week.get("sharpe") for of_week in metrics])
        data += [{**line, "line": {"color": colour}}, *_interval(name, weeks[-1], metrics[-1], colour)]
    return _figure(data, "Sharpe ratio a year")


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


def margins(decisions: Mapping[str, WeeklyDecision]) -> Figure:
    """The Sharpe ratio of each challenger less the needed one, over the weeks of all campaigns: a rule without z."""
    recipes = sorted({recipe for decision in decisions.values() for recipe in decision.judgements})
    judged = [decision.judgements for decision in decisions.values()]
    lines = (_line(name, [*decisions], [j[name].margin if name in j else None for j in judged]) for name in recipes)
    return _figure(lines, "Sharpe ratio less the needed one")


def weekly_returns(returns: pd.DataFrame) -> Figure:
    """Net return of each strategy in each week, in per cent. returns: weeks x strategies, as fractions."""
    values = [numbers(100 * returns[name]) for name in returns.columns]
    return _heat_map([*returns.index], [*returns.columns], values, "%", centred=True)


def daily_returns(days: pd.DataFrame) -> Figure:
    """Net return of each day in per cent. days: days x (net_return, as a fraction; fills)."""
    fills = [f"{count} fills" for count in days["fills"]]
    dates = [f"{day:%Y-%m-%d}" for day in days.index]
    bars = {"type": "bar", "x": dates, "y": numbers(100 * days["net_return"]), "hovertext": fills}
    return _figure([bars], "%")


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


def training_durations(trainings: Sequence[Training]) -> Figure:
    """How many trainings took how long, in seconds."""
    return _histogram(
        "seconds", {"trainings": [t.duration_seconds for t in trainings if t.duration_seconds is not None]}
    )


def final_rewards(trainings: Sequence[Training]) -> Figure:
    """How many trainings of each agent ended with which mean reward of an episode."""
    rewards: dict[str, list[float]] = {}
    for training in trainings:
        if (reward := training.metrics.get("final_reward")) is not None:
            rewards.setdefault(training.recipe, []).append(reward)
    return _histogram("final reward", rewards)


def durations_over_time(trainings: Sequence[Training]) -> Figure:
    """The duration of each training, in seconds, by recipe."""
    points: dict[str, list[tuple[str, float]]] = {}
    for training in trainings:
        if training.completed_at and training.duration_seconds is not None:
            point = f"{training.completed_at:%Y-%m-%d %H:%M:%S}", training.duration_seconds
            points.setdefault(training.recipe, []).append(point)
    lines = [
        _line(recipe, [time for time, _ in sorted(of_recipe)], [seconds for _, seconds in sorted(of_recipe)])
        for recipe, of_recipe in sorted(points.items())
    ]
    return _figure(({**line, "mode": "markers"} for line in lines), "seconds")


def success_rates(trainings: Sequence[Training]) -> Figure:
    """The share of the trainings of each week that succeeded, in per cent. A week is named by its Monday."""
    ended: dict[str, list[bool]] = {}
    for training in trainings:
        if training.completed_at:
            week = f"{training.completed_at - timedelta(days=training.completed_at.weekday()):%Y-%m-%d}"
            ended.setdefault(week, []).append(training.status == "succeeded")
    weeks = sorted(ended)
    rates = [100 * sum(ended[week]) / len(ended[week]) for week in weeks]
    bars = {"type": "bar", "x": weeks, "y": rates, "text": [f"of {len(ended[week])}" for week in weeks]}
    bars |= {"textposition": "inside", "insidetextanchor": "middle"}
    figure = _figure([bars], "%")
    figure["layout"]["yaxis"]["range"] = [0, 100]
    figure["layout"]["xaxis"] = {"type": "category"}
    return figure


def _psi(reports: Mapping[str, DailyDrift]) -> pd.DataFrame:
    """Columns x days. Columns and days without a value are left out."""
    by_day = {day: {row.column: row.psi for row in report.rows} for day, report in reports.items()}
    return pd.DataFrame(by_day, dtype="float64").dropna(how="all").dropna(axis=1, how="all")


def _strategies(records: Iterable[BacktestRecord]) -> list[str]:
    return [*{name: None for record in records for name in record.metrics if name not in HIDDEN}]


def _line(name: str, x: Sequence[str], y: Sequence[float | None], dash: str = "solid") -> Figure:
    return {"type": "scatter", "mode": "lines", "name": name, "x": [*x], "y": [*y], "line": {"dash": dash}}


def _interval(name: str, week: str, metrics: Mapping[str, Any], colour: str) -> list[Figure]:
    """The 95 % interval of a Sharpe ratio as an error bar; nothing if one of its numbers is undefined."""
    value, low, high = (metrics.get(key) for key in ("sharpe", "sharpe_low", "sharpe_high"))
    if value is None or low is None or high is None:
        return []
    error = {"type": "data", "symmetric": False, "array": [high - value], "arrayminus": [value - low]}
    point = {"type": "scatter", "mode": "markers", "name": f"{name}, 95 %", "x": [week], "y": [value]}
    return [{**point, "error_y": error, "marker": {"color": colour}, "opacity": 0.7, "showlegend": False}]


def _histogram(unit: str, values: Mapping[str, Sequence[float]]) -> Figure:
    """How often values of each name lie in which bin; the browser makes the bins."""
    data = [{"type": "histogram", "name": name, "x": [*of_name]} for name, of_name in values.items()]
    axes = {"xaxis": {"title": {"text": unit}}, "yaxis": {"title": {"text": "trainings"}}}
    return {"data": data, "layout": {**axes, "barmode": "stack"}}


def _figure(lines: Iterable[Figure], unit: str) -> Figure:
    return {"data": [*lines], "layout": {"yaxis": {"title": {"text": unit}}}}


def _heat_map(
    x: Sequence[str], y: Sequence[str], z: Sequence[Sequence[float | None]], unit: str, centred: bool = False
) -> Figure:
    scale = {"colorscale": LOSS_TO_GAIN, "zmid": 0} if centred else {"colorscale": "Viridis"}
    data = {"type": "heatmap", "x": [*x], "y": [*y], "z": [*z], "colorbar": {"title": {"text": unit}}, **scale}
    return {"data": [data], "layout": {"height": 120 + 24 * len(y), "xaxis": {"type": "category"}}}
