"""The model registry: trained versions in MLflow. How a version's files are written and read: artefacts.py.

Each symbol has one experiment and one registered model, each version one MLflow run. The tag `model_id`, the hash of
the inputs, identifies a version; MLflow's number depends on the order of training and is only shown.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from quantum_training.models.contract import Model
from quantum_training.resources.faults import remedy
from quantum_training.resources.registry.aliases import Aliases
from quantum_training.resources.registry.artefact_hashes import FILES, hash_tags, model_hash, require_unchanged
from quantum_training.resources.registry.artefacts import LoggedModel, checked_model, log_model
from quantum_training.resources.registry.connection import MlflowConnection, checked_name
from quantum_training.resources.registry.errors import RegistryError, VersionDeleted, outages_named
from quantum_training.resources.registry.new_version import NewVersion
from quantum_training.resources.texts import (
    MLFLOW_DESCRIPTION,
    MLFLOW_RUN_TAG,
    MLFLOW_VERSION_TAG,
    bounded,
    bounded_tags,
)

MODEL_TRAINING = "workflowType=machine_learning"
"""What an address in MLflow's UI ends with to open the pages of model training: 3.17 opens those of GenAI without."""

_version_cache: dict[tuple[str, str, str], "RegisteredVersion"] = {}
"""Versions that this process found or registered, by tracking URI, symbol and model_id: MLflow takes long to search."""


class RegisteredVersion(NamedTuple):
    """The number and the run of a version in MLflow."""

    number: int
    run_id: str


class LoggedRun(NamedTuple):
    """What a run in MLflow holds: its parameters, and the newest value of each metric."""

    params: dict[str, str]
    metrics: dict[str, float]


@dataclass(frozen=True)
class ModelRegistry(MlflowConnection):
    """The versions of each symbol's models. What an alias points at: `aliases`."""

    @outages_named
    def find(self, symbol: str, model_id: str) -> RegisteredVersion | None:
        """The registered version with this identity, or None."""
        versions = self._versions(symbol, model_id)
        if not versions:
            return None
        oldest = min(versions, key=lambda v: int(v.version))
        return RegisteredVersion(int(oldest.version), oldest.run_id)

    @outages_named
    def find_shared(self, shared_fit: str) -> tuple[str, str] | None:
        """Symbol and model_id of a registered version of the fit that several symbols share, or None."""
        versions = self.client().search_model_versions(f"tags.shared_fit = '{checked_name(shared_fit)}'")
        return min(((v.name, v.tags["model_id"]) for v in versions), default=None)

    @outages_named
    def register(
        self, symbol: str, version: NewVersion, assert_lock_held: Callable[[], None] = lambda: None
    ) -> RegisteredVersion:
        """Log a run with the model, load it back, compare its positions on the example, and only then register it.

        assert_lock_held: called just before the registration, see locks.exclusive_lock. If another process has
        registered the same model_id meanwhile, that version is returned. RegistryError if the copy decides otherwise.
        """
        client = self.client()
        experiment = self.prepare(symbol)
        start = int(version.started.timestamp() * 1000)
        tags = bounded_tags(version.run_tags, MLFLOW_RUN_TAG)
        run = client.create_run(experiment, start, tags, run_name=version.run_name)
        run_id = run.info.run_id
        self._end_dead_runs(experiment, symbol, version.model_id, run_id)
        try:
            logged = log_model(client, run, symbol, version)
        except BaseException as error:
            try:
                client.set_terminated(run_id, "FAILED")
            except Exception as second:  # the error of the block is the one to raise
                error.add_note(f"MLflow's run {run_id} stays RUNNING until the version is trained again: {second}")
            raise
        client.set_terminated(run_id)
        assert_lock_held()
        if existing := self.find(symbol, version.model_id):
            client.set_terminated(run_id, "KILLED")
            return existing
        self._create_version(symbol, run_id, logged, version)
        registered = self._without_duplicates(symbol, version.model_id)
        _version_cache[self.uri, symbol, version.model_id] = registered
        return registered

    def _create_version(self, symbol: str, run_id: str, logged: LoggedModel, new: NewVersion) -> None:
        """Register a logged model. The symbol's first version needs a registered model before."""
        from mlflow.exceptions import MlflowException

        tags = {**bounded_tags(new.version_tags, MLFLOW_VERSION_TAG), **hash_tags(logged.files)}
        create = partial(
            self.client().create_model_version,
            symbol,
            logged.uri,
            run_id,
            tags=tags,
            description=bounded(new.description, MLFLOW_DESCRIPTION) or None,
            model_id=logged.model_id,
        )
        try:
            create()
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            self.create_model(symbol)
            create()

    def _end_dead_runs(self, experiment: str, symbol: str, model_id: str, alive: str) -> None:
        """Mark runs of this model_id as killed: a run ends before it has a version, so their processes died."""
        client = self.client()
        runs = client.search_runs([experiment], f"tags.model_id = '{checked_name(model_id)}'")
        dead = [r.info.run_id for r in runs if r.info.status in ("RUNNING", "FINISHED") and r.info.run_id != alive]
        registered = self.find(symbol, model_id) if dead else None  # its answer was lost
        for run_id in dead:
            if registered is None or run_id != registered.run_id:
                client.set_terminated(run_id, "KILLED")

    @outages_named
    def load(self, symbol: str, model_id: str) -> Model:
        """The model of a registered version, once every file of its artefact is what was registered.

        No code of the artefact is run. RegistryError if the version is not registered, was changed since, or is no
        model. RegistryOutage if MLflow cannot tell: a caller may replace a version that does not work, but not one
        that is only out of reach.
        """
        version = self._registered(symbol, model_id)
        try:
            registered = self.client().get_model_version(symbol, str(version.number))
            return checked_model(registered.source, lambda copy: self.require_unchanged(copy, registered))
        except Exception as error:  # a broken file may raise any error in an algorithm
            self.forget(symbol, model_id)
            if remedy(error):
                raise
            raise RegistryError(
                f"{symbol}: the artefact of version {model_id}, number {version.number} in MLflow, cannot be loaded: "
                f"{type(error).__name__}: {error}; bring it back, or delete the version and train its partition again"
            ) from error

    def require_unchanged(self, folder: Path, registered: Any) -> None:
        """ArtefactError if the artefact in a folder is not what was registered. registered: the version in MLflow."""
        from mlflow.artifacts import load_text

        require_unchanged(folder, registered.tags, lambda: str(load_text(f"runs:/{registered.run_id}/{FILES}")))

    def run_id(self, symbol: str, model_id: str) -> str:
        """The run of a version. VersionDeleted if it is not registered."""
        return self._registered(symbol, model_id).run_id

    @outages_named
    def logged_run(self, symbol: str, run_id: str) -> LoggedRun:
        """What the run of a symbol's version holds."""
        data = self.client().get_run(run_id).data
        return LoggedRun(dict(data.params), dict(data.metrics))

    @outages_named
    def logged_curve(self, symbol: str, run_id: str, name: str) -> list[dict[str, float]]:
        """The points of a training curve in the run of a symbol's version, by step, as `Model.curves` has them."""
        points = self.client().get_metric_history(run_id, f"training/{name}")
        return [{"step": point.step, name: point.value} for point in sorted(points, key=lambda point: point.step)]

    @outages_named
    def tag(self, symbol: str, model_id: str, name: str, value: str) -> None:
        """Set a tag of a version and of its run. Does nothing if it is set. RegistryError if it is not registered."""
        version = self._registered(symbol, model_id)
        client, value = self.client(), bounded(value, MLFLOW_RUN_TAG)
        if client.get_model_version(symbol, str(version.number)).tags.get(name) != value:
            client.set_tag(version.run_id, name, value)
            client.set_model_version_tag(symbol, str(version.number), name, value)

    @outages_named
    def artefact_hash(self, symbol: str, model_id: str) -> str | None:
        """SHA-256 of the file of an artefact that holds the hashes of its model's other files.

        None if the version was registered without hashes. RegistryError if it is not registered.
        """
        version = self.client().get_model_version(symbol, str(self._registered(symbol, model_id).number))
        return model_hash(version.tags)

    @outages_named
    def delete(self, symbol: str, model_id: str) -> None:
        """Delete a version and its aliases, if it is registered. Its run and files stay."""
        for version in self._versions(symbol, model_id):
            self.client().delete_model_version(symbol, str(version.version))
        self.forget(symbol, model_id)

    @outages_named
    def log_report(self, symbol: str, model_id: str, file: str, text: str) -> str:
        """Store a text in the artefacts of a version's run. Returns its address in the MLflow UI.

        RegistryError if the version is not registered.
        """
        version = self._registered(symbol, model_id)
        self.client().log_text(version.run_id, text, file)
        return self.run_url(symbol, version, f"/artifacts/{file}")

    @property
    def aliases(self) -> Aliases:
        """The aliases that point at versions."""
        return Aliases(self.uri, self.client, self._number_of)

    def _number_of(self, symbol: str, model_id: str) -> int | None:
        version = self.find(symbol, model_id)
        return version.number if version else None

    @outages_named
    def run_url(self, symbol: str, version: RegisteredVersion, part: str = "") -> str:
        """The version's run in the MLflow UI, or a part of its page."""
        experiment = self.experiment(symbol)
        page = f"experiments/{experiment.experiment_id if experiment else ''}/runs/{version.run_id}{part}"
        return f"{self.ui_url}/#/{page}?{MODEL_TRAINING}"

    def _without_duplicates(self, symbol: str, model_id: str) -> RegisteredVersion:
        """Delete all versions with this identity except the oldest, and return that.

        A server that registers and dies before it answers gets the same request again.
        """
        client = self.client()
        oldest, *duplicates = sorted(self._versions(symbol, model_id), key=lambda v: int(v.version))
        for duplicate in duplicates:
            client.delete_model_version(symbol, str(duplicate.version))
        return RegisteredVersion(int(oldest.version), oldest.run_id)

    def _versions(self, symbol: str, model_id: str) -> list[Any]:
        same = f"name = '{checked_name(symbol)}' and tags.model_id = '{checked_name(model_id)}'"
        return self.client().search_model_versions(same)

    def _registered(self, symbol: str, model_id: str) -> RegisteredVersion:
        key = (self.uri, symbol, model_id)
        version = _version_cache.get(key) or self.find(symbol, model_id)
        if version is None:
            raise VersionDeleted(
                f"{symbol}: version {model_id} is recorded but not in MLflow; "
                "re-materialise the model's partition to train it again"
            )
        _version_cache[key] = version
        return version

    def forget(self, symbol: str, model_id: str) -> None:
        """Look a version up in MLflow again at the next access: it may have been deleted and trained again."""
        _version_cache.pop((self.uri, symbol, model_id), None)
