"""Removal from MLflow: versions with their runs and artefacts, runs that never became a version, old reports.

selection/retention.py decides which versions may be removed. MLflow's `gc` would not do: it ignores aliases and leaves
the models' files. A version is deleted from the registry first, so that no reader meets one with half of its files. A
killed removal leaves a run without a version, which the next removal deletes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any

import pandas as pd

from quantum_training.resources.cleanup.removal_count import RemovalCount
from quantum_training.resources.registry.artefact_hashes import FILES_TAG, MODEL_TAG
from quantum_training.resources.registry.errors import outages_named
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.selection.retention import Registered

PAGE = 500
REPORTS = "backtest"
"""Folder of a run's artefacts that ModelRegistry.log_report fills, one file per week."""


@outages_named
def registered(registry: ModelRegistry, symbol: str) -> list[Registered]:
    """Every version of a symbol in MLflow in the order of their numbers, also those that a person registered."""
    client = registry.client()
    pages = _pages(lambda token: client.search_model_versions(f"name = '{symbol}'", PAGE, page_token=token))
    versions = [
        Registered(
            v.tags.get("model_id", ""),
            int(v.version),
            v.run_id,
            pd.Timestamp(v.creation_timestamp, unit="ms", tz="UTC"),
            v.tags.get("recipe", ""),
        )
        for v in pages
    ]
    return sorted(versions, key=lambda v: v.number)


@outages_named
def remove(
    registry: ModelRegistry, symbol: str, expired: Collection[Registered], before: pd.Timestamp, dry_run: bool
) -> dict[str, RemovalCount]:
    """Remove the expired versions of a symbol, and its runs without a version and reports from before a time.

    A version that has an alias by now stays, with its reports. Returns the counts by kind; with dry_run nothing is
    removed. An MLflow server keeps the emptied runs until `mlflow gc` is run there.
    """
    client = registry.client()
    experiment = client.get_experiment_by_name(symbol)
    if experiment is None:
        return {}
    artefacts = _Artefacts(experiment.artifact_location)
    if not dry_run:
        expired = [version for version in expired if _unregister(registry, symbol, version)]
    expired_runs = {version.run_id for version in expired}
    remaining = {v.run_id: v for v in registered(registry, symbol) if v.run_id not in expired_runs}
    versions, unregistered = RemovalCount(), RemovalCount()
    dead_runs = [
        run
        for run in _runs(registry, experiment)
        if run.info.run_id not in remaining
        and "model_id" in run.data.tags  # people may have runs of their own in the symbol's experiment
        and run.info.start_time < before.timestamp() * 1000
    ]
    models = _models(registry, experiment) if dead_runs else {}
    for run in dead_runs:
        run_models = models.get(run.info.run_id, [])
        paths = [*(model.artifact_location for model in run_models), run.info.artifact_uri]
        count = RemovalCount(1, sum(artefacts.size(path) for path in paths))
        if run.info.run_id in expired_runs:
            versions += count
        else:
            unregistered += count
        if not dry_run:
            for path in paths:
                artefacts.remove(path)
            _delete_run(registry, run, run_models)
    aliased = {*registry.aliases.of(symbol).values()}
    old = [v for v in remaining.values() if v.model_id and v.created < before and v.number not in aliased]
    reports = _remove_reports(client, artefacts, old, before, dry_run)
    return {"versions": versions, "unregistered_runs": unregistered, "reports_in_mlflow": reports}


def _unregister(registry: ModelRegistry, symbol: str, version: Registered) -> bool:
    """Delete a version from the registry; False if an alias points at it, which MLflow would delete too."""
    client, number = registry.client(), str(version.number)
    entry = client.get_model_version(symbol, number)
    if entry.aliases:
        return False
    identity_tags = {"model_id", "recipe", FILES_TAG, MODEL_TAG}
    for tag in entry.tags.keys() - identity_tags:  # MLflow keeps the tags of a deleted version for ever
        client.delete_model_version_tag(symbol, number, tag)
    client.delete_model_version(symbol, number)
    registry.forget(symbol, version.model_id)
    return True


def _delete_run(registry: ModelRegistry, run: Any, models: list[Any]) -> None:
    """Delete the models of a run, whose files are already removed, and then the run. In a database that is final.

    It calls what `mlflow gc` calls. That itself would also remove what a person has deleted by mistake.
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
    """The runs of an experiment; in a database also those that a killed removal has marked as deleted."""
    from mlflow.entities import ViewType

    client = registry.client()
    view = ViewType.ACTIVE_ONLY if registry.is_server else ViewType.ALL
    ids = [experiment.experiment_id]
    return _pages(lambda token: client.search_runs(ids, "", view, PAGE, page_token=token))


def _models(registry: ModelRegistry, experiment: Any) -> dict[str, list[Any]]:
    """The logged models of an experiment by their run."""
    search = partial(registry.client().search_logged_models, [experiment.experiment_id], max_results=PAGE)
    models: dict[str, list[Any]] = {}
    for model in _pages(lambda token: search(page_token=token)):
        models.setdefault(model.source_run_id, []).append(model)
    return models


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
        """Delete one file of the artefacts; without a name, the folder of the run or model."""
        path = self._path(uri)
        self.repository.delete_artifacts(f"{path}/{file}" if file else path.removesuffix("/artifacts"))

    def _size(self, path: str) -> int:
        files = self.repository.list_artifacts(path)
        return sum(self._size(file.path) if file.is_dir else file.file_size or 0 for file in files)

    def _path(self, uri: str) -> str:
        if not uri.startswith(f"{self.location}/"):
            raise ValueError(f"{uri} lies outside its experiment's {self.location}; remove it by hand")
        return uri.removeprefix(self.location).strip("/")


def _pages(search: Callable[[str | None], Any]) -> Iterator[Any]:
    """All entries of a paged search."""
    token = None
    while True:
        page = search(token)
        yield from page
        token = page.token
        if not token:
            return
