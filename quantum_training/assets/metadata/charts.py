"""Pictures in metadata: line charts and heat maps as SVG images in Markdown.

Dagster 1.13.27 shows Markdown of fewer than 1,000 characters inside a page, and longer Markdown behind a link. So a
line chart is thinned until it fits; a heat map does not fit.
"""

from base64 import b64encode
from collections.abc import Mapping
from html import escape

import numpy as np
import pandas as pd

from quantum_training.trading.tearsheet_figure import thin

WIDTH, HEIGHT, PAD, CELL = 400, 100, 4, 28
"""Pixels of a line chart, of its margin, and of a heat map's row."""
INLINE = 1000
"""Characters of Markdown from which on Dagster hides it behind a link."""
COLOURS = ("blue", "gray", "peru", "teal", "plum")
LEAST_POINTS, MOST_POINTS = 8, 120


def line_chart(lines: Mapping[str, pd.Series], title: str) -> str:
    """Lines over a common x, each by its name, as an image in Markdown; below it the colour and last value of each.

    Drawn are the first lines that have colours, and of each as many points as fit, extremes included.
    """
    drawn = dict(zip(lines, COLOURS, strict=False))
    values = pd.DataFrame({name: lines[name] for name in drawn}).astype("float64")
    legend = ", ".join(
        f"{name} ({colour}) {_last(values[name])}" if len(drawn) > 1 else f"last {_last(values[name])}"
        for name, colour in drawn.items()
    )
    low, high = np.nanmin(values.to_numpy(), initial=np.inf), np.nanmax(values.to_numpy(), initial=-np.inf)
    if not np.isfinite(low):
        return f"{title}: no value is defined"
    x = f", {_label(values.index[0])} to {_label(values.index[-1])}"
    caption = f"{title}{x}: {legend}; lowest {low:.4g}, highest {high:.4g}"
    for points in range(MOST_POINTS, LEAST_POINTS, -2):
        rows = values.iloc[thin(values, points)]
        paths = "".join(
            f"<path d='{_path(rows[name], values.index, low, high)}' stroke='{colour}'/>"
            for name, colour in reversed(drawn.items())
        )
        text = f"![{title}]({_compact(paths)})\n\n{caption}"
        if len(text) < INLINE:
            return text
    return caption


def _last(values: pd.Series) -> str:
    defined = values.dropna()
    return f"{defined.iloc[-1]:.4g}" if len(defined) else "undefined"


def _label(x: object) -> str:
    return f"{x:%Y-%m-%d}" if isinstance(x, pd.Timestamp) else f"{x}"


def _path(line: pd.Series, axis: pd.Index, low: float, high: float) -> str:
    """The path of a line in whole pixels; each point relative to the one before, which takes the fewest characters."""
    line = line.dropna()
    at = axis.get_indexer(line.index) / max(len(axis) - 1, 1)
    xs = (PAD + at * (WIDTH - 2 * PAD)).round().astype(int)
    share = (line.to_numpy() - low) / ((high - low) or 1.0)
    ys = (HEIGHT - PAD - share * (HEIGHT - 2 * PAD)).round().astype(int)
    if not len(xs):
        return "M0,0"
    steps = [f"{dx}{dy if dy < 0 else f',{dy}'}" for dx, dy in zip(np.diff(xs), np.diff(ys), strict=True)]
    return f"M{xs[0]},{ys[0]}l" + ",".join(steps or ["1,0"])


def _compact(shapes: str) -> str:
    """A data URI of a line chart: percent-encoded, which is shorter than base64."""
    size = f"viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' style='background:white'"
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' {size} fill='none' stroke-width='1.5'>{shapes}</svg>"
    for character, code in ((" ", "%20"), ("<", "%3C"), (">", "%3E")):
        svg = svg.replace(character, code)
    return f"data:image/svg+xml,{svg}"


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
