"""What a training shows to people: its log lines, and the pictures and tables of a version's metadata."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.metadata.tables import markdown
from quantum_training.lifecycle.training.refresh_gate import NUMBERS, outcome_of
from quantum_training.models.agent import ACTION
from quantum_training.models.contract import Model, Progress
from quantum_training.selection.refresh import Refresh

WIDTH, HEIGHT, PAD, CELL = 560, 160, 6, 28
DRAWN = {"mean_reward": "mean reward per episode", "valid_loss": "validation loss"}
"""Numbers of a curve that are drawn, and their titles."""


def progress_to(context: dg.AssetExecutionContext) -> Progress:
    """Log lines that begin with the run's id, as Dagster shows it."""
    prefix = f"[{context.run.run_id[:8]}]"

    def progress(message: str) -> None:
        context.log.info(f"{prefix}{message}" if message.startswith("[") else f"{prefix} {message}")

    return progress


def drawn(model: Model, scores: Mapping[int, float | None], seconds: float | None) -> dict[str, Any]:
    """What the fit reports, in numbers and words, and its heat maps; the curve of the rewards or losses as a picture,
    its last point and the steps per second; for agents the actions as a histogram; the seeds with their scores.

    seconds: of the whole fit; None where it is not known, as for a training that was gone on with. A version that was
    found again has no curve.
    """
    shown: dict[str, Any] = {name: value for name, value in model.report.items() if not name.startswith(ACTION)}
    if shares := {name.removeprefix(ACTION): v for name, v in model.report.items() if name.startswith(ACTION)}:
        bars = {name: "█" * round(share * 40) for name, share in shares.items()}
        shown["actions"] = markdown(pd.DataFrame({"share": shares, "": bars}, dtype=object))
    if model.curves:
        last = model.curves[-1]
        shown |= {f"last_{name}": float(value) for name, value in last.items() if name != "step"}
        if seconds:
            shown["steps_per_second"] = float(len(scores) * last["step"] / seconds)
        for name, title in DRAWN.items():
            points = [(point["step"], point[name]) for point in model.curves if name in point]
            if len(points) > 1:
                shown[f"{name}_curve"] = dg.MetadataValue.md(picture(points, f"{title} over steps"))
    shown |= model.notes
    shown |= {name: dg.MetadataValue.md(heat_map(table, name)) for name, table in model.heat_maps.items()}
    if len(scores) > 1:
        table = pd.DataFrame({"score": list(scores.values())}, [str(seed) for seed in scores], dtype=object)
        table["registered"] = ["yes" if score == model.score else "" for score in scores.values()]
        shown["seeds"] = markdown(table.map(lambda v: f"{v:.3e}" if isinstance(v, float) else v))
    return shown


def picture(points: Sequence[tuple[float, float]], title: str) -> str:
    """A line through the points as an image in Markdown, with the first, last, lowest and highest value beside it."""
    xs, ys = zip(*points, strict=True)
    low, high = min(ys), max(ys)
    across, up = (WIDTH - 2 * PAD) / ((xs[-1] - xs[0]) or 1), (HEIGHT - 2 * PAD) / ((high - low) or 1)
    line = " ".join(f"{PAD + (x - xs[0]) * across:.1f},{HEIGHT - PAD - (y - low) * up:.1f}" for x, y in points)
    svg = f'<polyline fill="none" stroke="#2456c6" stroke-width="1.5" points="{line}"/>'
    values = f"first {ys[0]:.4g}, last {ys[-1]:.4g}, lowest {low:.4g}, highest {high:.4g}"
    return f"{_image(svg, WIDTH, HEIGHT, title)}\n\n{title}: {values}"


def heat_map(table: pd.DataFrame, title: str) -> str:
    """A table of numbers in [-1, 1] as an image in Markdown: red above 0, blue below, grey where undefined."""
    rows, columns = ([str(name) for name in names] for names in (table.index, table.columns))
    left, wide = 12 + 8 * max(map(len, rows)), 16 + 8 * max(6, *map(len, columns))

    def text(x: float, row: int, said: str) -> str:
        return f'<text x="{x}" y="{(row + 0.65) * CELL:.0f}">{escape(said)}</text>'

    drawn = [text(left + n * wide + 8, 0, name) for n, name in enumerate(columns)]
    for number, name in enumerate(rows, 1):
        drawn.append(text(4, number, name))
        for column, value in enumerate(table.iloc[number - 1]):
            place = f'x="{left + column * wide}" y="{number * CELL}" width="{wide}" height="{CELL}"'
            drawn.append(f'<rect {place} fill="{_shade(value)}"/>')
            drawn.append(text(left + column * wide + 8, number, "-" if pd.isna(value) else f"{value:.2f}"))
    size = (left + wide * len(columns), CELL * (len(rows) + 1))
    return _image(f'<g font-family="sans-serif" font-size="12">{"".join(drawn)}</g>', *size, title)


def _shade(value: float) -> str:
    if pd.isna(value):
        return "rgb(224,224,224)"
    faded = round(255 - 155 * min(abs(value), 1.0))
    return f"rgb(255,{faded},{faded})" if value > 0 else f"rgb({faded},{faded},255)"


def _image(svg: str, width: int, height: int, title: str) -> str:
    ground = '<rect width="100%" height="100%" fill="#f4f6f9"/>'
    whole = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{ground}{svg}</svg>'
    return f"![{title}](data:image/svg+xml;base64,{b64encode(whole.encode()).decode()})"


def shown(judged: Refresh) -> dict[str, Any]:
    """What a partition's metadata say of the gate; the numbers are there where they are defined."""
    numbers = {f"refresh_{name}": getattr(judged, name) for name in NUMBERS}
    return {
        "outcome": outcome_of(judged.accepted),
        "reason": judged.reason,
        **({"refresh_against": judged.against} if judged.against else {}),
        **{name: value for name, value in numbers.items() if value is not None},
    }
