"""Fits an algorithm by its name, with one seed or with several. How an algorithm learns is its own module."""

from __future__ import annotations

import inspect
from dataclasses import replace

from quantum_training.models.contract import Model, TrainingContext, algorithm

RENAMED_ATTRIBUTES = {
    "memory": "lookback_bars",
    "restless": "is_stochastic",
    "remarks": "notes",
    "require": "check_inputs",
    "serving": "for_symbol",
    "builders": "traits.build_packages",
    "sources": "traits.sources",
    "practises": "traits.needs_market",
    "combines": "traits.is_ensemble",
    "pools": "traits.is_pooled",
    "abilities": "traits.capabilities",
    "rehearsal": "traits.smoke_params",
}
"""What an algorithm's class declared before there was AlgorithmTraits, by the old name. Nothing reads it any more."""


def fit_model(name: str, context: TrainingContext) -> Model:
    """One fit of the algorithm `name`. TypeError if its class was written for an older version of Model."""
    cls = algorithm(name)
    _check_contract(cls)
    return cls.fit(context)


def _check_contract(cls: type[Model]) -> None:
    """TypeError, with the remedy, if `fit` takes other arguments than a context, or an attribute has an old name."""
    parameters = inspect.signature(cls.fit).parameters
    if len(parameters) != 1:
        raise TypeError(
            f"{cls.__module__}: Model.fit({', '.join(parameters)}) has an outdated signature; write "
            "`def fit(cls, context)` and read context.window, context.params, context.sizing, context.seed and "
            "context.progress; class attributes such as sources and build_packages are now fields of "
            "`traits = AlgorithmTraits(...)`, see quantum_training/models/contract.py"
        )
    if outdated := [f"{old} is now {new}" for old, new in RENAMED_ATTRIBUTES.items() if hasattr(cls, old)]:
        raise TypeError(
            f"{cls.__module__}: outdated attributes of Model: {', '.join(outdated)}; set those of traits as "
            "`traits = AlgorithmTraits(...)`, see quantum_training/models/contract.py"
        )


def fit_seeds(name: str, context: TrainingContext, seeds: range) -> tuple[Model, dict[int, float | None]]:
    """One fit per seed. Returns the model of median score (of two in the middle the lower) and every seed's score.

    Not the best one: that would be luck. ValueError if the algorithm gives no score and there are several seeds.
    """
    models: dict[int, Model] = {}
    for seed in seeds:
        if len(seeds) > 1:
            context.progress(f"seed {seed}, {len(models) + 1} of {len(seeds)}")
        models[seed] = fit_model(name, replace(context, seed=seed))
    scores = {seed: model.score for seed, model in models.items()}
    if len(models) == 1:
        return models[seeds[0]], scores
    ranked = [(model.score, seed) for seed, model in models.items() if model.score is not None]
    if len(ranked) < len(models):
        raise ValueError(f"{name} gives no score to choose the median seed by; set the recipe's seeds to 1")
    return models[sorted(ranked)[(len(ranked) - 1) // 2][1]], scores
