"""The charts of an evaluation. Points are thinned for drawing, never for computing.

Not here: the trades on the price (tearsheet_trades.py), what charts share (tearsheet_figure.py), the page
(tearsheet.py), and numbers without a chart (evaluation.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from quantum_training.trading.evaluation import Evaluation
from quantum_training.trading.metrics import NOISE
from quantum_training.trading.tearsheet_figure import (
    INK,
    Chart,
    Trace,
    layout,
    line_styles,
    milliseconds,
    mode,
    numbers,
    thin,
)
from quantum_training.trading.tearsheet_trades import trades_chart

POINTS, ROLLING_POINTS = 3000, 300
LEAST_WINDOW = 20
BINS = 24
BAND, BARS = "rgba(90,110,150,.16)", "#b4bdc9"
DIVERGING = [[0, "#ec8f5a"], [0.5, "#f7f8fa"], [1, "#6f9ef0"]]
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Year")


def charts(evaluation: Evaluation, ranked: Sequence[str], recipes: Sequence[str]) -> list[Chart]:
    """All charts in the order in which they are read; strategies in the order of `ranked`."""
    lines = line_styles(ranked, recipes)
    own = [s for s in ranked if s in recipes]
    equity = evaluation.equity[list(ranked)]
    fall = (equity / equity.cummax().clip(lower=1) - 1) * 100
    return [
        replace(
            _curves("equity", "Equity", "At each close, after all costs.", "equity (start = 1)", equity, lines),
            logarithmic=True,
        ),
        _curves("drawdown", "Drawdown", "Equity below its highest close so far.", "drawdown (%)", fall, lines),
        _rolling(evaluation, lines),
        trades_chart(evaluation, own),
        _months(evaluation.net_return, ranked),
        _costs(evaluation, {s: lines[s] for s in own}),
        _random(evaluation, {s: lines[s] for s in own}),
    ]


def rolling_sharpe(net: np.ndarray, ends: np.ndarray, window: int, periods: float) -> tuple[np.ndarray, np.ndarray]:
    """Annualised Sharpe ratio of the `window` bars up to each of `ends`, and its standard error; both like `ends`.

    The error is that of Lo (2002) for returns that are not normal (Mertens 2002), per bar
    sqrt((1 - skew * S + (kurtosis - 1) / 4 * S^2) / (window - 1)); it ignores autocorrelation. NaN if a
    window holds a NaN or does not vary. net: net returns per bar. ends: positions of last bars, each >= window - 1.
    """
    windows = np.lib.stride_tricks.sliding_window_view(net, window)[ends - window + 1]
    mean = windows.mean(axis=1)
    around = windows - mean[:, None]
    square = around * around
    variance = square.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        skew = (square * around).mean(axis=1) / variance**1.5
        kurtosis = (square * square).mean(axis=1) / variance**2
        ratio = np.where(variance > NOISE**2, mean / np.sqrt(variance * window / (window - 1)), np.nan)
        error = np.sqrt((1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2) / (window - 1))
    return ratio * np.sqrt(periods), error * np.sqrt(periods)


def monthly_returns(net: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Compounded net return by calendar month (UTC) of the bars' opens, a table for each column of `net`.

    A table's index are the years of all bars, its columns the months 1 to 12, then the year's. NaN if the strategy has
    no bar.
    """
    growth, times = 1 + net, pd.DatetimeIndex(net.index)
    months = growth.groupby([times.year, times.month]).prod(min_count=1)
    years = growth.groupby(times.year).prod(min_count=1)
    columns = range(1, len(MONTHS))
    tables = {s: months[s].unstack().reindex(columns=columns) for s in map(str, net)}  # noqa: PD010 - no column to pivot
    return {s: table.assign(**{MONTHS[-1]: years[s]}) - 1 for s, table in tables.items()}


def _curves(id_: str, heading: str, note: str, unit: str, frame: pd.DataFrame, lines: dict[str, Trace]) -> Chart:
    rows = thin(frame, POINTS)
    part = frame.iloc[rows]
    data = [line | {"y": numbers(part[s]), "mode": mode(len(rows))} for s, line in lines.items()]
    if len(rows) < len(frame):
        note += f" Drawn: {len(rows):,} of {len(frame):,} bars, extremes kept."
    return Chart(id_, heading, note, data, layout(unit), milliseconds(pd.DatetimeIndex(part.index)))


def _rolling(evaluation: Evaluation, lines: dict[str, Trace]) -> Chart:
    bars = len(evaluation.net_return)
    window = max(bars // 4, LEAST_WINDOW)
    chart = "rolling-sharpe", "Rolling Sharpe ratio"
    count = min(ROLLING_POINTS, max(bars - window + 1, 0))
    ends = np.linspace(window - 1, bars - 1, count).astype(int)
    times = milliseconds(pd.DatetimeIndex(evaluation.net_return.index[ends]))
    bands, curves, measured = [], [], []
    for strategy, line in lines.items() if len(ends) else ():
        ratio, error = rolling_sharpe(
            evaluation.net_return[strategy].to_numpy("float64"), ends, window, evaluation.periods
        )
        if np.isnan(ratio).all():
            continue
        measured.append(strategy)
        bands.append(_band(times, ratio, 1.96 * error) | {"meta": strategy, "name": f"{line['name']}, 95 %"})
        curves.append(line | {"y": numbers(ratio, 4), "mode": mode(len(ends))})
    if not measured:
        return Chart(
            *chart, f"No strategy has {window} bars in a row whose returns vary; there are {bars} bars in all."
        )
    note = (
        f"Annualised, over the last {window:,} bars at each point. The band is ±1.96 standard errors (Lo, Mertens), "
        "which know nothing of autocorrelation. Windows overlap: neighbouring points are not independent."
    )
    return Chart(*chart, note, bands + curves, layout("Sharpe ratio, annualised"), times, measured, "band of")


def _band(times: list[int], middle: np.ndarray, half: np.ndarray) -> Trace:
    """A filled outline for each stretch in which `middle` is not NaN."""
    x: list[int | None] = []
    y: list[float | None] = []
    defined = np.flatnonzero(~np.isnan(middle))
    for rows in np.split(defined, np.flatnonzero(np.diff(defined) > 1) + 1):
        x += [times[r] for r in (*rows, *rows[::-1])] + [None]
        y += [*numbers((middle + half)[rows], 4), *numbers((middle - half)[rows[::-1]], 4), None]
    shape = {"type": "scatter", "mode": "lines", "line": {"width": 0}, "fill": "toself", "fillcolor": BAND}
    return shape | {"hoverinfo": "skip", "x": x, "y": y}


def _months(net: pd.DataFrame, ranked: Sequence[str]) -> Chart:
    tables = monthly_returns(net[list(ranked)])
    largest = [float(table.iloc[:, :12].abs().max().max()) * 100 for table in tables.values()]
    widest = max((change for change in largest if change > 0), default=1.0)  # NaN is not
    years = sorted({*pd.DatetimeIndex(net.index).year})
    data = [
        {
            "type": "heatmap",
            "meta": strategy,
            "x": list(MONTHS),
            "y": [str(year) for year in years],
            "z": [numbers(row, 4) for row in (table * 100).to_numpy()],
            "zmin": -widest,
            "zmax": widest,
            "colorscale": DIVERGING,
            "showscale": False,
            "xgap": 2,
            "ygap": 2,
            "texttemplate": "%{z:.1f}",
            "textfont": {"color": INK},
            "hovertemplate": "%{x} %{y}: %{z:.2f} %<extra></extra>",
        }
        for strategy, table in tables.items()
    ]
    figure = layout("year", "month (UTC)", "category", 150 + 34 * len(years)) | {"hovermode": "closest"}
    figure["yaxis"] |= {"type": "category", "autorange": "reversed", "showgrid": False}
    figure["xaxis"] |= {"showgrid": False}
    figure["margin"]["t"] = 32  # plotly's buttons lie there
    note = "Net return in per cent, compounded. The first and the last month may be partial. One scale for all."
    return Chart("months", "Monthly returns", note, data, figure, choices=ranked, choose="strategy")


def _costs(evaluation: Evaluation, lines: dict[str, Trace]) -> Chart:
    chart = "costs", "Cost sensitivity"
    if not lines:
        return Chart(*chart, "No recipe to measure.")
    fees = evaluation.cost_sensitivity.index
    data = [
        line | {"x": numbers(fees), "y": numbers(evaluation.cost_sensitivity[s] * 100), "mode": "lines+markers"}
        for s, line in lines.items()
    ]
    break_evens = []
    for recipe in lines:
        values = evaluation.metrics[recipe]
        fee = values["break_even_fee_bps"]
        reason = values["reasons"].get("break_even_fee_bps", "undefined").replace("_", " ")
        break_evens.append(f"{recipe} {reason}" if fee is None else f"{recipe} loses money above {fee:g} bp")
    note = (
        f"Total return of the same positions under other fees; slippage and commission stay. {'; '.join(break_evens)}."
    )
    return Chart(*chart, note, data, layout("total return (%)", "fee per fill (basis points)", "linear"))


def _random(evaluation: Evaluation, lines: dict[str, Trace]) -> Chart:
    chart = "random", "Against random traders"
    data: list[Trace] = []
    comparisons, measured = [], []
    for recipe, line in lines.items():
        sharpes, values = evaluation.random_sharpes[recipe], evaluation.metrics[recipe]
        if not len(sharpes) or values["sharpe"] is None:
            comparisons.append(f"{recipe} has none to compare with")
            continue
        measured.append(recipe)
        counts, edges = np.histogram(sharpes, BINS)
        bars = {"x": numbers((edges[1:] + edges[:-1]) / 2, 7), "y": counts.tolist(), "width": edges[1] - edges[0]}
        data.append({"type": "bar", "meta": recipe, "marker": {"color": BARS}, "name": "random traders"} | bars)
        own = {"x": numbers([values["sharpe"]] * 2), "y": [0, int(counts.max())], "mode": "lines+markers"}
        data.append(line | {"meta": recipe} | own)
        comparisons.append(f"{recipe} beats {values['random_traders_beaten']:.0%} of {len(sharpes)}")
    if not data:
        return Chart(*chart, f"No recipe has random traders to compare with. {'; '.join(comparisons)}".strip())
    note = f"Sharpe ratios of traders with the recipe's positions at random times: {'; '.join(comparisons)}."
    figure = layout("random traders", "Sharpe ratio, annualised", "linear") | {"hovermode": "closest"}
    return Chart(*chart, note, data, figure, choices=measured)
