"""Trials at the same time: the same record whichever ends first, and processes that end with the search."""

import os
import subprocess
import sys
from dataclasses import replace

import optuna
import pandas as pd
import psutil
import pytest

from quantum_training.lifecycle.search.known_market import KnownMarket
from quantum_training.lifecycle.search.search_recipe import search_recipe
from quantum_training.lifecycle.search.study import TrialRunner, open_study
from quantum_training.lifecycle.search.trial import CPU, run_trial
from quantum_training.lifecycle.search.workers import THREADS, TrialProcessDied
from quantum_training.resources.searches import open_searches
from quantum_training_tests.lifecycle.search.conftest import TASK
from quantum_training_tests.lifecycle.search.test_objective import SCORED, recipe, xor_market
from quantum_training_tests.lifecycle.search.test_search_recipe import other_home
from quantum_training_tests.support import mortal_xgboost
from quantum_training_tests.support.processes import wait_for

SPACE = {"params.max_depth": {"low": 1, "high": 4}, "params.eta": {"low": 0.05, "high": 0.5, "log": True}}


def searched_recipe(**search):
    return recipe(**{"space": SPACE, "trials": 16, "bars": SCORED, "folds": 3, "parallel_trials": 3, **search})


def runner(searched, folder, study=None, progress=lambda line: None):
    study = study or open_study(optuna.storages.InMemoryStorage(), "parallel")
    return TrialRunner(xor_market(), searched, searched.search, study, folder, progress)


def outcomes(trials):
    return [(t.params, t.value, t.state, [*t.intermediate_values.items()]) for t in trials]


def one_after_the_other(searched):
    """The same trials in this process, each batch from its last one to its first, on the trials of earlier batches."""
    market, ended, together = xor_market(), [], searched.search.parallel_trials
    for first in range(0, searched.search.trials, together):
        batch = []
        for number in reversed(range(first, min(first + together, searched.search.trials))):
            learned = optuna.create_study(direction="maximize")
            learned.add_trials(ended)
            batch.append(run_trial(learned, market, searched, searched.search, number).trial)
        ended += reversed(batch)
    return ended


@pytest.mark.long
@pytest.mark.parametrize("pruner", ["none", "median"])
def test_a_trial_learns_from_earlier_batches_only_and_the_trials_keep_their_order(tmp_path, pruner):
    searched, lines, threads = searched_recipe(pruner=pruner), [], set()

    def progress(line):
        lines.append(line)
        threads.update(child.environ().get(THREADS) for child in trial_processes())

    made = runner(searched, tmp_path, progress=progress)
    trials = made.run()
    assert outcomes(made.study.get_trials()) == outcomes(one_after_the_other(searched))
    assert [trial.number for trial in trials] == [*range(16)]
    assert [line.split(":")[0] for line in lines] == [f"trial {n} of 16" for n in range(1, 17)]
    assert threads == {"1"}
    assert THREADS not in os.environ
    wait_for("end of the trials' processes", lambda: not trial_processes(), 10)


def trial_processes(parent: int | None = None) -> list[psutil.Process]:
    return [p for p in psutil.Process(parent).children() if "spawn_main" in " ".join(p.cmdline())]


SCRIPT = """
import os, signal, sys
import psutil
from quantum_training.lifecycle.search.search_recipe import search_recipe
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings
from quantum_training_tests.lifecycle.search.conftest import TASK

def progress(line):
    if line.startswith(sys.argv[2]):
        print(*(child.pid for child in psutil.Process().children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

search_recipe(load_settings(), Store(root=sys.argv[1]), TASK, progress)
"""


@pytest.mark.long
def test_a_search_that_is_killed_takes_its_processes_along_and_goes_on_with_the_same_result(searched, tmp_path):
    services = searched(trials=13, parallel_trials=3)
    undisturbed = search_recipe(*other_home(services, tmp_path / "other"), TASK)
    assert undisturbed.trials == 13
    for number in (2, 6):  # in the middle of a batch, and at the end of another
        command = [sys.executable, "-c", SCRIPT, services.store.root, f"trial {number} "]
        killed = subprocess.run(command, capture_output=True, text=True, check=False)
        pids = [int(pid) for pid in killed.stdout.split()]
        assert len(pids) >= 3, killed.stderr[-2000:]
        wait_for("end of the trials' processes", lambda pids=pids: not any(map(psutil.pid_exists, pids)), 10)
        study = open_study(open_searches(services.settings.database_url), undisturbed.search_id)
        assert len(study.get_trials()) == number
    assert search_recipe(services.settings, services.store, TASK) == undisturbed


@pytest.mark.long
def test_a_process_that_is_killed_is_an_error_that_says_what_to_do_and_the_search_goes_on(
    searched, small, tmp_path, monkeypatch
):
    marker = tmp_path / "mortal"
    monkeypatch.setenv(mortal_xgboost.VARIABLE, str(marker))
    small["recipes"]["xgboost"] |= {"algorithm": mortal_xgboost.__name__, "params": {"max_rounds": 5}}
    services = searched(trials=9, parallel_trials=3)
    undisturbed = search_recipe(*other_home(services, tmp_path / "other"), TASK)
    lines = []

    def progress(line):
        lines.append(line)
        marker.touch()

    with pytest.raises(TrialProcessDied, match=r"was killed.*Run the search again: it goes on after the last trial"):
        search_recipe(services.settings, services.store, TASK, progress)
    marker.unlink()
    assert 1 <= len(lines) <= 3
    goes_on = []
    assert search_recipe(services.settings, services.store, TASK, goes_on.append) == undisturbed
    assert len(goes_on) == 9 - len(lines)


class UnsendableError(OSError):
    """An error that can be pickled and not be read again, as a library's with a signature of its own."""

    def __init__(self, file: str, *, code: int) -> None:
        super().__init__(f"{file} cannot be read: {code}")


class LostMarket(KnownMarket):
    """One whose files are gone."""

    @property
    def fold_bars(self):
        raise UnsendableError("bars", code=3)


@pytest.mark.long
def test_an_error_that_cannot_be_sent_from_a_process_is_told_in_its_words(tmp_path):
    lost = LostMarket(**vars(xor_market()))
    with pytest.raises(RuntimeError, match="UnsendableError: bars cannot be read: 3"):
        replace(runner(searched_recipe(), tmp_path), market=lost).run()


@pytest.mark.long
def test_what_ends_a_search_ends_its_processes(tmp_path):
    def progress(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner(searched_recipe(), tmp_path, progress=progress).run()
    wait_for("end of the trials' processes", lambda: not trial_processes(), 10)


@pytest.mark.long
def test_seconds_of_trials_at_the_same_time_count_once_and_their_cpu_seconds_each(tmp_path):
    def ended(second: int) -> optuna.trial.FrozenTrial:
        params = {"params.max_depth": 1, "params.eta": 0.1}
        distributions = {
            "params.max_depth": optuna.distributions.IntDistribution(1, 4),
            "params.eta": optuna.distributions.FloatDistribution(0.05, 0.5, log=True),
        }
        trial = optuna.trial.create_trial(value=0.1, params=params, distributions=distributions, user_attrs={CPU: 10.0})
        start = pd.Timestamp("2024-01-01") + pd.Timedelta(seconds=second)
        trial.datetime_start, trial.datetime_complete = start, start + pd.Timedelta(seconds=10)
        return trial

    def trials_within(seconds_of_starts=(0, 1, 20, 21), **budget) -> int:
        study = open_study(optuna.storages.InMemoryStorage(), "parallel")
        study.add_trials([ended(second) for second in seconds_of_starts])
        searched = searched_recipe(trials=6, parallel_trials=2, **budget)
        return len(runner(searched, tmp_path, study).run())

    assert trials_within(seconds=22) == 4
    assert trials_within(seconds=23) == 6
    assert trials_within(cpu_seconds=40) == 4
    in_the_middle = (0, 1, 20)  # what is killed there goes on years later: the time between is no time of trials
    assert trials_within(in_the_middle, seconds=1000) == 6
    assert trials_within(in_the_middle, cpu_seconds=25) == 4  # as an undisturbed one, whose batch had begun
