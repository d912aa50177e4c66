"""A search in MLflow: a run, and one below it for each trial. What a killed process left is completed, not doubled."""

import shutil

import pytest

from quantum_training.resources.registry import search_runs
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.registry.search_runs import LoggedSearch, LoggedTrial, log_search

TRIALS = [
    LoggedTrial(0, "complete", {"params.eta": 0.1}, {"sharpe_per_bar": 0.2, "cpu_seconds": 1.0}, ""),
    LoggedTrial(1, "fail", {"params.eta": 0.2}, {"cpu_seconds": 1.0}, "ValueError: bad\x00"),
    LoggedTrial(2, "pruned", {"params.eta": 0.3}, {"cpu_seconds": 1.0}, ""),
]
SEARCH = LoggedSearch(
    "0123456789abcdef",
    "search xgboost 2020-01-27",
    "3 trials",
    {"recipe": "xgboost"},
    {"trials": 3, "label": {"kind": "x" * 9000}},
    {"effective_trials": 2.5},
    {"challenger.yaml": "recipes: {}"},
    TRIALS,
)


@pytest.fixture
def registry(tmp_path, empty_mlflow):
    shutil.copy(empty_mlflow, tmp_path)
    return ModelRegistry(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")


def runs(registry):
    client = registry.client()
    found = client.search_runs([client.get_experiment_by_name("AAA").experiment_id])
    return {run.data.tags.get("trial", "parent"): run for run in found}, len(found)


def test_each_trial_is_a_run_below_the_search(registry):
    url = log_search(registry, "AAA", SEARCH)
    logged, count = runs(registry)
    assert count == 4
    parent = logged.pop("parent")
    assert parent.info.run_id in url
    assert parent.data.metrics == {"effective_trials": 2.5}
    assert registry.client().list_artifacts(parent.info.run_id)[0].path == "challenger.yaml"
    assert {run.data.tags["mlflow.parentRunId"] for run in logged.values()} == {parent.info.run_id}
    assert [logged[n].info.status for n in "012"] == ["FINISHED", "FAILED", "KILLED"]
    assert logged["1"].data.tags["mlflow.note.content"] == "ValueError: bad\\x00"
    assert logged["0"].data.metrics["sharpe_per_bar"] == 0.2
    assert log_search(registry, "AAA", SEARCH) == url
    assert runs(registry)[1] == 4


@pytest.mark.parametrize("calls", [1, 2, 4])
def test_a_log_that_was_cut_off_is_completed(registry, monkeypatch, calls):
    """The process dies at so many of its writes: those of the search, then those of each trial."""
    with monkeypatch.context() as patched:
        left, log = [calls], search_runs._log

        def dying(*arguments):
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt
            log(*arguments)

        patched.setattr(search_runs, "_log", dying)
        with pytest.raises(KeyboardInterrupt):
            log_search(registry, "AAA", SEARCH)
    log_search(registry, "AAA", SEARCH)
    logged, count = runs(registry)
    assert count == 4
    assert {run.info.status for run in logged.values()} == {"FINISHED", "FAILED", "KILLED"}
