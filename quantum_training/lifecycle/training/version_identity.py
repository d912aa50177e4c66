"""The version that a training gives, before it is trained: the task, and the hashes that identify its result.

How it is trained is train_version.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from quantum_training.lifecycle.training.inputs import TrainingInputs, own_code
from quantum_training.lifecycle.training.request import TrainingRequest
from quantum_training.market.periods import Key
from quantum_training.models.contract import algorithm
from quantum_training.models.provenance import code_hash, identity
from quantum_training.models.source_digest import source_digest
from quantum_training.settings.schema import Recipe

FIELDS_NOT_IN_IDENTITY = {"every_weeks", "resources", "search", "found_by"}
"""Fields of a recipe that do not change what a fit gives."""


@dataclass(frozen=True)
class TrainingTask:
    """One version to train: the recipe, the partition, the time up to which data may be used, and why."""

    recipe: str
    key: Key
    as_of: pd.Timestamp
    request: TrainingRequest
    assert_lock_held: Callable[[], None]
    """Of the lock under which one process at a time trains for the partition; called before a version is registered."""


def recipe_hash(recipe: Recipe) -> str:
    """The hash of a recipe's settings, without those that do not change what a fit gives: another one, other models."""
    return identity(recipe=recipe.model_dump(mode="json", exclude=FIELDS_NOT_IN_IDENTITY))


def code_version(recipe: Recipe) -> str:
    """The version of a recipe that Dagster shows: of its settings, its algorithm's source, and code of one's own.

    Imports none of them.
    """
    return identity(recipe=recipe_hash(recipe), source=source_digest(recipe.algorithm), **own_code(recipe))


class VersionIdentity(NamedTuple):
    """The hashes that a version is known by. shared_fit: the same for all symbols of a pool; None without a pool."""

    model_id: str
    shared_fit: str | None
    code_hash: str


def identify(task: TrainingTask, recipe: Recipe, inputs: TrainingInputs) -> VersionIdentity:
    """The identity of the version that this task gives: equal recipe, as_of, data and code give equal hashes."""
    code = code_hash(recipe.algorithm)
    parts = {
        "recipe": recipe.model_dump(mode="json", exclude=FIELDS_NOT_IN_IDENTITY),
        "as_of": task.as_of,
        "data": inputs.window.content_hash,
        "code": code,
        **inputs.identity_inputs,
    }
    is_pooled = algorithm(recipe.algorithm).traits.is_pooled
    return VersionIdentity(
        identity(name=task.recipe, symbol=task.key.symbol, **parts), identity(**parts) if is_pooled else None, code
    )
