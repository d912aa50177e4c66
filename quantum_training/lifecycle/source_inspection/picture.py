"""Closing prices as a picture of characters."""

from __future__ import annotations

import numpy as np
import pandas as pd

WIDTH, HEIGHT = 72, 9
_DOT = "*"


def picture(closes: pd.Series) -> list[str]:
    """Lines of a chart of closing prices, in their order; none without prices above zero. The scale is logarithmic."""
    prices = closes[np.isfinite(closes) & (closes > 0)]
    if prices.empty:
        return []
    parts = np.array_split(np.log(prices.to_numpy()), min(WIDTH, len(prices)))
    low, high = min(part.min() for part in parts), max(part.max() for part in parts)
    rows = [[" "] * len(parts) for _ in range(HEIGHT)]
    for column, part in enumerate(parts):
        bottom, top = (_row(value, low, high) for value in (part.max(), part.min()))
        for row in range(bottom, top + 1):
            rows[row][column] = _DOT
    labels = [f"{np.exp(high - (high - low) * row / (HEIGHT - 1)):>12,.5g} |" for row in range(HEIGHT)]
    lines = [label + "".join(row).rstrip() for label, row in zip(labels, rows, strict=True)]
    first, last = (f"{time:%Y-%m-%d}" for time in (prices.index[0], prices.index[-1]))
    return [*lines, " " * 14 + first + last.rjust(max(len(parts), 2 * len(last) + 1) - len(first) + 1)]


def _row(value: float, low: float, high: float) -> int:
    return round((high - value) / (high - low) * (HEIGHT - 1)) if high > low else HEIGHT // 2
