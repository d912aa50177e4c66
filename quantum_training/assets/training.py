"""One training for an asset `<recipe>_model`: fit, register, and what to tell of it. When to train: models.py."""

import shutil
from dataclasses import replace
from typing import Any, NamedTuple

import dagster as dg
import pandas as pd

from quantum_training.assets.loop import markdown
from quantum_training.assets.practice import Lesson, state_folder
from quantum_training.assets.training_events import TrainingJob
from quantum_training.assets.training_view import drawn, progress_to
from quantum_training.features.windows import Window
from quantum_training.models.agent import Agent
from quantum_training.models.contract import Model, algorithm
from quantum_training.models.fitting import fit_seeds
from quantum_training.models.provenance import code_hash, identity
from quantum_training.partitions import Key
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.registry import ModelRegistry
from quantum_training.settings import Recipe, Settings

SEEDS_APART = 100_000
"""More than an agent has episodes at once: each draws from a seed of its own, counted from the fit's."""


class TrainingConfig(dg.Config):
    """Why and as of when a version is trained. The defaults are the weekly refresh."""

    as_of: str = ""
    """UTC time up to which data may be seen, within the partition's week; default: its Monday 00:00."""
    trigger: str = "SCHEDULED"
    """SCHEDULED, DRIFT_DETECTED, PERFORMANCE_DECAY or MANUAL."""
    reason: str = "weekly refresh"
    """A sentence for the people who read the version in MLflow."""
    episodes: int = 0
    """Budget of an agent's fit in episodes; 0: the recipe's."""


def budgeted(recipe: Recipe, episodes: int) -> Recipe:
    """The recipe with a budget of so many episodes, 0 for its own. ValueError where it is no agent's."""
    if not episodes:
        return recipe
    algorithm_of = algorithm(recipe.algorithm)
    if not issubclass(algorithm_of, Agent):
        raise ValueError(f"{recipe.algorithm} learns from labels, not from episodes; remove episodes_per_run")
    steps = algorithm_of.parse(recipe.params).steps_of(episodes)
    return recipe.model_copy(update={"params": {**recipe.params, "total_steps": steps}})


class Trained(NamedTuple):
    """A version, its entry in the partition's record, and the metadata to show."""

    model: Model
    entry: dict[str, Any]
    metadata: dict[str, Any]


def train(
    context: dg.AssetExecutionContext,
    registry: ModelRegistry,
    events: EventBus,
    settings: Settings,
    key: Key,
    name: str,
    window: Window,
    taught: Lesson,
    config: TrainingConfig,
    as_of: pd.Timestamp,
) -> Trained:
    """Fit and register a version, or find the one that the same data, code and recipe gave before."""
    recipe = budgeted(settings.recipes[name], config.episodes)
    code = code_hash(recipe.algorithm)
    made_of = {
        "symbol": key.symbol,
        "recipe": recipe.model_dump(mode="json"),
        "as_of": as_of,
        "data": window.content_hash,
        "code": code,
        **taught.made_of,
    }
    model_id = identity(name=name, **made_of)
    job = TrainingJob(events, key.symbol, name, f"{context.run.run_id}/{key}/{name}")
    found, scores = registry.find(key.symbol, model_id), dict[int, float | None]()
    practice, resumed = taught.practice, False
    if practice:
        state = state_folder(settings, model_id)
        practice, resumed = replace(practice, state=state), state.exists()
    if found:
        model, seconds = registry.load(key.symbol, model_id), None
    else:
        tags = {
            "model_id": model_id,
            "recipe": name,
            "as_of": as_of.isoformat(),
            "trigger": config.trigger,
            "reason": config.reason,
            "data_hash": window.content_hash,
            "code_hash": code,
            "dagster_run_id": context.run.run_id,
            "dagster_partition": str(key),
        }
        params = {
            "algorithm": recipe.algorithm,
            "label": recipe.label.model_dump_json(),
            "sizing": recipe.sizing.model_dump_json(),
            "features": ",".join(window.columns),
            "seed": recipe.seed,
            "seeds": recipe.seeds,
            "rows": len(window.full_y),
            "first_bar": window.full_times[0],
            "last_bar": window.full_times[-1],
            **recipe.params,
        }
        example = pd.DataFrame(window.full_x, window.full_times, list(window.columns))
        if practice:
            example = example.join(practice.market.candles[["open", "close"]])
        with job.announced(config.trigger, config.reason):
            started = pd.Timestamp.now("UTC")
            model, scores = fit_seeds(
                recipe.algorithm,
                window,
                recipe.params,
                recipe.sizing,
                range(recipe.seed, recipe.seed + recipe.seeds * SEEDS_APART, SEEDS_APART),
                progress_to(context),
                practice,
            )
            seconds = (pd.Timestamp.now("UTC") - started).total_seconds()
            tried = scores if len(scores) > 1 else {}
            seeds = {f"score_seed_{seed}": score for seed, score in tried.items() if score is not None}
            found, _ = registry.register(
                key.symbol,
                model,
                recipe.algorithm,
                example,
                tags=tags,
                params=params,
                metrics={**model.report, **seeds, "fit_seconds": seconds},
                curves=model.curves,
                started=started,
            )
    if practice:
        shutil.rmtree(state, ignore_errors=True)
    job.succeeded(model_id, model.report, seconds)
    entry = {"as_of": as_of.isoformat(), "model_id": model_id, "data_hash": window.content_hash, "code_hash": code}
    importance = pd.Series(model.importance, dtype="float64").sort_values(ascending=False).head(10)
    metadata = {
        "as_of": dg.MetadataValue.timestamp(as_of.to_pydatetime()),
        "rows": len(window.full_y),
        "first_bar": dg.MetadataValue.timestamp(window.full_times[0].to_pydatetime()),
        "label_share": float(window.full_y.mean()),
        **({"fit_seconds": seconds} if seconds is not None else {}),
        **({"feature_importance": markdown(importance.rename("share of gain").to_frame())} if len(importance) else {}),
        **drawn(model, scores, None if resumed else seconds),
        "model_id": model_id,
        "mlflow_version": found.number,
        "mlflow_run": dg.MetadataValue.url(registry.run_url(key.symbol, found)),
    }
    return Trained(model, entry, metadata)
