"""The trials of a search, one after the other, by Optuna; a killed search goes on as if nothing had happened.

Optuna 5.0's samplers draw from a generator that lives in the process: taken up again, a seeded one repeats what it has
drawn. So each trial gets a sampler of its own, whose seed is derived from the trial's number; what it learns from is in
the storage. A trial that a killed process left is failed, counts as none, and its number is tried again.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from quantum_training.lifecycle.search.known_market import KnownMarket
from quantum_training.lifecycle.search.objective import Walk, walk_forward
from quantum_training.lifecycle.search.space import suggest, values_of
from quantum_training.settings.schema import Recipe
from quantum_training.settings.search import Search

if TYPE_CHECKING:
    import optuna

NUMBER, REASON, CPU = "number", "reason", "cpu_seconds"
"""Attributes of a trial in Optuna: its number among the trials that count, why it failed, and what it took."""


@dataclass(frozen=True)
class FinishedTrial:
    """A trial that counts. chosen: the values of its fields. score: Sharpe ratio per bar of `net`, the net returns of
    the scored bars, None if it failed as `reason` says or was pruned; a pruned trial has the returns up to the fold
    after which it ended.
    """

    number: int
    chosen: dict[str, Any]
    state: str
    score: float | None
    reason: str | None
    net: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)


def open_study(storage: optuna.storages.BaseStorage, name: str) -> optuna.Study:
    """The study of a search, created if it is new."""
    import optuna

    return optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)


def ended_trials(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that count: they ended by themselves. One that failed has a reason, an abandoned one has not."""
    import optuna

    failed = optuna.trial.TrialState.FAIL
    trials = study.get_trials(deepcopy=False)
    return [t for t in trials if t.state.is_finished() and (t.state != failed or REASON in t.user_attrs)]


@dataclass(frozen=True)
class TrialRunner:
    """Runs the trials of a search. folder: keeps the returns of the trials until the search ends."""

    market: KnownMarket
    recipe: Recipe
    search: Search
    study: optuna.Study
    folder: Path
    progress: Callable[[str], None]

    def run(self) -> list[FinishedTrial]:
        """All trials of the budget, in order; those of an earlier, killed process are taken over."""
        self._fail_abandoned()
        while len(ended := ended_trials(self.study)) < self.search.trials and not self._is_spent(ended):
            self._run_trial(len(ended))
        return [self._finished(trial) for trial in ended_trials(self.study)]

    def clear(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _fail_abandoned(self) -> None:
        import optuna

        for trial in self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            self.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    def _is_spent(self, ended: list[optuna.trial.FrozenTrial]) -> bool:
        seconds = sum(trial.duration.total_seconds() for trial in ended if trial.duration)
        cpu_seconds = sum(trial.user_attrs.get(CPU, 0.0) for trial in ended)
        return seconds >= (self.search.seconds or np.inf) or cpu_seconds >= (self.search.cpu_seconds or np.inf)

    def _run_trial(self, number: int) -> None:
        import optuna

        self.study.sampler, self.study.pruner = sampler(self.search, number), pruner(self.search)
        trial = self.study.ask()
        trial.set_user_attr(NUMBER, number)
        began = time.process_time()
        state, score = optuna.trial.TrialState.FAIL, None
        values = suggest(trial, self.search.space)
        net, reason = np.empty(0), None
        can_be_pruned = self.search.pruner != "none"
        for fold, walk in enumerate(_walks(self.market, self.recipe, values, can_be_pruned)):
            net, score, reason = walk
            if can_be_pruned and score is not None:
                trial.report(score, fold)
                if fold + 1 < self.search.folds and trial.should_prune():
                    state = optuna.trial.TrialState.PRUNED
                    break
        else:
            if reason is None:
                state = optuna.trial.TrialState.COMPLETE
        self._keep(number, net)
        trial.set_user_attr(CPU, round(time.process_time() - began, 3))
        if state == optuna.trial.TrialState.FAIL:
            trial.set_user_attr(REASON, reason)
        self.study.tell(trial, score if state == optuna.trial.TrialState.COMPLETE else None, state=state)
        result = f"failed: {reason}" if reason else f"Sharpe ratio per bar {score:.4f}"
        shown = ", ".join(f"{place} {value}" for place, value in values.items())
        pruned = " when it was pruned" if state == optuna.trial.TrialState.PRUNED else ""
        self.progress(f"trial {number + 1} of {self.search.trials}: {shown}: {result}{pruned}")

    def _finished(self, trial: optuna.trial.FrozenTrial) -> FinishedTrial:
        number, state = trial.user_attrs[NUMBER], trial.state.name.lower()
        values, reason = values_of(trial.params, self.search.space), trial.user_attrs.get(REASON)
        score = trial.value if state == "complete" else None
        net = np.empty(0) if state == "fail" else self._returns(trial, number, values)
        return FinishedTrial(number, values, state, score, reason, net)

    def _returns(self, trial: optuna.trial.FrozenTrial, number: int, values: dict[str, Any]) -> np.ndarray:
        """The returns that a trial has left; made again if another machine has them."""
        file = self._file(number)
        if file.exists():
            kept: np.ndarray = np.load(file, allow_pickle=False)
            return kept
        is_pruned = trial.state.name == "PRUNED"
        walks = [*_walks(self.market, self.recipe, values, each_fold=is_pruned)]
        return walks[max(trial.intermediate_values) if is_pruned else -1].net

    def _keep(self, number: int, net: np.ndarray) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        new = self._file(number).with_suffix(".new.npy")
        np.save(new, net, allow_pickle=False)
        os.replace(new, self._file(number))

    def _file(self, number: int) -> Path:
        return self.folder / f"{number}.npy"


def _walks(market: KnownMarket, recipe: Recipe, values: dict[str, Any], each_fold: bool) -> Iterator[Walk]:
    """The trial of these values; one that raises ends with its error as the reason."""
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
