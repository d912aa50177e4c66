"""Where the trials of a search run: in this process one after the other, or each of several in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from itertools import repeat
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Thread
from typing import TYPE_CHECKING

from quantum_training.lifecycle.search.known_market import KnownMarket
from quantum_training.lifecycle.search.trial import EndedTrial, run_trial
from quantum_training.settings.schema import Recipe
from quantum_training.settings.search import Search

if TYPE_CHECKING:
    import optuna

THREADS = "OMP_NUM_THREADS"
"""The variable that OpenMP, OpenBLAS and MKL take their number of threads from when they are loaded."""

RunTrials = Callable[["optuna.Study", Iterable[int]], Iterator[EndedTrial]]

_searched: list[tuple[KnownMarket, Recipe, Search]] = []
"""What a worker process searches: the one that it was started for."""


class TrialProcessDied(RuntimeError):  # noqa: N818 - what has happened
    """A process that ran a trial has ended without a result. The message says what to do."""


@contextmanager
def trial_workers(market: KnownMarket, recipe: Recipe, search: Search) -> Iterator[RunTrials]:
    """`run(study, numbers)`: runs the trials of these numbers, each on what the study holds, and yields them in order.

    With `parallel_trials` above 1 each runs on a copy of the study in a process of its own, and at most so many numbers
    are to be given. TrialProcessDied if a process is killed; else errors are those of run_trial, as a RuntimeError if
    they are none of Python's own. The processes end with this one, whatever ends it.
    """
    if search.parallel_trials == 1:
        yield lambda study, numbers: (run_trial(study, market, recipe, search, number) for number in numbers)
        return
    context = get_context("spawn")  # a fork would copy locks of this process's threads
    parent, held = context.Pipe(duplex=False)
    task = (replace(market), recipe, search)  # without what it has cached
    pool = ProcessPoolExecutor(search.parallel_trials, context, _begin, (task, parent))

    def run(study: optuna.Study, numbers: Iterable[int]) -> Iterator[EndedTrial]:
        try:
            yield from pool.map(_run, repeat(study), numbers)
        except BrokenProcessPool as error:
            raise TrialProcessDied(
                "a process of the search's trials was killed, perhaps because memory ran out. Run the search again: it "
                "goes on after the last trial that has ended. If memory is short, give the machine more: a search with "
                "fewer parallel_trials is another search"
            ) from error

    with _one_thread(), held, pool:
        try:
            yield run
        except BaseException:
            held.close()  # nobody waits for the trials that run
            raise


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes that begin meanwhile use one thread each, unless the variable says otherwise."""
    is_set = THREADS in os.environ
    os.environ.setdefault(THREADS, "1")
    try:
        yield
    finally:
        if not is_set:
            os.environ.pop(THREADS, None)


def _begin(task: tuple[KnownMarket, Recipe, Search], parent: Connection) -> None:
    _searched[:] = [task]
    Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Connection) -> None:
    """End this process when the other end of the pipe is closed, by the parent or by its death."""
    parent.poll(None)
    os._exit(1)


def _run(study: optuna.Study, number: int) -> EndedTrial:
    try:
        return run_trial(study, *_searched[0], number)
    except Exception as error:
        if type(error).__module__ == "builtins":
            raise
        # one that cannot be pickled would be taken for the death of this process
        raise RuntimeError(f"{type(error).__name__}: {error}") from error
