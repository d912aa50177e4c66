"""What a training shows to people: its log lines, and the pictures and tables of a version's metadata."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.loop import markdown
from quantum_training.models.agent import ACTION
from quantum_training.models.contract import Model, Progress

WIDTH, HEIGHT, PAD = 560, 160, 6
REWARD = "mean_reward"


def progress_to(context: dg.AssetExecutionContext) -> Progress:
    """Log lines that begin with the run's id, as Dagster shows it."""
    prefix = f"[{context.run.run_id[:8]}]"

    def progress(message: str) -> None:
        context.log.info(f"{prefix}{message}" if message.startswith("[") else f"{prefix} {message}")

    return progress


def drawn(model: Model, scores: Mapping[int, float | None], seconds: float | None) -> dict[str, Any]:
    """What the fit reports; for agents the actions as a histogram, the curve of the rewards as a picture, its last
    point and the steps per second; the seeds with their scores.

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
        points = [(point["step"], point[REWARD]) for point in model.curves if REWARD in point]
        if len(points) > 1:
            shown["reward_curve"] = dg.MetadataValue.md(picture(points, "mean reward per episode over steps"))
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
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}"><rect width="100%" height="100%" '
        f'fill="#f4f6f9"/><polyline fill="none" stroke="#2456c6" stroke-width="1.5" points="{line}"/></svg>'
    )
    values = f"first {ys[0]:.4g}, last {ys[-1]:.4g}, lowest {low:.4g}, highest {high:.4g}"
    return f"![{title}](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})\n\n{title}: {values}"
