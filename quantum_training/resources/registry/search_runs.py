"""A search in MLflow: a parent run with what it has found, and below it a run for each trial. No version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from quantum_training.resources.registry.connection import checked_name
from quantum_training.resources.registry.errors import outages_named
from quantum_training.resources.registry.registry import ModelRegistry, RegisteredVersion
from quantum_training.resources.texts import MLFLOW_PARAM, MLFLOW_RUN_TAG, bounded

SEARCH_ID, TRIAL_OF, TRIAL = "search_id", "trial_of", "trial"
"""Tags: the search of a parent run; the search of a trial's run, and the trial's number."""
NOTE = "mlflow.note.content"
MAX_TRIALS = 5000
ENDINGS = {"complete": "FINISHED", "pruned": "KILLED", "fail": "FAILED"}
"""MLflow's status of a trial's run, by the state of the trial."""


class LoggedTrial(NamedTuple):
    """A trial as MLflow shows it. state: a key of ENDINGS; note: why it failed, or nothing."""

    number: int
    state: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    note: str


class LoggedSearch(NamedTuple):
    """A search as MLflow shows it. note: a sentence; texts: files by name."""

    search_id: str
    name: str
    note: str
    tags: Mapping[str, str]
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    texts: Mapping[str, str]
    trials: Sequence[LoggedTrial]


@outages_named
def log_search(registry: ModelRegistry, symbol: str, search: LoggedSearch) -> str:
    """Log a search in the experiment of a symbol. Returns the address of its run in MLflow's UI.

    Logged again, it adds what is missing; a run that is complete stays as it is.
    """
    client, experiment = registry.client(), registry.prepare(symbol)
    parent = _run(client, experiment, f"tags.{SEARCH_ID} = '{checked_name(search.search_id)}'")
    if parent is None:
        tags = {**search.tags, SEARCH_ID: search.search_id, NOTE: bounded(search.note, MLFLOW_RUN_TAG)}
        parent = client.create_run(experiment, tags=tags, run_name=search.name)
    parent_id = parent.info.run_id
    if parent.info.status == "RUNNING":
        _log(client, parent_id, search.params, search.metrics)
        for file, text in search.texts.items():
            client.log_text(parent_id, text, file)
        same = f"tags.{TRIAL_OF} = '{checked_name(search.search_id)}'"
        logged = {r.data.tags[TRIAL]: r for r in client.search_runs([experiment], same, max_results=MAX_TRIALS)}
        for trial in search.trials:
            run = logged.get(str(trial.number))
            if run is not None and run.info.status != "RUNNING":
                continue
            if run is None:
                tags = {"mlflow.parentRunId": parent_id, TRIAL_OF: search.search_id, TRIAL: str(trial.number)}
                run = client.create_run(experiment, tags=tags, run_name=f"{search.name}, trial {trial.number + 1}")
            _log(client, run.info.run_id, trial.params, trial.metrics, trial.note)
            client.set_terminated(run.info.run_id, ENDINGS[trial.state])
        client.set_terminated(parent_id)
    return registry.run_url(symbol, RegisteredVersion(0, parent_id))


def _run(client: Any, experiment: str, query: str) -> Any:
    runs = client.search_runs([experiment], query, max_results=1, order_by=["attributes.start_time ASC"])
    return runs[0] if runs else None


def _log(client: Any, run_id: str, params: Mapping[str, Any], metrics: Mapping[str, float], note: str = "") -> None:
    from mlflow.entities import Metric, Param, RunTag

    client.log_batch(
        run_id,
        metrics=[Metric(name, value, 0, 0) for name, value in metrics.items()],
        params=[Param(name, bounded(str(value), MLFLOW_PARAM)) for name, value in params.items()],
        tags=[RunTag(NOTE, bounded(note, MLFLOW_RUN_TAG))] if note else [],
    )
