"""Trains the recorded versions that MLflow has lost again: from store and settings, with the same ids and files.

A version whose inputs have changed since is not trained, because it would be another one; the result says why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import pandas as pd

from quantum_training.features.windows import InsufficientData
from quantum_training.lifecycle.consistency.inconsistency import require_consistent
from quantum_training.lifecycle.consistency.registry import (
    RESTORE,
    RecordedVersion,
    registry_inconsistencies,
    trading_versions,
)
from quantum_training.lifecycle.decision.champion import move_aliases
from quantum_training.lifecycle.records import CHAMPION, model_asset
from quantum_training.lifecycle.services import Services
from quantum_training.lifecycle.training.ensemble_members import is_ensemble
from quantum_training.lifecycle.training.inputs import (
    InputSources,
    TrainingInputs,
    TrainingTarget,
    build_training_inputs,
)
from quantum_training.lifecycle.training.refresh_gate import refresh_tag
from quantum_training.lifecycle.training.request import TrainingRequest, TrainingRun
from quantum_training.lifecycle.training.train_version import VersionTraining, version_training
from quantum_training.lifecycle.training.train_week import update_shadow_alias
from quantum_training.lifecycle.training.version_identity import TrainingTask
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.market.periods import Key
from quantum_training.resources.locks import exclusive_lock
from quantum_training.resources.registry.artefact_hashes import model_hash
from quantum_training.resources.registry.errors import RegistryError
from quantum_training.resources.registry.presence import broken_artefacts, registered_versions
from quantum_training.resources.store.store import StoreError

REASON = "MLflow had lost the version"


class Lost(NamedTuple):
    """A recorded version that MLflow has lost, and the hash that its files must have; None if that is not recorded."""

    recorded: RecordedVersion
    artefact_hash: str | None

    @property
    def label(self) -> str:
        """The version as a message names it."""
        return f"{self.recorded.recipe} of {self.recorded.entry.as_of[:16]} ({self.recorded.model_id})"


@dataclass
class RebuiltVersions:
    """What became of the recorded versions of a symbol. failures: why one could not be rebuilt, by version."""

    present: int = 0
    rebuilt: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


def rebuild_versions(services: Services, symbol: str, run: TrainingRun, first_week: str = "") -> RebuiltVersions:
    """Train the lost versions of the weeks from `first_week` on again, oldest first, then restore the aliases.

    InconsistentStateError if the registered model or the experiment only has to be renamed back or restored.
    RegistryOutage if MLflow cannot be reached; what was rebuilt stays, and the next call goes on.
    """
    require_consistent([i for i in registry_inconsistencies(services, symbol) if i.remedy != RESTORE])
    recorded = [version for version in trading_versions(services, symbol) if version.week >= first_week]
    result, lost = RebuiltVersions(), _lost(services, symbol, recorded)
    result.present = len(recorded) - len(lost)
    for version in lost:
        run.log.info(f"{symbol}: {version.label} is trained again")
        try:
            _rebuild(services, symbol, version, run)
            result.rebuilt.append(version.label)
        except (RegistryError, StoreError, InsufficientData, ValueError) as error:
            result.failures[version.label] = str(error)
    for name, restore in _aliases(services, symbol).items():
        try:
            restore()
        except RegistryError as error:
            result.failures[f"alias {name}"] = str(error)
    return result


def _lost(services: Services, symbol: str, recorded: list[RecordedVersion]) -> list[Lost]:
    """The versions without a whole artefact in MLflow: oldest first, an ensemble after its members."""
    registry, recipes = services.registry, services.settings.recipes
    present = registered_versions(registry, symbol, [version.model_id for version in recorded])
    broken = broken_artefacts(registry, symbol, registry.experiment(symbol), present)
    lost = []
    for version in recorded:
        if version.model_id in present.keys() - broken.keys():
            continue
        registered = present.get(version.model_id)
        lost.append(Lost(version, model_hash(registered.tags) if registered else version.entry.artefact_hash))
        registry.forget(symbol, version.model_id)
    return sorted(lost, key=lambda v: (v.recorded.entry.time, is_ensemble(recipes[v.recorded.recipe].algorithm)))


def _rebuild(services: Services, symbol: str, lost: Lost, run: TrainingRun) -> None:
    """Train a version again and register it. RegistryError if the result would be, or is, another version."""
    registry, (recipe, week, entry) = services.registry, lost.recorded
    key = Key(symbol, pd.Timestamp(week, tz="UTC"))
    with exclusive_lock(services.settings.database_url, f"{model_asset(recipe)} {key}") as assert_lock_held:

        def make_room() -> None:
            """Called when the new artefact is complete: the entry of a broken one goes."""
            assert_lock_held()
            registry.delete(symbol, entry.model_id)

        request = TrainingRequest(as_of=entry.as_of, trigger="MANUAL", reason=REASON)
        task = TrainingTask(recipe, key, entry.time, request, make_room)
        inputs = _inputs(services, task, run)
        training = version_training(services, task, inputs, run)
        if training.ids.model_id != entry.model_id:
            raise RegistryError(_difference(lost.recorded, training, inputs))
        training.fit_and_register(training.prepare(), lost.artefact_hash)
        if entry.refresh:
            registry.tag(symbol, entry.model_id, "refresh", refresh_tag(entry.refresh))


def _inputs(services: Services, task: TrainingTask, run: TrainingRun) -> TrainingInputs:
    """What the version was fitted on, as train_week gathers it."""
    symbol, store = task.key.symbol, services.store
    previous = [v for v in versions_of(store, symbol, task.recipe, task.key.period) if v.as_of < task.as_of]

    def load(model_id: str) -> Any:
        return run.models.load(symbol, model_id, services.registry.load)

    sources = InputSources(store, services.settings, tuple(previous), load, run.decisions)
    return build_training_inputs(sources, TrainingTarget(symbol, task.recipe, task.as_of))


def _difference(recorded: RecordedVersion, training: VersionTraining, inputs: TrainingInputs) -> str:
    """Why a fit would give another version than the recorded one."""
    entry = recorded.entry
    if inputs.deleted_versions:
        cause = f"earlier versions that it was fitted with are not in MLflow, such as {inputs.deleted_versions[0]}"
    elif entry.data_hash not in (None, inputs.window.content_hash):
        cause = "the stored bars or features of its training window were revised since"
    elif entry.code_hash not in (None, training.ids.code_hash):
        cause = "the code of its algorithm, or a package that this uses, changed since"
    else:
        cause = "the settings of its recipe, or what it learns from beside its window, changed since"
    return (
        f"{cause}: a fit would now give version {training.ids.model_id}. To go on with that one, run weekly_cycle of "
        f"{recorded.week} and the weeks after it"
    )


def _aliases(services: Services, symbol: str) -> dict[str, Callable[[], None]]:
    """How each alias of the symbol is restored."""
    recipes = services.settings.symbols[symbol].recipes
    restore: dict[str, Callable[[], None]] = {
        f"shadow-{recipe}": partial(update_shadow_alias, services, recipe, [symbol]) for recipe in recipes
    }
    if services.store.periods(CHAMPION, symbol, "json"):
        restore["champion"] = partial(move_aliases, services.store, services.registry, services.settings, symbol)
    return restore
