"""Is a recorded version in MLflow, with its artefact? Many are asked about at once. Nothing is loaded or changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from quantum_training.models.manifest import ArtefactError
from quantum_training.resources.registry.connection import checked_name
from quantum_training.resources.registry.errors import outages_named
from quantum_training.resources.registry.registry import ModelRegistry

MAX_PAGE = 500
"""Versions of one request."""

Versions = dict[str, Any]
"""MLflow's versions by model id."""


class BrokenArtefact(NamedTuple):
    """What is wrong with an artefact. is_gone: nothing is left of it, as in a backup that is older than it."""

    problem: str
    is_gone: bool = False


@outages_named
def registered_versions(registry: ModelRegistry, symbol: str, model_ids: Collection[str]) -> Versions:
    """Those of these versions that are registered for the symbol; the newest versions are looked through first."""
    versions: Versions = {}
    if not model_ids:
        return versions
    for version in _newest_first(registry, symbol, min(2 * len(model_ids), MAX_PAGE)):
        if (model_id := version.tags.get("model_id")) in model_ids:
            versions[str(model_id)] = version
        if len(versions) == len({*model_ids}):
            break
    return versions


def _newest_first(registry: ModelRegistry, symbol: str, page_size: int) -> Iterator[Any]:
    """All versions of a symbol in pages of this size: MLflow takes a millisecond for each version of a page."""
    client, token, same = registry.client(), None, f"name = '{checked_name(symbol)}'"
    while True:
        page = client.search_model_versions(same, page_size, ["creation_timestamp DESC"], page_token=token)
        yield from page
        token = page.token
        if not token:
            return


@outages_named
def broken_artefacts(
    registry: ModelRegistry, symbol: str, experiment: Any, versions: Versions
) -> dict[str, BrokenArtefact]:
    """What is wrong with the artefacts of these versions, by model id; without those that are whole.

    In a folder of this machine the hash of each file is compared; elsewhere the artefact must exist. experiment: the
    symbol's, None if there is none.
    """
    client, listings = registry.client(), _Listings()
    broken = {}
    for model_id, version in versions.items():
        usual = (
            f"{experiment.artifact_location}/models/{version.source.rpartition('/')[2]}/artifacts" if experiment else ""
        )
        if usual and not _problem(registry, usual, version, listings):
            continue
        address = client.get_model_version_download_uri(symbol, str(version.version))
        if problem := _problem(registry, address, version, listings):
            broken[model_id] = problem
    return broken


@outages_named
def name_of(registry: ModelRegistry, symbol: str, model_ids: Collection[str]) -> str | None:
    """The other registered model that has one of these versions of the symbol, None if no one has."""
    for model_id in model_ids:
        versions = registry.client().search_model_versions(f"tags.model_id = '{checked_name(model_id)}'")
        if names := sorted({str(version.name) for version in versions} - {symbol}):
            return names[0]
    return None


@outages_named
def experiment_of(registry: ModelRegistry, symbol: str, run_id: str) -> Any:
    """The experiment that holds a run of the symbol; None if the run is gone."""
    from mlflow.exceptions import MlflowException

    client = registry.client()
    try:
        return client.get_experiment(client.get_run(run_id).info.experiment_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


@outages_named
def was_deleted(registry: ModelRegistry, symbol: str, model_id: str) -> bool:
    """Has MLflow the run of a version that is not registered any more? Then somebody deleted it there."""
    from mlflow.entities import ViewType

    experiment = registry.experiment(symbol)
    same = f"tags.model_id = '{checked_name(model_id)}'"
    return experiment is not None and bool(
        registry.client().search_runs([experiment.experiment_id], same, ViewType.ALL, 1)
    )


class _Listings(dict[str, set[str]]):
    """The names below an address of artefacts, listed once."""

    def __missing__(self, address: str) -> set[str]:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        listed = get_artifact_repository(address).list_artifacts()
        self[address] = {file.path.rpartition("/")[2] for file in listed or []}
        return self[address]


def _problem(registry: ModelRegistry, address: str, version: Any, listings: _Listings) -> BrokenArtefact | None:
    """What is wrong with the artefact at an address; None if nothing is."""
    parts = urlsplit(address)
    if parts.scheme not in ("", "file"):
        parent, _, name = address.removesuffix("/artifacts").rpartition("/")
        return None if name in listings[parent] else BrokenArtefact(f"its artefact is not at {address}", is_gone=True)
    folder = Path(unquote(parts.path))
    if not folder.is_dir():
        return BrokenArtefact(f"its artefact is not in {folder}", is_gone=True)
    try:
        registry.require_unchanged(folder, version)
    except ArtefactError as error:
        return BrokenArtefact(f"its artefact in {folder}: {error}")
    return None
