"""The trials of a search, from the first to the last; a killed search goes on as if nothing had happened.

Optuna 5.0's samplers draw from a generator that lives in the process: taken up again, a seeded one repeats what it has
drawn. So each trial gets a sampler of its own, whose seed is derived from the trial's number. A trial is stored when it
has ended: of one that was killed nothing is left, and its number is tried again. Trials that run at the same time learn
from those before all of them, so that it does not matter which ends first. One trial is trial.py.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quantum_training.lifecycle.search.known_market import KnownMarket
from quantum_training.lifecycle.search.space import values_of
from quantum_training.lifecycle.search.trial import CPU, REASON, walks
from quantum_training.lifecycle.search.workers import trial_workers
from quantum_training.settings.schema import Recipe
from quantum_training.settings.search import Search

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class FinishedTrial:
    """A trial that has ended. chosen: the values of its fields. score: Sharpe ratio per bar of `net`, the net returns
    of the scored bars, None if it failed as `reason` says or was pruned; a pruned trial has the returns up to the fold
    after which it ended.
    """

    number: int
    chosen: dict[str, Any]
    state: str
    score: float | None
    reason: str | None
    net: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)


def open_study(storage: BaseStorage, name: str) -> Study:
    """The study of a search, created if it is new. All of its trials have ended."""
    import optuna

    return optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)


@dataclass(frozen=True)
class TrialRunner:
    """Runs the trials of a search. folder: keeps the returns of the trials until the search ends."""

    market: KnownMarket
    recipe: Recipe
    search: Search
    study: Study
    folder: Path
    progress: Callable[[str], None]

    def run(self) -> list[FinishedTrial]:
        """All trials of the budget, in order; those of an earlier, killed process are taken over."""
        import optuna

        ended = self.study.get_trials(deepcopy=False)
        learned = optuna.create_study(direction="maximize")
        together = self.search.parallel_trials
        with trial_workers(self.market, self.recipe, self.search) as run_trials:
            while len(ended) < self.search.trials:
                first = len(ended) // together * together
                if self._is_spent(ended[:first]):
                    break
                learned.add_trials(ended[len(learned.get_trials(deepcopy=False)) : first])
                numbers = range(len(ended), min(first + together, self.search.trials))
                for trial, net in run_trials(learned, numbers):
                    self._keep(len(ended), net)
                    self.study.add_trial(trial)
                    ended.append(trial)
                    self._report(trial, len(ended))
        return [self._finished(number, trial) for number, trial in enumerate(ended)]

    def clear(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _is_spent(self, ended: Sequence[FrozenTrial]) -> bool:
        cpu_seconds = sum(trial.user_attrs[CPU] for trial in ended)
        return _seconds(ended) >= (self.search.seconds or np.inf) or cpu_seconds >= (self.search.cpu_seconds or np.inf)

    def _report(self, trial: FrozenTrial, count: int) -> None:
        reason = trial.user_attrs.get(REASON)
        result = f"failed: {reason}" if reason else f"Sharpe ratio per bar {trial.value:.4f}"
        values = values_of(trial.params, self.search.space)
        shown = ", ".join(f"{place} {value}" for place, value in values.items())
        pruned = " when it was pruned" if trial.state.name == "PRUNED" else ""
        self.progress(f"trial {count} of {self.search.trials}: {shown}: {result}{pruned}")

    def _finished(self, number: int, trial: FrozenTrial) -> FinishedTrial:
        state = trial.state.name.lower()
        values, reason = values_of(trial.params, self.search.space), trial.user_attrs.get(REASON)
        score = trial.value if state == "complete" else None
        net = np.empty(0) if state == "fail" else self._returns(trial, number, values)
        return FinishedTrial(number, values, state, score, reason, net)

    def _returns(self, trial: FrozenTrial, number: int, values: dict[str, Any]) -> np.ndarray:
        """The returns that a trial has left; made again if another machine has them."""
        file = self._file(number)
        if file.exists():
            kept: np.ndarray = np.load(file, allow_pickle=False)
            return kept
        is_pruned = trial.state.name == "PRUNED"
        each_fold = [*walks(self.market, self.recipe, values, each_fold=is_pruned)]
        return each_fold[max(trial.intermediate_values) if is_pruned else -1].net

    def _keep(self, number: int, net: np.ndarray) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        new = self._file(number).with_suffix(".new.npy")
        np.save(new, net, allow_pickle=False)
        os.replace(new, self._file(number))

    def _file(self, number: int) -> Path:
        return self.folder / f"{number}.npy"


def _seconds(trials: Sequence[FrozenTrial]) -> float:
    """How long at least one of these trials ran: not between a search that was killed and its next run."""
    times = [(t.datetime_start, t.datetime_complete) for t in trials if t.datetime_start and t.datetime_complete]
    seconds, counted = 0.0, datetime.min
    for start, end in sorted(times):
        seconds += max((end - max(start, counted)).total_seconds(), 0.0)
        counted = max(end, counted)
    return seconds
