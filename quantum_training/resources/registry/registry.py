"""The model registry: trained versions in MLflow. What a version's files are is said in artefact.py.

One experiment and one registered model per symbol, one MLflow run per version. A version is known by its `model_id`
tag, the identity of what it was made from; MLflow's number depends on the order of training and is only shown.
"""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from quantum_training.models.contract import Model
from quantum_training.models.manifest import ArtefactError
from quantum_training.resources.registry.artefacts import checked_model, log_model
from quantum_training.resources.registry.connection import is_server, open_store, prepare, without_login
from quantum_training.resources.registry.errors import RegistryError, VersionDeleted, outage, outages_named
from quantum_training.settings.paths import under_dagster_home
from quantum_training.settings.schema import NAME_LENGTH, NAME_PATTERN

FILES_TAG = "artifact_files"
"""Tag of a version: the SHA-256 of each file of its artefact, as JSON."""

_seen: dict[tuple[str, str, str], "RegisteredVersion"] = {}
"""Versions that this process found before, by tracking URI, symbol and model_id: MLflow takes long to search."""


class RegisteredVersion(NamedTuple):
    """Where a version lives in MLflow."""

    number: int
    run_id: str


@dataclass(frozen=True)
class ModelRegistry:
    """Versions of each symbol's models, and the aliases that say which one trades."""

    tracking_uri: str = ""
    ui_url: str = "http://127.0.0.1:5000"

    @outages_named
    def find(self, symbol: str, model_id: str) -> RegisteredVersion | None:
        """The registered version with this identity, or None."""
        found = self.client().search_model_versions(f"name = '{_name(symbol)}' and tags.model_id = '{_name(model_id)}'")
        if not found:
            return None
        oldest = min(found, key=lambda v: int(v.version))
        return RegisteredVersion(int(oldest.version), oldest.run_id)

    @outages_named
    def find_shared(self, shared_fit: str) -> tuple[str, str] | None:
        """Symbol and model_id of a registered version of the fit that several symbols share, or None."""
        found = self.client().search_model_versions(f"tags.shared_fit = '{_name(shared_fit)}'")
        return min(((v.name, v.tags["model_id"]) for v in found), default=None)

    @outages_named
    def register(
        self,
        symbol: str,
        model: Model,
        algorithm: str,
        example: pd.DataFrame,
        *,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        started: pd.Timestamp,
        curves: Sequence[Mapping[str, float]] = (),
        still_alone: Callable[[], None] = lambda: None,
    ) -> RegisteredVersion:
        """Log a run with the model, load it back, compare its positions on `example`, and only then register it.

        `tags` must hold model_id and recipe. curves: points with a `step`, logged as metrics training/<name>.
        still_alone: called at last, as locks.alone gives it; a version that another process registered meanwhile
        stands. The run is finished before it has a version, so one with this model_id and without a version is of a
        process that died, and is marked killed. RegistryError where the copy decides otherwise.
        """
        client = self.client()
        experiment = self._experiment(symbol)
        start = int(started.timestamp() * 1000)
        known = self.find(symbol, tags["model_id"])  # one whose answer was lost
        run = client.create_run(experiment, start, dict(tags), run_name=f"{tags['recipe']} {tags['as_of'][:10]}")
        alive = {run.info.run_id, known.run_id if known else None}
        for dead in client.search_runs([experiment], f"tags.model_id = '{_name(tags['model_id'])}'"):
            if dead.info.status in ("RUNNING", "FINISHED") and dead.info.run_id not in alive:
                client.set_terminated(dead.info.run_id, "KILLED")
        run_id = run.info.run_id
        try:
            named = f"{symbol}: version {tags['model_id']}"
            logged = log_model(client, run, named, model, algorithm, example, params, metrics, curves)
        except BaseException as error:
            try:
                client.set_terminated(run_id, "FAILED")
            except Exception as untold:  # the block's own error stands
                error.add_note(f"MLflow's run {run_id} stays RUNNING until the version is trained again: {untold}")
            raise
        client.set_terminated(run_id)
        still_alone()
        if found := self.find(symbol, tags["model_id"]):
            client.set_terminated(run_id, "KILLED")
            return found
        own = {FILES_TAG: json.dumps(logged.files, sort_keys=True)}
        client.create_model_version(symbol, logged.uri, run_id, tags={**tags, **own}, model_id=logged.model_id)
        return self._without_twins(symbol, tags["model_id"])

    @outages_named
    def load(self, symbol: str, model_id: str) -> Model:
        """The model of a registered version, once every file of its artefact is what was registered.

        No code of the artefact is run. RegistryError where it is not registered, was changed since, or is no model.
        RegistryOutage where that cannot be known: whoever goes on without a version that does not work must not go on
        without one that could not be asked for.
        """
        found = self._registered(symbol, model_id)
        try:
            registered = self.client().get_model_version(symbol, str(found.number))
            if FILES_TAG not in registered.tags:
                raise ArtefactError(f"it was registered without the tag {FILES_TAG}")
            return checked_model(registered.source, json.loads(registered.tags[FILES_TAG]))
        except Exception as error:  # an algorithm may fail on a broken file as it likes
            self.forget(symbol, model_id)
            if outage(error):
                raise
            raise RegistryError(
                f"{symbol}: the artefact of version {model_id}, number {found.number} in MLflow, cannot be loaded: "
                f"{type(error).__name__}: {error}; bring it back, or delete the version and train its partition again"
            ) from error

    @outages_named
    def tag(self, symbol: str, model_id: str, name: str, value: str) -> None:
        """Set a tag of a version and of its run. Does nothing twice. RegistryError where it is not registered."""
        found = self._registered(symbol, model_id)
        client = self.client()
        if client.get_model_version(symbol, str(found.number)).tags.get(name) != value:
            client.set_tag(found.run_id, name, value)
            client.set_model_version_tag(symbol, str(found.number), name, value)

    @outages_named
    def log_report(self, symbol: str, model_id: str, file: str, text: str) -> str:
        """Keep a text among the artefacts of a version's run. Returns its address in the MLflow UI.

        RegistryError where the version is not registered.
        """
        found = self._registered(symbol, model_id)
        self.client().log_text(found.run_id, text, file)
        return f"{self.run_url(symbol, found)}/artifacts/{file}"

    @outages_named
    def set_aliases(self, symbol: str, aliases: Mapping[str, str | None]) -> None:
        """Point each alias at the version with the given model_id; None removes the alias. Does nothing twice.

        RegistryError where a version is not in MLflow; no alias has moved then.
        """
        client = self.client()
        current = {alias: self._aliased(symbol, alias) for alias in aliases}
        found = {alias: self.find(symbol, model_id) if model_id else None for alias, model_id in aliases.items()}
        for alias, model_id in aliases.items():
            if model_id and found[alias] is None:
                raise RegistryError(
                    f"{symbol}: alias {alias} needs version {model_id}, which is not in MLflow; "
                    "re-materialise the partition of the model that recorded it"
                )
        for alias, target in found.items():
            if target and current[alias] != target.number:
                client.set_registered_model_alias(symbol, alias, str(target.number))
            elif target is None and current[alias] is not None:
                client.delete_registered_model_alias(symbol, alias)

    @outages_named
    def aliases(self, symbol: str) -> dict[str, int]:
        """The aliases of a symbol and the version numbers they point at."""
        registered = self.client().search_registered_models(f"name = '{_name(symbol)}'")
        return {alias: int(number) for alias, number in registered[0].aliases.items()} if registered else {}

    def _aliased(self, symbol: str, alias: str) -> int | None:
        """The number that one alias points at. To tell all of a symbol, MLflow goes through all its versions."""
        from mlflow.exceptions import MlflowException

        try:
            return int(self.client().get_model_version_by_alias(_name(symbol), alias).version)
        except MlflowException as error:
            if error.error_code not in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
                raise
            return None

    @outages_named
    def run_url(self, symbol: str, found: RegisteredVersion) -> str:
        """The version's run in the MLflow UI."""
        return f"{self.ui_url}/#/experiments/{self._experiment(symbol)}/runs/{found.run_id}"

    def _without_twins(self, symbol: str, model_id: str) -> RegisteredVersion:
        """The oldest version with this identity, once the others are deleted.

        A server that registers and dies before it says so is asked for the same again.
        """
        client = self.client()
        found = client.search_model_versions(f"name = '{_name(symbol)}' and tags.model_id = '{_name(model_id)}'")
        oldest, *twins = sorted(found, key=lambda v: int(v.version))
        for twin in twins:
            client.delete_model_version(symbol, str(twin.version))
        return RegisteredVersion(int(oldest.version), oldest.run_id)

    def _registered(self, symbol: str, model_id: str) -> RegisteredVersion:
        key = (self.uri, symbol, model_id)
        found = _seen.get(key) or self.find(symbol, model_id)
        if found is None:
            raise VersionDeleted(
                f"{symbol}: version {model_id} is recorded but not in MLflow; "
                "re-materialise the model's partition to train it again"
            )
        _seen[key] = found
        return found

    def client(self) -> Any:
        """MLflow's client, once this process's MLflow is set to this registry."""
        import mlflow

        os.environ.update(without_login(self._given)[1])
        client = open_store(self.uri)
        if mlflow.get_tracking_uri() != self.uri:
            mlflow.set_tracking_uri(self.uri)
        return client

    @property
    def uri(self) -> str:
        """The tracking URI without user and password."""
        return without_login(self._given)[0]

    @property
    def is_server(self) -> bool:
        """Is it an MLflow server, which keeps the artefacts itself?"""
        return is_server(self.uri)

    @property
    def sqlite_file(self) -> Path | None:
        """The SQLite file that MLflow is, or None."""
        from quantum_training.resources.database import sqlite_file

        return sqlite_file(self.uri)

    @property
    def _given(self) -> str:
        return self.tracking_uri or f"sqlite:///{under_dagster_home('mlflow')}/mlflow.db"

    def forget(self, symbol: str, model_id: str) -> None:
        """Look a version up in MLflow again when it is asked for next: it may have been deleted, and trained anew."""
        _seen.pop((self.uri, symbol, model_id), None)

    def artifacts_folder(self) -> Path | None:
        """Where the artefacts of all symbols go: beside a SQLite file; None where an MLflow server says it.

        Never left to MLflow for a bare database: it would take the working directory.
        """
        if self.is_server:
            return None
        file = self.sqlite_file
        return (file.parent if file else Path(under_dagster_home("mlflow"))) / "artifacts"

    def _experiment(self, symbol: str) -> str:
        self.client()
        folder = self.artifacts_folder()
        return prepare(self.uri, _name(symbol), (folder / symbol).as_uri() if folder else None)


def _name(text: str) -> str:
    """The text, which may stand in a filter of MLflow or name a folder. RegistryError where it may not."""
    if len(text) > NAME_LENGTH or not re.fullmatch(NAME_PATTERN, text):
        raise RegistryError(
            f"{text!r} names no symbol, version or fit: at most {NAME_LENGTH} letters, digits, _ and -, as in the "
            "settings; look after the record that holds it"
        )
    return text
