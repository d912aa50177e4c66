"""One training for an asset `<recipe>_model`: fit, register, and what to tell of it. When to train: models.py."""

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import dagster as dg
import pandas as pd

from quantum_training.assets.metadata.tables import markdown
from quantum_training.assets.metadata.training import drawn, progress_to
from quantum_training.assets.step_retries import goes_on
from quantum_training.lifecycle.training.events import TrainingJob, job_id
from quantum_training.lifecycle.training.inputs import TrainingInputs, checkpoint_dir
from quantum_training.market.periods import Key
from quantum_training.models.agent import Agent
from quantum_training.models.contract import Model, algorithm
from quantum_training.models.fitting import fit_seeds
from quantum_training.models.provenance import code_hash, identity
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.locks import alone
from quantum_training.resources.registry.errors import RegistryError
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.settings.schema import Recipe
from quantum_training.settings.settings import Settings

SEED_STRIDE = 100_000
"""More than an agent has episodes at once: each draws from a seed of its own, counted from the fit's."""


FIELDS_NOT_IN_IDENTITY = {"every_weeks", "resources"}
"""Fields of a recipe that do not change what a fit gives."""


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


def with_episode_budget(recipe: Recipe, episodes: int) -> Recipe:
    """The recipe with a budget of so many episodes, 0 for its own. ValueError where it is no agent's."""
    if not episodes:
        return recipe
    algorithm_of = algorithm(recipe.algorithm)
    if not issubclass(algorithm_of, Agent):
        raise ValueError(f"{recipe.algorithm} learns from labels, not from episodes; remove episodes_per_run")
    steps = algorithm_of.parse(recipe.params).steps_of(episodes)
    return recipe.model_copy(update={"params": {**recipe.params, "total_steps": steps}})


class TrainingResult(NamedTuple):
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
    taught: TrainingInputs,
    config: TrainingConfig,
    as_of: pd.Timestamp,
    still_alone: Callable[[], None],
) -> TrainingResult:
    """Fit and register a version, or find the one that the same data, code and recipe gave before.

    still_alone: of the lock, held by the caller, that no other process trains for this partition under.
    InsufficientData where the algorithm finds too little to fit on.
    """
    recipe, window = with_episode_budget(settings.recipes[name], config.episodes), taught.window
    code, cls = code_hash(recipe.algorithm), algorithm(recipe.algorithm)
    made_of = {
        "recipe": recipe.model_dump(mode="json", exclude=FIELDS_NOT_IN_IDENTITY),
        "as_of": as_of,
        "data": window.content_hash,
        "code": code,
        **taught.made_of,
    }
    model_id = identity(name=name, symbol=key.symbol, **made_of)
    shared = identity(**made_of) if cls.traits.is_pooled else None
    job = TrainingJob(events, key.symbol, name, job_id(context.instance, context.run, str(key), name))
    found, scores = registry.find(key.symbol, model_id), dict[int, float | None]()
    state = checkpoint_dir(settings, model_id)
    resumed = state.exists()
    training = replace(
        taught.practice,
        params=recipe.params,
        sizing=recipe.sizing,
        progress=progress_to(context),
        checkpoint_dir=state,
    )
    if found:
        model, seconds = registry.load(key.symbol, model_id), None
    else:
        cls.check_inputs(training)
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
            **({"shared_fit": shared} if shared else {}),
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
        one_fit = alone(settings.database_url, shared) if shared else nullcontext()
        with job.announced(config.trigger, config.reason, partial(goes_on, context)), one_fit:
            started = pd.Timestamp.now("UTC")
            donated = find_shared_fit(context, registry, shared) if shared else None
            if donated:
                model = donated
            else:
                model, scores = fit_seeds(
                    recipe.algorithm,
                    training,
                    range(recipe.seed, recipe.seed + recipe.seeds * SEED_STRIDE, SEED_STRIDE),
                )
            if shared:
                model = model.for_symbol(key.symbol)
            seconds = (pd.Timestamp.now("UTC") - started).total_seconds()
            tried = scores if len(scores) > 1 else {}
            seeds = {f"score_seed_{seed}": score for seed, score in tried.items() if score is not None}
            found = registry.register(
                key.symbol,
                model,
                recipe.algorithm,
                taught.rows,
                tags={**tags, **model.notes},
                params=params,
                metrics={**model.report, **seeds, "fit_seconds": seconds},
                curves=model.curves,
                started=started,
                still_alone=still_alone,
            )
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
        **({"left_out": dg.MetadataValue.json(taught.left_out)} if taught.left_out else {}),
        "model_id": model_id,
        "mlflow_version": found.number,
        "mlflow_run": dg.MetadataValue.url(registry.run_url(key.symbol, found)),
    }
    return TrainingResult(model, entry, metadata)


def find_shared_fit(context: dg.AssetExecutionContext, registry: ModelRegistry, shared: str) -> Model | None:
    """The model that another symbol's version brought, where one is registered and can be loaded."""
    donor = registry.find_shared(shared)
    if donor is None:
        return None
    try:
        model = registry.load(*donor)
    except RegistryError as error:
        context.log.warning(f"{error}; fitted again")
        return None
    context.log.info(f"the fit of {donor[0]} serves this symbol, too")
    return model
