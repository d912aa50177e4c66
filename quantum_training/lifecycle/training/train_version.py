"""Trains one version of a recipe: fit it, or take over the fit of another symbol's pool, and register it in MLflow.

Whether a week needs a version, and whether the version may trade, is decided in train_week.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from quantum_training.features.sets.recipe_columns import sets_of
from quantum_training.lifecycle.records import ModelVersion
from quantum_training.lifecycle.searches import searched_trials
from quantum_training.lifecycle.services import Services
from quantum_training.lifecycle.training.events import TrainingJob, reward_metrics
from quantum_training.lifecycle.training.inputs import TrainingInputs
from quantum_training.lifecycle.training.request import TrainingRun
from quantum_training.lifecycle.training.version_facts import VersionFacts
from quantum_training.lifecycle.training.version_identity import TrainingTask, identify
from quantum_training.models.agent import Agent
from quantum_training.models.contract import Model, TrainingContext, algorithm
from quantum_training.models.fitting import fit_seeds
from quantum_training.resources.locks import exclusive_lock
from quantum_training.resources.registry.errors import RegistryError
from quantum_training.resources.registry.new_version import NewVersion
from quantum_training.resources.registry.registry import RegisteredVersion
from quantum_training.settings import Settings
from quantum_training.settings.paths import under_dagster_home
from quantum_training.settings.schema import Recipe

SEED_STRIDE = 100_000
"""Distance between the seeds of a recipe: more than an agent has parallel episodes, each with a seed of its own."""


@dataclass(frozen=True)
class FitResult:
    """A fitted model, the score of each seed, and the wall time of the fit."""

    model: Model
    seed_scores: Mapping[int, float | None] = field(default_factory=dict)
    seconds: float | None = None
    """None for a version that was registered before."""

    @property
    def metrics(self) -> dict[str, float]:
        """MLflow's metrics: what the fit measured, the scores if there are several seeds, and the wall time."""
        scores = self.seed_scores if len(self.seed_scores) > 1 else {}
        metrics = {f"score_seed_{seed}": score for seed, score in scores.items() if score is not None}
        if self.seconds is not None:
            metrics["fit_seconds"] = self.seconds
        return {**self.model.report, **metrics}


@dataclass(frozen=True)
class TrainingResult:
    """A registered version, its entry for the week's record, and the fit it came from."""

    version: ModelVersion
    fit: FitResult
    inputs: TrainingInputs
    resumed: bool
    """The fit continued from the checkpoint of a run that was killed."""
    registered: RegisteredVersion
    mlflow_url: str
    job: TrainingJob
    rewards: Sequence[Mapping[str, float]]
    """Points of a curve with an agent's mean reward; without them for other algorithms."""

    def publish(self) -> None:
        """Publish that the training succeeded."""
        metrics = {**self.fit.model.report, **reward_metrics(self.rewards)}
        self.job.publish_succeeded(self.version.model_id, metrics, self.fit.seconds)


def train_version(services: Services, task: TrainingTask, inputs: TrainingInputs, run: TrainingRun) -> TrainingResult:
    """Fit and register a version, or find the one that the same data, code and recipe gave before.

    InsufficientData if the algorithm finds too little to fit on. RegistryError if the stored copy decides otherwise.
    """
    return version_training(services, task, inputs, run).train()


def version_training(
    services: Services, task: TrainingTask, inputs: TrainingInputs, run: TrainingRun
) -> VersionTraining:
    """The training of a version, with the identity that its result has."""
    recipe = with_episode_budget(services.settings.recipes[task.recipe], task.request.episodes)
    return VersionTraining(services, task, run, recipe, inputs, identify(task, recipe, inputs))


def with_episode_budget(recipe: Recipe, episodes: int) -> Recipe:
    """The recipe with a budget of so many episodes; 0 keeps its own. ValueError if its algorithm is no agent."""
    if not episodes:
        return recipe
    cls = algorithm(recipe.algorithm)
    if not issubclass(cls, Agent):
        raise ValueError(f"{recipe.algorithm} learns from labels, not from episodes; remove episodes_per_run")
    steps = cls.parse(recipe.params).steps_of(episodes)
    return recipe.model_copy(update={"params": {**recipe.params, "total_steps": steps}})


def planned_episodes(recipe: Recipe) -> int | None:
    """About how many episodes a fit plays; None if the algorithm is no agent."""
    cls = algorithm(recipe.algorithm)
    if not issubclass(cls, Agent):
        return None
    options = cls.parse(recipe.params)
    return max(round(options.total_steps / options.steps_of(1)), 1)


def checkpoint_dir(settings: Settings, model_id: str) -> Path:
    """Where the training of this version keeps what it needs to continue after it was killed."""
    return Path(settings.training_state_root or under_dagster_home("training_state")) / model_id


@dataclass(frozen=True)
class VersionTraining(VersionFacts):
    """The steps of one training."""

    def train(self) -> TrainingResult:
        """Find the version in MLflow, or fit and register it and publish that the training started, or failed."""
        symbol, registry = self.task.key.symbol, self.services.registry
        job_id = self.run.job_id(self.task.key, self.task.recipe)
        episodes = planned_episodes(self.recipe)
        job = TrainingJob(self.services.events, symbol, self.task.recipe, job_id, episodes)
        registered = registry.find(symbol, self.ids.model_id)
        resumed = self._checkpoint.exists()
        rewards: Sequence[Mapping[str, float]] = []
        if registered:
            fit = FitResult(registry.load(symbol, self.ids.model_id))
            if episodes is not None:  # an agent; a loaded model has no curves
                rewards = registry.logged_curve(symbol, registered.run_id, "mean_reward")
        else:
            context, request = self.prepare(), self.task.request
            with job.publish_started(request.trigger, request.reason, self.run.may_be_retried):
                fit, registered = self.fit_and_register(context)
            rewards = fit.model.curves
        shutil.rmtree(self._checkpoint, ignore_errors=True)
        url = registry.run_url(symbol, registered)
        return TrainingResult(self._entry(), fit, self.inputs, resumed, registered, url, job, rewards)

    def prepare(self) -> TrainingContext:
        """What the fit is given, once recipe and MLflow are found to be ready: a fit may take hours."""
        context = replace(
            self.inputs.context,
            params=self.recipe.params,
            sizing=self.recipe.sizing,
            progress=self.run.progress,
            checkpoint_dir=self._checkpoint,
        )
        algorithm(self.recipe.algorithm).check_inputs(context)
        self.services.registry.prepare(self.task.key.symbol)
        return context

    def fit_and_register(
        self, context: TrainingContext, artefact_hash: str | None = None
    ) -> tuple[FitResult, RegisteredVersion]:
        """Fit the version and register it. RegistryError if its files have another hash than this one."""
        with self._shared_fit_lock():
            started = pd.Timestamp.now("UTC")
            model = self._shared_model()
            scores: dict[int, float | None] = {}
            if model is None:
                stop = self.recipe.seed + self.recipe.seeds * SEED_STRIDE
                seeds = range(self.recipe.seed, stop, SEED_STRIDE)
                model, scores = fit_seeds(self.recipe.algorithm, context, seeds)
            if self.ids.shared_fit:
                model = model.for_symbol(self.task.key.symbol)
            fit = FitResult(model, scores, (pd.Timestamp.now("UTC") - started).total_seconds())
            return fit, self._register(fit, started, artefact_hash)

    @property
    def _checkpoint(self) -> Path:
        return checkpoint_dir(self.services.settings, self.ids.model_id)

    def _shared_fit_lock(self) -> AbstractContextManager[Any]:
        """The lock under which one symbol fits the pool while the others wait; no lock without a pool."""
        shared_fit = self.ids.shared_fit
        return exclusive_lock(self.services.settings.database_url, shared_fit) if shared_fit else nullcontext()

    def _shared_model(self) -> Model | None:
        """The model that another symbol of the pool has registered, if it can be loaded."""
        registry, log = self.services.registry, self.run.log
        shared = registry.find_shared(self.ids.shared_fit) if self.ids.shared_fit else None
        if shared is None:
            return None
        try:
            model = registry.load(*shared)
        except RegistryError as error:
            log.warning(f"{error}; fitted again")
            return None
        log.info(f"the fit of {shared[0]} serves this symbol, too")
        return model

    def _register(self, fit: FitResult, started: pd.Timestamp, artefact_hash: str | None) -> RegisteredVersion:
        market = self.services.settings.symbols[self.task.key.symbol]
        return self.services.registry.register(
            self.task.key.symbol,
            NewVersion(
                fit.model,
                self.recipe.algorithm,
                self.inputs.example_rows,
                tags={**self.tags, **fit.model.notes},
                params=self.params,
                metrics={**fit.metrics, **self.in_sample_metrics(fit.model)},
                curves=fit.model.curves,
                started=started,
                artefact_hash=artefact_hash,
                timeframe=market.timeframe,
                calendar=market.calendar,
                feature_sets=sets_of(fit.model.columns, self.services.settings.features),
                description=self.description,
                data=self.training_data,
                pictures=self.pictures(fit.model),
            ),
            assert_lock_held=self.task.assert_lock_held,
        )

    def _entry(self) -> ModelVersion:
        return ModelVersion(
            as_of=self.task.as_of.isoformat(),
            model_id=self.ids.model_id,
            data_hash=self.inputs.window.content_hash,
            code_hash=self.ids.code_hash,
            artefact_hash=self.services.registry.artefact_hash(self.task.key.symbol, self.ids.model_id),
            recipe_hash=self.recipe_hash,
            seeds=self.recipe.seeds,
            searched=searched_trials(self.services.store, self.services.settings, self.task.recipe) or None,
        )
