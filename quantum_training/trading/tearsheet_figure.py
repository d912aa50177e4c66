"""What every chart of the tear sheet shares: the chart itself, thinning, rounding, colours, layout.

Not here: what a particular chart shows (tearsheet_charts.py, tearsheet_trades.py) and the page (tearsheet.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

Trace = dict[str, Any]

INK = "#232a35"
WON, LOST, NEUTRAL, SHADE, GRID = "#0b7a5c", "#c2410c", "#5d6878", "#e0e5ec", "#e9ecf1"
RECIPES = ("#1f5fd0", "#d1570b", "#0b8a6a", "#a13d97", "#b58900", "#2aa1c0")
BASELINES, DASHES = ("#3f4855", "#6b7686", "#9aa4b1"), ("solid", "dash", "dot")


@dataclass(frozen=True)
class Chart:
    """One chart: plotly traces and layout, and the words around it. Without traces, `note` says why.

    times: milliseconds since 1970 UTC, the x of every trace that has none. choices: what a reader chooses between,
    labelled `choose`; a trace with one of them as `meta` is drawn while that is chosen. logarithmic: y may be switched
    to a log scale.
    """

    id: str
    heading: str
    note: str
    data: list[Trace] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)
    times: list[int] = field(default_factory=list)
    choices: Sequence[str] = ()
    choose: str = "recipe"
    logarithmic: bool = False


def thin(frame: pd.DataFrame, limit: int) -> np.ndarray:
    """Positions of about `limit` rows that keep the first, the last and each column's extremes; all if they are fewer.

    The rows are cut into equal runs and each run keeps the smallest and the largest value of every column.
    """
    if len(frame) <= limit:
        return np.arange(len(frame))
    values = frame.to_numpy("float64")
    low, high = np.where(np.isnan(values), np.inf, values), np.where(np.isnan(values), -np.inf, values)
    edges = np.linspace(0, len(values), max(limit // (2 * values.shape[1]), 1) + 1).astype(int)
    rows = [np.array([0, len(values) - 1])]
    for first, end in pairwise(edges):
        rows += [first + low[first:end].argmin(axis=0), first + high[first:end].argmax(axis=0)]
    return np.unique(np.concatenate(rows))


def numbers(values: Iterable[float], digits: int = 5) -> list[float | None]:
    """Floats to this many significant digits, as JSON can hold them: None for what is not finite."""
    return [float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in np.asarray(values, "float64").tolist()]


def milliseconds(times: pd.DatetimeIndex) -> list[int]:
    """Milliseconds since 1970 UTC: what plotly's date axes take, shorter than a date in words."""
    return times.as_unit("ms").asi8.tolist()


def line_styles(ranked: Sequence[str], recipes: Sequence[str]) -> dict[str, Trace]:
    """A line trace for each strategy, without data: colours for recipes, dashed when they run out; baselines grey."""
    styles = {}
    for at, strategy in enumerate(s for s in ranked if s in recipes):
        dash = DASHES[at // len(RECIPES) % len(DASHES)]
        styles[strategy] = _line(strategy, {"color": RECIPES[at % len(RECIPES)], "width": 2, "dash": dash})
    for at, strategy in enumerate(s for s in ranked if s not in recipes):
        grey = at % len(BASELINES)
        styles[strategy] = _line(strategy, {"color": BASELINES[grey], "width": 1.6, "dash": DASHES[grey]})
    return {strategy: styles[strategy] for strategy in ranked}


def _line(name: str, line: dict[str, Any]) -> Trace:
    return {"type": "scatter", "mode": "lines", "name": text(name), "line": line}


def text(name: str) -> str:
    """A name as plotly shows it: it reads a little HTML in every text."""
    return escape(name, quote=False)


def layout(y: str, x: str = "time (UTC)", kind: str = "date", height: int = 400) -> dict[str, Any]:
    """The layout of a chart with these axis titles; `kind` is the type of the x axis."""
    axis = {"gridcolor": GRID, "zerolinecolor": "#b9c1cc", "automargin": True, "title": {"standoff": 8}}
    return {
        "height": height,
        "margin": {"l": 56, "r": 16, "t": 12, "b": 48},
        "font": {"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", "size": 13, "color": INK},
        "paper_bgcolor": "#fff",
        "plot_bgcolor": "#fff",
        "hovermode": "x unified",
        "hoverlabel": {"bgcolor": "#fff", "bordercolor": GRID, "namelength": -1},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
        "xaxis": axis | {"type": kind, "title": {"text": x, "standoff": 8}},
        "yaxis": axis | {"title": {"text": y, "standoff": 8}},
    }


def mode(points: int) -> str:
    """A line through one point is invisible."""
    return "lines" if points > 1 else "markers"
