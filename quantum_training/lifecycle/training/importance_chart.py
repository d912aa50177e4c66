"""The weight of each feature in a model as a picture that MLflow shows. SVG, because it needs no library to draw."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape

FILE = "feature_importance.svg"
SHOWN = 25
"""Features that are drawn, the most important first."""
_ROW, _LABEL, _BAR, _NUMBER = 22, 190, 420, 70


def importance_chart(importance: Mapping[str, float], title: str) -> str:
    """A bar for each of the most important features. importance: weights by feature, as a fitted model has them."""
    largest = sorted(importance.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
    scale = max((weight for _, weight in largest), default=0.0) or 1.0
    width, height = _LABEL + _BAR + _NUMBER, 40 + _ROW * len(largest)
    rows = []
    for number, (feature, weight) in enumerate(largest):
        y = 36 + _ROW * number
        length = max(weight, 0.0) / scale * _BAR
        rows.append(
            f'<text x="{_LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(feature)}</text>'
            f'<rect x="{_LABEL}" y="{y}" width="{length:.1f}" height="{_ROW - 6}" fill="#2272b4"/>'
            f'<text x="{_LABEL + length + 6:.1f}" y="{y + 12}">{weight:.1%}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="12" fill="#232a35"><rect width="{width}" height="{height}" fill="#fff"/>'
        f'<text x="8" y="20" font-size="14" font-weight="bold">{escape(title)}</text>{"".join(rows)}</svg>\n'
    )
