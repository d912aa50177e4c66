"""Heat maps of drift by column and week: a small one in Markdown, a complete one in an HTML page with the findings.

What the numbers mean: calibration.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd

from quantum_training.monitoring.calibration import RECENT_WEEKS, ColumnMeasurement
from quantum_training.monitoring.drift import DriftReport

SHADES = ((0.0001, "█"), (0.001, "▓"), (0.01, "▒"), (0.05, "░"))
"""A limit of p, and the shade of a week with p below it."""

USUAL, UNKNOWN = "·", " "
LEGEND = "Weeks by their first day. " + ", ".join(f"{shade} p < {limit:g}" for limit, shade in reversed(SHADES))

STYLE = """
:root{color:#232a35;background:#f4f6f9;font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 20px}
section{background:#fff;border:1px solid #e2e6ec;border-radius:10px;padding:12px 20px;margin-top:16px;overflow-x:auto}
"""


def weekly_p(
    measurements: Sequence[ColumnMeasurement], reference_end: pd.Timestamp, end: pd.Timestamp, week: pd.Timedelta
) -> pd.DataFrame:
    """How probable the PSI of each week is without drift: index week start, oldest first; a column per tested column.

    Weeks of the reference are measured against its other weeks, the newest RECENT_WEEKS against all of it.
    """
    columns: dict[str, list[pd.Series]] = {}
    for m in measurements:
        for weeks, last in ((m.reference_p, reference_end), (m.p, end)):
            if weeks is not None:
                starts = [last - (n + 1) * week for n in range(len(weeks))]
                columns.setdefault(m.name, []).append(pd.Series(weeks, starts).dropna())
    return pd.DataFrame({name: pd.concat(parts) for name, parts in columns.items()}).sort_index()


def markdown_heatmap(p: pd.DataFrame, names: Sequence[str]) -> str:
    """The newest RECENT_WEEKS of `weekly_p` in shades, a row for each of `names` that is in it."""
    table = p.tail(RECENT_WEEKS)[[name for name in names if name in p]].T
    table.columns = [f"{week:%m-%d}" for week in table.columns]
    return f"{table.map(_shade).to_markdown()}\n\n{LEGEND}" if table.size else "no week was measured"


def _shade(p: float) -> str:
    if np.isnan(p):
        return UNKNOWN
    return next((shade for limit, shade in SHADES if p < limit), USUAL)


def html_page(title: str, report: DriftReport, p: pd.DataFrame, reference_end: pd.Timestamp) -> str:
    """A self-contained HTML page, 4.7 MB of it plotly.js: severity, recommendation and the heat map of all weeks.

    Equal arguments give equal bytes.
    """
    import plotly.graph_objects as go

    names = [row.column for row in report.rows if row.column in p]
    with np.errstate(divide="ignore"):
        z = -np.log10(np.maximum(p[names].T.to_numpy(), 1e-6))
    figure = go.Figure(
        go.Heatmap(
            z=z,
            x=p.index,
            y=names,
            zmin=0,
            zmax=6,
            colorscale="YlOrRd",
            colorbar={"title": "-log10 p"},
            hoverongaps=False,
        )
    )
    figure.add_vline(x=reference_end.isoformat(), line_dash="dot")
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(
        template="plotly_white", height=160 + 22 * len(names), margin={"l": 150, "t": 30, "r": 20, "b": 40}
    )
    chart = figure.to_html(full_html=False, include_plotlyjs=True, div_id="heatmap", config={"displaylogo": False})
    findings = "".join(f"<li>{escape(line)}</li>" for line in report.recommendation)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style></head><body><main>'
        f"<h1>{escape(title)}: {report.severity.name}</h1><section><p>{escape(report.reason)}</p><ul>{findings}</ul>"
        "</section><section><p>How unusual each week's PSI is, worst column first. Left of the dotted line the "
        f"reference's own weeks, each against the others.</p>{chart}</section></main></body></html>\n"
    )
