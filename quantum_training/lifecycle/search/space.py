"""The space of a search in Optuna's words: what a trial suggests, and the values of the recipe that this stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from quantum_training.settings.search import Dimension

if TYPE_CHECKING:
    from optuna import Trial


def suggest(trial: Trial, space: Mapping[str, Dimension]) -> dict[str, Any]:
    """The values that the study's sampler chooses for a trial, by field of the recipe."""
    return values_of({place: _suggest(trial, place, dimension) for place, dimension in space.items()}, space)


def values_of(params: Mapping[str, Any], space: Mapping[str, Dimension]) -> dict[str, Any]:
    """The values of a trial by field of the recipe, from what Optuna has stored of it: numbers and texts."""
    return {
        place: params[place] if dimension.choices is None else dimension.labels[params[place]]
        for place, dimension in space.items()
    }


def _suggest(trial: Trial, place: str, dimension: Dimension) -> float | str:
    if dimension.choices is not None:
        return str(trial.suggest_categorical(place, [*dimension.labels]))
    low, high = dimension.extremes
    if dimension.is_whole:
        return trial.suggest_int(place, low, high, step=int(dimension.step or 1), log=dimension.log)
    return trial.suggest_float(place, low, high, step=dimension.step, log=dimension.log)
