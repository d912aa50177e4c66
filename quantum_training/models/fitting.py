"""How a version is fitted: the algorithm by its name, with what it needs, once or with several seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from quantum_training.models.contract import Model, Progress, TrainingContext, algorithm
from quantum_training.models.sizing import Sizing

if TYPE_CHECKING:
    from quantum_training.features.windows import Window


def fit(
    name: str,
    window: Window,
    params: Mapping[str, Any],
    sizing: Sizing,
    seed: int,
    progress: Progress,
    practice: TrainingContext | None,
) -> Model:
    """One fit of the algorithm `name`; `practice` is for those that ask for more than the window."""
    cls = algorithm(name)
    if cls.needs_context:
        return cls.fit(window, params, sizing, seed, progress, practice)  # type: ignore[call-arg]
    return cls.fit(window, params, sizing, seed, progress)


def fit_seeds(
    name: str,
    window: Window,
    params: Mapping[str, Any],
    sizing: Sizing,
    seeds: range,
    progress: Progress,
    practice: TrainingContext | None,
) -> tuple[Model, dict[int, float | None]]:
    """One fit per seed. Returns the model of median score (of two in the middle the lower) and every seed's score.

    Not the best one: that would be luck. ValueError where several seeds are asked of an algorithm without a score.
    """
    models: dict[int, Model] = {}
    for seed in seeds:
        if len(seeds) > 1:
            progress(f"seed {seed}, {len(models) + 1} of {len(seeds)}")
        models[seed] = fit(name, window, params, sizing, seed, progress, practice)
    scores = {seed: model.score for seed, model in models.items()}
    if len(models) == 1:
        return models[seeds[0]], scores
    ranked = [(model.score, seed) for seed, model in models.items() if model.score is not None]
    if len(ranked) < len(models):
        raise ValueError(f"{name} gives no score to choose the median seed by; set the recipe's seeds to 1")
    return models[sorted(ranked)[(len(ranked) - 1) // 2][1]], scores
