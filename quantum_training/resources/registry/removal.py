"""Removing from MLflow: versions with their runs and artefacts, runs that never became a version, old reports.

Which versions may go is not decided here: selection/retention.py. Not by MLflow's `gc` alone, which knows no aliases
and leaves the models' files. A version leaves the registry first, so that nobody finds one whose files are half gone;
what a kill leaves behind is then a run without a version, and goes the next time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any

import pandas as pd

from quantum_training.resources.cleanup.removal_count import RemovalCount
from quantum_training.resources.registry.errors import outages_named
from quantum_training.resources.registry.registry import FILES_TAG, ModelRegistry
from quantum_training.selection.retention import Registered

PAGE = 500
REPORTS = "backtest"
"""Folder of a run's artefacts that ModelRegistry.log_report fills, one file per week."""


@outages_named
def registered(registry: ModelRegistry, symbol: str) -> list[Registered]:
    """Every version of a symbol in MLflow, by its number; also those that a person registered by hand."""
    client = registry.client()
    found = _pages(lambda token: client.search_model_versions(f"name = '{symbol}'", PAGE, page_token=token))
    versions = [
        Registered(
            v.tags.get("model_id", ""),
            int(v.version),
            v.run_id,
            pd.Timestamp(v.creation_timestamp, unit="ms", tz="UTC"),
            v.tags.get("recipe", ""),
        )
        for v in found
    ]
    return sorted(versions, key=lambda v: v.number)


@outages_named
def remove(
    registry: ModelRegistry, symbol: str, going: Collection[Registered], before: pd.Timestamp, dry_run: bool
) -> dict[str, RemovalCount]:
    """Remove these versions of a symbol, and of what is older than `before` also runs without a version and reports.

    A version that an alias points at by now stays. The reports of versions with an alias stay, too. Returns what was
    removed, or with dry_run would be, by kind. On an MLflow server the emptied runs wait for `mlflow gc` there.
    """
    client = registry.client()
    experiment = client.get_experiment_by_name(symbol)
    if experiment is None:
        return {}
    artefacts = _Artefacts(experiment.artifact_location)
    if not dry_run:
        going = [version for version in going if _unregister(registry, symbol, version)]
    left_runs = {version.run_id for version in going}
    kept = {version.run_id: version for version in registered(registry, symbol) if version.run_id not in left_runs}
    versions, strays = RemovalCount(), RemovalCount()
    dead = [
        run
        for run in _runs(registry, experiment)
        if run.info.run_id not in kept
        and "model_id" in run.data.tags  # others are of people who try things in the symbol's experiment
        and run.info.start_time < before.timestamp() * 1000
    ]
    models = _models(registry, experiment) if dead else {}
    for run in dead:
        own = models.get(run.info.run_id, [])
        paths = [*(model.artifact_location for model in own), run.info.artifact_uri]
        one = RemovalCount(1, sum(artefacts.size(path) for path in paths))
        if run.info.run_id in left_runs:
            versions += one
        else:
            strays += one
        if not dry_run:
            for path in paths:
                artefacts.remove(path)
            _drop(registry, run, own)
    aliased = {*registry.aliases.of(symbol).values()}
    old = [v for v in kept.values() if v.model_id and v.created < before and v.number not in aliased]
    reports = _remove_reports(client, artefacts, old, before, dry_run)
    return {"versions": versions, "unregistered_runs": strays, "reports_in_mlflow": reports}


def _unregister(registry: ModelRegistry, symbol: str, version: Registered) -> bool:
    """Take a version from the registry; False where an alias points at it. MLflow would take the alias with it."""
    client, number = registry.client(), str(version.number)
    found = client.get_model_version(symbol, number)
    if found.aliases:
        return False
    told = {"model_id", "recipe", FILES_TAG}
    for tag in found.tags.keys() - told:  # MLflow keeps the tags of a deleted version for ever
        client.delete_model_version_tag(symbol, number, tag)
    client.delete_model_version(symbol, number)
    registry.forget(symbol, version.model_id)
    return True


def _drop(registry: ModelRegistry, run: Any, models: list[Any]) -> None:
    """Delete a run, last, and its models, whose files are gone: for good where MLflow is a database.

    By what `mlflow gc` calls, not by itself: it would also take what a person has deleted by mistake.
    """
    client = registry.client()
    store = client._tracking_client.store
    for model in models:
        if registry.is_server:
            client.delete_logged_model(model.model_id)
        else:
            store._hard_delete_logged_model(model.model_id)
    if registry.is_server:
        client.delete_run(run.info.run_id)
    else:
        store._hard_delete_run(run.info.run_id)


def _runs(registry: ModelRegistry, experiment: Any) -> Iterator[Any]:
    """The runs of an experiment; of a database also those that a killed housekeeping has left half-way."""
    from mlflow.entities import ViewType

    client = registry.client()
    view = ViewType.ACTIVE_ONLY if registry.is_server else ViewType.ALL
    ids = [experiment.experiment_id]
    return _pages(lambda token: client.search_runs(ids, "", view, PAGE, page_token=token))


def _models(registry: ModelRegistry, experiment: Any) -> dict[str, list[Any]]:
    """The logged models of an experiment by their run."""
    ask = partial(registry.client().search_logged_models, [experiment.experiment_id], max_results=PAGE)
    found: dict[str, list[Any]] = {}
    for model in _pages(lambda token: ask(page_token=token)):
        found.setdefault(model.source_run_id, []).append(model)
    return found


def _remove_reports(
    client: Any, artefacts: _Artefacts, versions: list[Registered], before: pd.Timestamp, dry_run: bool
) -> RemovalCount:
    """Remove the reports of weeks before that time from the runs of these versions."""
    removed = RemovalCount()
    for version in versions:
        for file in client.list_artifacts(version.run_id, REPORTS):
            week = file.path.rpartition("/")[2].partition(".")[0]
            if week < before.strftime("%Y-%m-%d"):
                removed += RemovalCount(1, file.file_size or 0)
                if not dry_run:
                    artefacts.remove(client.get_run(version.run_id).info.artifact_uri, file.path)
    return removed


class _Artefacts:
    """The artefacts of one experiment, in a folder, a bucket or behind an MLflow server."""

    def __init__(self, location: str) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        self.location = location.rstrip("/")
        self.repository = get_artifact_repository(location)

    def size(self, uri: str) -> int:
        """Bytes under the artefacts of a run or model."""
        return self._size(self._path(uri))

    def remove(self, uri: str, file: str = "") -> None:
        """Delete a file of a run's artefacts; without one, the folder of the run or model."""
        path = self._path(uri)
        self.repository.delete_artifacts(f"{path}/{file}" if file else path.removesuffix("/artifacts"))

    def _size(self, path: str) -> int:
        found = self.repository.list_artifacts(path)
        return sum(self._size(file.path) if file.is_dir else file.file_size or 0 for file in found)

    def _path(self, uri: str) -> str:
        if not uri.startswith(f"{self.location}/"):
            raise ValueError(f"{uri} lies outside its experiment's {self.location}; remove it by hand")
        return uri.removeprefix(self.location).strip("/")


def _pages(ask: Callable[[str | None], Any]) -> Iterator[Any]:
    """Everything that a paged question gives."""
    token = None
    while True:
        page = ask(token)
        yield from page
        token = page.token
        if not token:
            return
