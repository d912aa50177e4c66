"""Metadata of the model assets: a week's training, its fit and the refresh gate as the Dagster UI shows them."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.metadata.charts import heat_map, line_chart
from quantum_training.assets.metadata.tables import SUMMARY, link, markdown, rounded
from quantum_training.lifecycle.training.refresh_gate import outcome_of
from quantum_training.lifecycle.training.train_version import TrainingResult
from quantum_training.lifecycle.training.train_week import WeeklyTraining
from quantum_training.models.agent import ACTION
from quantum_training.models.contract import Model
from quantum_training.selection.refresh import Refresh

CHARTS = {"mean_reward": "mean reward per episode", "valid_loss": "validation loss"}
"""Numbers of a training curve that are drawn, and their titles."""

REFRESH_NUMBERS = ("change", "difference", "lower_bound", "margin")
"""Numbers of the refresh gate that are plotted over the weeks."""


def training_metadata(week: WeeklyTraining) -> dict[str, Any]:
    """The metadata of a partition, whatever its outcome."""
    details = {name: _shown(value) for name, value in week.details.items()}
    if week.result and week.refresh and week.record_path:
        path = dg.MetadataValue.path(week.record_path)
        version = version_metadata(week.result)
        return {
            SUMMARY: _sentence(week.result, week.refresh),
            **version,
            **refresh_metadata(week.refresh),
            **details,
            "path": path,
        }
    reason = week.details.get("reason")
    return {
        SUMMARY: f"{week.outcome.capitalize()}{f': {reason}' if reason else ''}.",
        "outcome": week.outcome,
        **details,
    }


def _sentence(result: TrainingResult, refresh: Refresh) -> str:
    window = result.inputs.window
    bars = f"{len(window.full_y)} bars from {window.full_times[0]:%Y-%m-%d} on"
    outcome = "accepted" if refresh.accepted else "refused, so the version before it stays in use"
    return f"Trained as of {result.version.time:%Y-%m-%d %H:%M} on {bars}; {outcome}: {refresh.reason}."


def version_metadata(result: TrainingResult) -> dict[str, Any]:
    """A version that was trained or found again: its window, its fit, and where it is in MLflow."""
    fit, window, excluded = result.fit, result.inputs.window, result.inputs.excluded
    importance = pd.Series(fit.model.importance, dtype="float64").sort_values(ascending=False).head(10)
    return {
        "as_of": _timestamp(result.version.time),
        "rows": len(window.full_y),
        "first_bar": _timestamp(window.full_times[0]),
        "label_share": float(window.full_y.mean()),
        **({"fit_seconds": fit.seconds} if fit.seconds is not None else {}),
        **({"feature_importance": markdown(importance.rename("share of gain").to_frame())} if len(importance) else {}),
        **fit_metadata(fit.model, fit.seed_scores, None if result.resumed else fit.seconds),
        **({"left_out": dg.MetadataValue.json(excluded)} if excluded else {}),
        "model_id": result.version.model_id,
        "mlflow": link(f"version {result.registered.number}", result.mlflow_url),
    }


def fit_metadata(model: Model, seed_scores: Mapping[int, float | None], seconds: float | None) -> dict[str, Any]:
    """The fit's report, curves, notes and heat maps, an agent's actions as shares, and the scores of its seeds.

    seconds: of the whole fit; None if it is not known, as for a fit that continued from a checkpoint. A version that
    was found again has no curves.
    """
    metadata: dict[str, Any] = {name: value for name, value in model.report.items() if not name.startswith(ACTION)}
    if shares := {name.removeprefix(ACTION): v for name, v in model.report.items() if name.startswith(ACTION)}:
        metadata["actions"] = markdown(pd.DataFrame({"share": shares}, dtype=object))
    metadata |= curve_metadata(model, len(seed_scores), seconds)
    metadata |= model.notes
    metadata |= {name: dg.MetadataValue.md(heat_map(table, name)) for name, table in model.heat_maps.items()}
    if len(seed_scores) > 1:
        table = pd.DataFrame({"score": list(seed_scores.values())}, [str(seed) for seed in seed_scores], dtype=object)
        table["registered"] = ["yes" if score == model.score else "" for score in seed_scores.values()]
        metadata["seeds"] = markdown(table.map(lambda v: f"{v:.3e}" if isinstance(v, float) else v))
    return metadata


def curve_metadata(model: Model, seeds: int, seconds: float | None) -> dict[str, Any]:
    """The last point of the training curves, the steps per second, and the curves of rewards or losses as charts."""
    if not model.curves:
        return {}
    last = model.curves[-1]
    metadata: dict[str, Any] = {f"last_{name}": float(value) for name, value in last.items() if name != "step"}
    if seconds:
        metadata["steps_per_second"] = float(seeds * last["step"] / seconds)
    for name, title in CHARTS.items():
        points = pd.Series({point["step"]: point[name] for point in model.curves if name in point}, dtype="float64")
        if len(points) > 1:
            metadata[f"{name}_curve"] = dg.MetadataValue.md(line_chart({name: points}, f"{title} over steps"))
    return metadata


def refresh_metadata(refresh: Refresh) -> dict[str, Any]:
    """The verdict of the refresh gate, with those of its numbers that are defined."""
    numbers = {f"refresh_{name}": getattr(refresh, name) for name in REFRESH_NUMBERS}
    return {
        "outcome": outcome_of(refresh.accepted),
        "reason": refresh.reason,
        **({"refresh_against": refresh.against} if refresh.against else {}),
        **{name: rounded(value) for name, value in numbers.items() if value is not None},
    }


def _shown(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return _timestamp(value)
    return ", ".join(value) if isinstance(value, tuple) else value


def _timestamp(time: pd.Timestamp) -> dg.TimestampMetadataValue:
    return dg.MetadataValue.timestamp(time.to_pydatetime())
