"""The tear sheet: one HTML page that shows an evaluation and needs nothing but a browser.

Not here: the charts (tearsheet_charts.py), the numbers (evaluation.py), where the page is kept (assets/backtest.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from quantum_training.trading.evaluation import Evaluation
from quantum_training.trading.tearsheet_charts import charts
from quantum_training.trading.tearsheet_figure import Chart

PERCENT = {
    "total_return",
    "total_return_closed",
    "cagr",
    "volatility",
    "max_drawdown",
    "average_drawdown",
    "exposure",
    "alpha",
    "excess_return",
    "win_rate",
    "expectancy",
    "cost",
    "random_traders_beaten",
}
BOUNDED = {"sharpe": "Sharpe [95 %]", "sharpe_lead": "lead over Buy & Hold [95 %]"}
FIRST = {
    "bars": "bars",
    "total_return": "total return",
    "cagr": "per year",
    "max_drawdown": "max drawdown",
    "turnover": "turnover a year",
    "trades": "trades",
    "win_rate": "win rate",
    "break_even_fee_bps": "dies above (bp)",
}
# The browser itself refuses every request that the page could make.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"

STYLE = """
:root{color:#232a35;background:#f4f6f9;font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
*{box-sizing:border-box}
body{margin:0}
main{max-width:1180px;margin:0 auto;padding:28px 20px 48px}
h1{font-size:1.6rem;line-height:1.25;margin:0}
h2{font-size:1.12rem;margin:0 0 2px}
p{margin:0 0 12px}
header p,.note{color:#566172}
.note{font-size:.87rem;max-width:88ch}
section,#verdict{background:#fff;border:1px solid #e2e6ec;border-radius:10px;padding:18px 20px;margin-top:16px}
#verdict{border-left:5px solid #6b7686;font-size:1.05rem}
#verdict.told{border-left-color:#0b7a5c}
#verdict b{display:block}
#verdict p{margin:0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.87rem;font-variant-numeric:tabular-nums}
th,td{padding:6px 8px;text-align:right;white-space:nowrap;border-bottom:1px solid #e9ecf1}
thead th{color:#566172;font-weight:600;vertical-align:bottom;white-space:normal;line-height:1.25}
th:first-child{text-align:left;position:sticky;left:0;background:#fff}
tbody th{font-weight:600}
.role,.why{color:#6b7686;font-weight:400;font-size:.85em}
.badge{background:#0b7a5c;color:#fff;border-radius:4px;padding:1px 6px;font-size:.75rem;font-weight:600}
.tools:empty{display:none}
.tools{display:flex;gap:18px;flex-wrap:wrap;margin-bottom:6px;font-size:.9rem}
select{font:inherit;padding:2px 6px;border:1px solid #b9c1cc;border-radius:6px;background:#fff;color:inherit}
summary{cursor:pointer;font-weight:600;font-size:1.12rem}
@media(max-width:640px){main{padding:16px 8px 32px}section,#verdict{padding:14px 12px;border-radius:8px}}
"""

SCRIPT = """
"use strict";
const options = {responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d"]};
for (const {id, times, data, layout} of JSON.parse(document.getElementById("data").textContent)) {
  const chart = document.getElementById(id), tools = chart.closest("section");
  const select = tools.querySelector("select"), log = tools.querySelector("input");
  const shown = () => data.map(trace => !trace.meta || trace.meta === select.value);
  for (const trace of data) trace.x ??= times;
  if (select) shown().forEach((visible, i) => data[i].visible = visible);
  Plotly.newPlot(chart, data, layout, options);
  select?.addEventListener("change", () => Plotly.restyle(chart, {visible: shown()}));
  log?.addEventListener("change", () => Plotly.relayout(chart, {"yaxis.type": log.checked ? "log" : "linear"}));
}
"""


def tearsheet(title: str, evaluation: Evaluation) -> str:
    """One self-contained HTML page: verdict, metrics, curves, trades, months, costs, random traders.

    title: plain text, the symbol and the window. The page holds plotly.js (4.6 MB) and needs no network.
    Equal arguments give equal bytes. Long records are thinned for drawing, never for computing.
    """
    from plotly.offline import get_plotlyjs

    recipes = [str(r) for r in evaluation.cost_sensitivity.columns]
    ranked = sorted(evaluation.metrics, key=lambda s: (s not in recipes, -_or_least(evaluation.metrics[s]["sharpe"])))
    all_charts = charts(evaluation, ranked, recipes)
    figures = [
        {"id": f"{c.id}-chart", "times": c.times, "data": c.data, "layout": c.layout} for c in all_charts if c.data
    ]
    data = json.dumps(figures, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    body = "".join(
        [
            _header(title, evaluation),
            _verdict(evaluation),
            _metrics(evaluation, ranked, recipes),
            *map(_section, all_charts),
        ]
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><link rel="icon" href="data:,">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style></head>'
        f"<body><main>{body}{_all_metrics(evaluation, ranked)}</main>"
        f'<script type="application/json" id="data">{data}</script>'
        f"<script>{get_plotlyjs()}</script><script>{SCRIPT}</script></body></html>\n"
    )


def _or_least(value: float | None) -> float:
    return -np.inf if value is None else value


def _header(title: str, evaluation: Evaluation) -> str:
    times = evaluation.equity.index
    window = f"{times[0]:%Y-%m-%d %H:%M} to {times[-1]:%Y-%m-%d %H:%M} UTC (bar opens)"
    record = f"{window}, {len(times):,} bars, {evaluation.periods:,.6g} a year"
    return f"<header><h1>{escape(title)}</h1><p>{record}</p></header>"


def _verdict(evaluation: Evaluation) -> str:
    verdict, (overfitting, reason) = evaluation.verdict, evaluation.overfitting
    undecided = "No comparison" if verdict["margin"] is None else "Not distinguishable"
    head = f"{verdict['winner']} wins" if verdict["winner"] else undecided
    fit = f"{overfitting:.2f}" if overfitting is not None else f"undefined, {_words(reason)}"
    return (
        f'<div id="verdict"{" class=told" if verdict["winner"] else ""}><b>{escape(head)}</b>'
        f"<p>{escape(verdict['text'])}</p>"
        f'<p class="note">Probability of backtest overfitting: {escape(fit)}</p></div>'
    )


def _metrics(evaluation: Evaluation, ranked: Sequence[str], recipes: Sequence[str]) -> str:
    """One row per strategy, the numbers that are compared first."""
    rows = []
    for strategy in ranked:
        values = evaluation.metrics[strategy]
        role = "recipe" if strategy in recipes else "baseline"
        badge = ' <span class="badge">wins</span>' if strategy == evaluation.verdict["winner"] else ""
        name = f'<th scope="row">{escape(strategy)} <span class="role">{role}</span>{badge}</th>'
        cells = [_bounded(values, key) for key in BOUNDED] + [_cell(values, key) for key in FIRST]
        rows.append(f"<tr>{name}{''.join(cells)}</tr>")
    note = "Net of costs. Ratios are annualised, 95 % intervals in brackets; open positions are marked at the last "
    note += "close. Recipes first, then baselines, by Sharpe ratio."
    table = _table(["strategy", *BOUNDED.values(), *FIRST.values()], rows, "Metrics")
    return f'<section id="metrics"><h2>Metrics</h2><p class="note">{note}</p>{table}</section>'


def _all_metrics(evaluation: Evaluation, ranked: Sequence[str]) -> str:
    """One row per metric, with every metric."""
    keys = dict.fromkeys(key for s in ranked for key in evaluation.metrics[s] if key != "reasons")
    rows = [
        f'<tr><th scope="row">{escape(_words(key))}</th>'
        + "".join(_cell(evaluation.metrics[strategy], key) for strategy in ranked)
        + "</tr>"
        for key in keys
    ]
    table = _table(["metric", *ranked], rows, "All numbers")
    return f'<section id="all"><details><summary>All numbers</summary>{table}</details></section>'


def _table(head: Sequence[str], rows: list[str], label: str) -> str:
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    table = f"<table><thead><tr>{columns}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{label}">{table}</div>'


def _cell(values: dict[str, Any], key: str) -> str:
    if values.get(key) is None:
        return f'<td class="why">{escape(_words(values["reasons"].get(key)))}</td>'
    return f"<td>{_number(key, values[key])}</td>"


def _bounded(values: dict[str, Any], key: str) -> str:
    low, high = values.get(f"{key}_low"), values.get(f"{key}_high")
    if values.get(key) is None or low is None or high is None:
        return _cell(values, key)
    return f"<td>{_number(key, values[key])} [{_number(key, low)}, {_number(key, high)}]</td>"


def _number(key: str, value: float) -> str:
    """A number as people read it, with all its digits for a machine."""
    if key in PERCENT:
        digits = f"{value * 100:,.2f} %"
    elif isinstance(value, int):
        digits = f"{value:,}"
    else:
        digits = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}" if abs(value) >= 0.01 else f"{value:.2g}"
    return f'<data value="{value}">{digits}</data>'


def _words(code: str | None) -> str:
    return (code or "not measured").replace("_", " ")


def _section(chart: Chart) -> str:
    options = "".join(f"<option>{escape(choice)}</option>" for choice in chart.choices)
    tools = f'<label>{chart.choose} <select autocomplete="off">{options}</select></label>' if options else ""
    if chart.logarithmic:
        tools += '<label><input type="checkbox" autocomplete="off"> log scale</label>'
    label = escape(chart.heading)
    drawing = f'<div id="{chart.id}-chart" role="img" aria-label="{label}"></div>' if chart.data else ""
    return (
        f'<section id="{chart.id}"><h2>{label}</h2><p class="note">{escape(chart.note)}</p>'
        f'<div class="tools">{tools}</div>{drawing}</section>'
    )
