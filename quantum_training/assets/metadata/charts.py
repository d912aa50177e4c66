"""Pictures in metadata: line charts and heat maps as SVG images in Markdown."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape

import pandas as pd

WIDTH, HEIGHT, PAD, CELL = 560, 160, 6, 28
"""Pixels of a line chart, of its margin, and of a heat map's row."""


def line_chart(points: Sequence[tuple[float, float]], title: str) -> str:
    """A line through the points as an image in Markdown, with the first, last, lowest and highest value beside it."""
    xs, ys = zip(*points, strict=True)
    low, high = min(ys), max(ys)
    x_scale, y_scale = (WIDTH - 2 * PAD) / ((xs[-1] - xs[0]) or 1), (HEIGHT - 2 * PAD) / ((high - low) or 1)
    line = " ".join(f"{PAD + (x - xs[0]) * x_scale:.1f},{HEIGHT - PAD - (y - low) * y_scale:.1f}" for x, y in points)
    svg = f'<polyline fill="none" stroke="#2456c6" stroke-width="1.5" points="{line}"/>'
    values = f"first {ys[0]:.4g}, last {ys[-1]:.4g}, lowest {low:.4g}, highest {high:.4g}"
    return f"{_image(svg, WIDTH, HEIGHT, title)}\n\n{title}: {values}"


def heat_map(table: pd.DataFrame, title: str) -> str:
    """A table of numbers in [-1, 1] as an image in Markdown: red above 0, blue below, grey if undefined."""
    rows, columns = ([str(name) for name in names] for names in (table.index, table.columns))
    left, cell_width = 12 + 8 * max(map(len, rows)), 16 + 8 * max(6, *map(len, columns))

    def text(x: float, row: int, content: str) -> str:
        return f'<text x="{x}" y="{(row + 0.65) * CELL:.0f}">{escape(content)}</text>'

    shapes = [text(left + n * cell_width + 8, 0, name) for n, name in enumerate(columns)]
    for number, name in enumerate(rows, 1):
        shapes.append(text(4, number, name))
        for column, value in enumerate(table.iloc[number - 1]):
            place = f'x="{left + column * cell_width}" y="{number * CELL}" width="{cell_width}" height="{CELL}"'
            shapes.append(f'<rect {place} fill="{_shade(value)}"/>')
            shapes.append(text(left + column * cell_width + 8, number, "-" if pd.isna(value) else f"{value:.2f}"))
    size = (left + cell_width * len(columns), CELL * (len(rows) + 1))
    return _image(f'<g font-family="sans-serif" font-size="12">{"".join(shapes)}</g>', *size, title)


def _shade(value: float) -> str:
    if pd.isna(value):
        return "rgb(224,224,224)"
    faded = round(255 - 155 * min(abs(value), 1.0))
    return f"rgb(255,{faded},{faded})" if value > 0 else f"rgb({faded},{faded},255)"


def _image(shapes: str, width: int, height: int, title: str) -> str:
    background = '<rect width="100%" height="100%" fill="#f4f6f9"/>'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{background}{shapes}</svg>'
    return f"![{title}](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})"
