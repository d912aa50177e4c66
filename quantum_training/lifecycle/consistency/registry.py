"""Does MLflow hold the versions that the store's records name? It does not if it was lost, swapped or is an old backup.

A run asks before it fits anything: its own versions would fill an empty MLflow, and hide that the others are gone. One
version that is gone alone is no fault of the state: a person may delete it, and only its recipe pays for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import pandas as pd

from quantum_training.lifecycle.consistency.inconsistency import Inconsistency
from quantum_training.lifecycle.records import CHAMPION, ModelRecord, ModelVersion, model_asset, read_record
from quantum_training.lifecycle.services import Services
from quantum_training.resources.registry.connection import trash_problem
from quantum_training.resources.registry.presence import (
    BrokenArtefact,
    Versions,
    broken_artefacts,
    experiment_of,
    name_of,
    registered_versions,
    was_deleted,
)
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.selection.retention import SPARE

NAMED = 5
"""Versions that a message names."""

RESTORE = (
    "Bring MLflow's database and artefacts back, or name the right MLflow in QUANTUM_TRAINING_MLFLOW_TRACKING_URI; or "
    "run the job rebuild_registry, which trains these versions again from store and settings, with the same ids"
)


class RecordedVersion(NamedTuple):
    """An accepted version in a record of the store."""

    recipe: str
    week: str
    entry: ModelVersion

    @property
    def model_id(self) -> str:
        """The identity of the version."""
        return self.entry.model_id


def registry_inconsistencies(
    services: Services, symbol: str, trained: Collection[pd.Timestamp] = ()
) -> list[Inconsistency]:
    """What MLflow should hold of a symbol and does not. trained: the `as_of` of the versions that the run trains.

    Only the newest versions are asked for, which housekeeping never removes. RegistryOutage if MLflow is out of reach.
    """
    registry = services.registry
    experiment = registry.experiment(symbol)
    if problem := trash_problem(experiment):
        return [Inconsistency(symbol, "registry", *problem)]
    expected = newest_versions(services, symbol)
    versions = registered_versions(registry, symbol, [v.model_id for v in expected])
    if renamed := _renamed(services, symbol, experiment, expected, versions):
        return [renamed]
    judged = [v for v in expected if v.entry.time not in trained]
    if expected and not judged and not versions:  # it trains all of them, but does it train all that is recorded?
        judged = [v for v in trading_versions(services, symbol) if v.entry.time not in trained]
        if registered_versions(registry, symbol, [v.model_id for v in judged]):
            return []
    broken = broken_artefacts(registry, symbol, experiment, versions)
    missing = [v for v in judged if v.model_id not in versions or v.model_id in broken]
    if not missing or (len(missing) == 1 and _is_single_fault(registry, symbol, missing[0].model_id, versions, broken)):
        return []
    names = [f"{v.recipe} of {v.entry.as_of[:10]} ({v.model_id})" for v in missing[:NAMED]]
    details = [broken[v.model_id].problem for v in missing if v.model_id in broken][:1]
    finding = (
        f"{len(missing)} of {len(judged)} recorded versions are missing together from MLflow at {registry.uri}: "
        f"{', '.join([*names, *(['...'] if missing[NAMED:] else [])])}{''.join(f'; {d}' for d in details)}"
    )
    return [Inconsistency(symbol, "registry", finding, RESTORE)]


def newest_versions(services: Services, symbol: str) -> list[RecordedVersion]:
    """Of each recipe the newest versions, and the one that traded at the last decision: they must be in MLflow."""
    store, newest = services.store, list[RecordedVersion]()
    decided = max(store.periods(CHAMPION, symbol, "json"), default=None)
    for recipe in services.settings.symbols[symbol].recipes:
        for number, version in enumerate(_newest_first(store, symbol, recipe)):
            traded = decided is None or version.entry.time <= pd.Timestamp(decided, tz="UTC")
            if number < SPARE or traded:
                newest.append(version)
            if number >= SPARE - 1 and traded:
                break
    return newest


def _newest_first(store: Store, symbol: str, recipe: str) -> Iterator[RecordedVersion]:
    """The accepted versions of a recipe; of equal as_of only the newest fit, which trades."""
    asset = model_asset(recipe)
    for week in reversed(store.periods(asset, symbol, "json")):
        record = read_record(store, ModelRecord, symbol, week, asset) or ModelRecord()
        trading = {v.time: v for v in record.versions if v.accepted}
        yield from (RecordedVersion(recipe, week, trading[time]) for time in sorted(trading, reverse=True))


def trading_versions(services: Services, symbol: str) -> list[RecordedVersion]:
    """The accepted versions that the records of the symbol's recipes name."""
    recipes = services.settings.symbols[symbol].recipes
    return [version for recipe in recipes for version in _newest_first(services.store, symbol, recipe)]


def _renamed(
    services: Services, symbol: str, experiment: Any, expected: list[RecordedVersion], versions: dict[str, Any]
) -> Inconsistency | None:
    """The inconsistency if the registered model or the experiment has another name than the symbol."""
    registry = services.registry
    what, other = "registered model", None
    if expected and not versions:
        other = name_of(registry, symbol, [v.model_id for v in expected])
    elif experiment is None and (run_ids := [v.run_id for v in versions.values() if v.run_id]):
        held_by = experiment_of(registry, symbol, run_ids[0])
        what, other = "experiment", held_by and held_by.name
    if not other:
        return None
    problem = f"the {what} {symbol} was renamed to {other} in MLflow"
    return Inconsistency(symbol, "registry", problem, f"Rename it back to {symbol} in MLflow's UI")


def _is_single_fault(
    registry: ModelRegistry, symbol: str, model_id: str, versions: Versions, broken: dict[str, BrokenArtefact]
) -> bool:
    """Is it a single version that was deleted in MLflow, or whose artefact is broken beside whole ones?

    If nothing is left of the artefact that was registered last, an older backup of the artefacts was restored.
    """
    if model_id not in versions:
        return was_deleted(registry, symbol, model_id)
    last = max(versions, key=lambda other: int(versions[other].version))
    return len(versions) > 1 and not (broken[model_id].is_gone and model_id == last)
