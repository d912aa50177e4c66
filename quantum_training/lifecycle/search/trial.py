"""One trial of a search: its values by Optuna, its walk-forward, how it ended. Which trials there are is study.py."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from quantum_training.lifecycle.search.known_market import KnownMarket
from quantum_training.lifecycle.search.objective import Walk, walk_forward
from quantum_training.lifecycle.search.space import suggest
from quantum_training.settings.schema import Recipe
from quantum_training.settings.search import Search

if TYPE_CHECKING:
    import optuna

REASON, CPU = "reason", "cpu_seconds"
"""Attributes of a trial in Optuna: why it failed, and what it took."""


class EndedTrial(NamedTuple):
    """A trial as Optuna knows it, and the net returns of the bars on which it was scored."""

    trial: optuna.trial.FrozenTrial
    net: np.ndarray


def run_trial(study: optuna.Study, market: KnownMarket, recipe: Recipe, search: Search, number: int) -> EndedTrial:
    """Run the trial of a number, which learns from the trials of a study in memory and becomes one of them.

    MemoryError, ImportError and OSError are raised; any other error of a fit is the reason of a trial that failed.
    """
    import optuna

    study.sampler, study.pruner = sampler(search, number), pruner(search)
    trial = study.ask()
    began = time.process_time()
    state, score = optuna.trial.TrialState.FAIL, None
    values = suggest(trial, search.space)
    net, reason = np.empty(0), None
    can_be_pruned = search.pruner != "none"
    for fold, walk in enumerate(walks(market, recipe, values, can_be_pruned)):
        net, score, reason = walk
        if can_be_pruned and score is not None:
            trial.report(score, fold)
            if fold + 1 < search.folds and trial.should_prune():
                state = optuna.trial.TrialState.PRUNED
                break
    else:
        if reason is None:
            state = optuna.trial.TrialState.COMPLETE
    trial.set_user_attr(CPU, round(time.process_time() - began, 3))
    if state == optuna.trial.TrialState.FAIL:
        trial.set_user_attr(REASON, reason)
    study.tell(trial, score if state == optuna.trial.TrialState.COMPLETE else None, state=state)
    return EndedTrial(study.get_trials(deepcopy=False)[trial.number], net)


def walks(market: KnownMarket, recipe: Recipe, values: dict[str, Any], each_fold: bool) -> Iterator[Walk]:
    """The walk-forward of a recipe with these values; one that raises ends with its error as the reason."""
    net = np.empty(0)
    try:
        for walk in walk_forward(market, recipe.with_values(values), each_fold):
            net = walk.net
            yield walk
    except (MemoryError, ImportError, OSError):
        raise  # of the machine, not of the values
    except ValidationError as error:
        yield Walk(net, None, "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()))
    except Exception as error:  # an algorithm may raise anything for what it does not know
        yield Walk(net, None, _stable(error))


def _stable(error: Exception) -> str:
    """An error as a reason that is the same in every run: XGBoost's begins with the clock and has a stack trace."""
    lines = str(error).strip().splitlines() or [""]
    text = re.sub(r"0x[0-9a-fA-F]+", "0x", re.sub(r"^\[\d\d:\d\d:\d\d\] ", "", lines[0]))
    return f"{type(error).__name__}: {text}"


def sampler(search: Search, number: int) -> optuna.samplers.BaseSampler:
    """The sampler of one trial, by its number."""
    import optuna

    digest = hashlib.sha256(f"{search.seed}/{number}".encode()).digest()
    seed = int.from_bytes(digest[:4], "big")
    return (
        optuna.samplers.TPESampler(seed=seed) if search.sampler == "tpe" else optuna.samplers.RandomSampler(seed=seed)
    )


def pruner(search: Search) -> optuna.pruners.BasePruner:
    """The pruner of the settings."""
    import optuna

    return optuna.pruners.MedianPruner() if search.pruner == "median" else optuna.pruners.NopPruner()
