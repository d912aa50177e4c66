"""The model registry: trained versions in MLflow. The only place, with pyfunc_model.py, that talks to MLflow.

One experiment and one registered model per symbol, one MLflow run per version. A version is known by its `model_id`
tag, the identity of what it was made from; MLflow's number depends on the order of training and is only shown.
"""

import fcntl
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pandas as pd

from quantum_training.models.contract import Model, load_model, save_model
from quantum_training.settings import under_dagster_home

CODE = Path(__file__).with_name("pyfunc_model.py")
SQLITE = "sqlite:///"
BATCH = 1000
"""Metrics that MLflow takes in one call."""


_seen: dict[tuple[str, str, str], "RegisteredVersion"] = {}
"""Versions that this process found before, by tracking URI, symbol and model_id: MLflow takes long to search."""


class RegistryError(RuntimeError):
    """A version is missing or did not come back as it was stored. The message says which and what to do."""


class VersionGone(RegistryError):  # noqa: N818 - no fault: housekeeping removes versions of long ago
    """A version that is recorded is not in MLflow any more."""


class RegisteredVersion(NamedTuple):
    """Where a version lives in MLflow."""

    number: int
    run_id: str


class ModelRegistry(dg.ConfigurableResource):
    """Versions of each symbol's models, and the aliases that say which one trades."""

    tracking_uri: str = ""
    ui_url: str = "http://127.0.0.1:5000"

    def find(self, symbol: str, model_id: str) -> RegisteredVersion | None:
        """The registered version with this identity, or None."""
        found = self._client().search_model_versions(f"name = '{symbol}' and tags.model_id = '{model_id}'")
        if not found:
            return None
        oldest = min(found, key=lambda v: int(v.version))
        return RegisteredVersion(int(oldest.version), oldest.run_id)

    def find_shared(self, shared_fit: str) -> tuple[str, str] | None:
        """Symbol and model_id of a registered version of the fit that several symbols share, or None."""
        found = self._client().search_model_versions(f"tags.shared_fit = '{shared_fit}'")
        return min(((v.name, v.tags["model_id"]) for v in found), default=None)

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
    ) -> tuple[RegisteredVersion, str]:
        """Log a run with the model, load it back, compare its positions on `example`, and only then register it.

        `tags` must hold model_id and recipe. curves: points with a `step`, logged as metrics training/<name>. A run
        that died earlier with the same model_id is marked killed.
        Returns the version and the SHA-256 of its artefact. RegistryError where the copy decides otherwise.
        """
        import mlflow
        from mlflow.entities import Metric, Param

        client = self._client()
        experiment = self._experiment(symbol)
        for dead in client.search_runs(
            [experiment], f"tags.model_id = '{tags['model_id']}' and attributes.status = 'RUNNING'"
        ):
            client.set_terminated(dead.info.run_id, "KILLED")
        start = int(started.timestamp() * 1000)
        run = client.create_run(experiment, start, dict(tags), run_name=f"{tags['recipe']} {tags['as_of'][:10]}")
        packages = ("quantum_training", *model.packages)
        with mlflow.start_run(run_id=run.info.run_id), tempfile.TemporaryDirectory() as folder:
            client.log_batch(
                run.info.run_id,
                [Metric(k, v, start, 0) for k, v in metrics.items()],
                [Param(k, str(v)) for k, v in params.items()],
            )
            points = [
                Metric(f"training/{k}", v, start, int(point["step"]))
                for point in curves
                for k, v in point.items()
                if k != "step"
            ]
            for first in range(0, len(points), BATCH):
                client.log_batch(run.info.run_id, points[first : first + BATCH])
            digest = save_model(model, Path(folder) / "model", algorithm)
            positions = model.positions(example)
            info = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(CODE),
                artifacts={"model": str(Path(folder) / "model")},
                pip_requirements=[f"{p}=={version(p)}" for p in packages],
                signature=_signature(model.columns),
                input_example=example.loc[:, list(model.columns)].head(2).reset_index(drop=True),
            )
            copy = mlflow.pyfunc.load_model(info.model_uri).unwrap_python_model().model
            if not copy.positions(example).equals(positions):
                raise RegistryError(
                    f"{symbol}: version {tags['model_id']} decides otherwise once loaded back; not registered"
                )
            registered = client.create_model_version(
                symbol, info.model_uri, run.info.run_id, tags={**tags, "artifact_hash": digest}, model_id=info.model_id
            )
        return RegisteredVersion(int(registered.version), run.info.run_id), digest

    def load(self, symbol: str, model_id: str) -> Model:
        """The model of a registered version. RegistryError where it is not registered or its artefact is no model."""
        import mlflow

        self._client()  # MLflow may have been asked for another registry's since
        found = self._registered(symbol, model_id)
        try:
            folder = Path(mlflow.artifacts.download_artifacts(f"models:/{symbol}/{found.number}"))
            return load_model(folder / "artifacts" / "model")
        except Exception as error:  # an algorithm may fail on a broken file as it likes
            _seen.pop((self._uri(), symbol, model_id), None)  # it may have been deleted, and trained again since
            raise RegistryError(
                f"{symbol}: the artefact of version {model_id}, number {found.number} in MLflow, cannot be loaded: "
                f"{type(error).__name__}: {error}; bring it back, or delete the version and train its partition again"
            ) from error

    def tag(self, symbol: str, model_id: str, name: str, value: str) -> None:
        """Set a tag of a version and of its run. Does nothing twice. RegistryError where it is not registered."""
        found = self._registered(symbol, model_id)
        client = self._client()
        if client.get_model_version(symbol, str(found.number)).tags.get(name) != value:
            client.set_tag(found.run_id, name, value)
            client.set_model_version_tag(symbol, str(found.number), name, value)

    def log_report(self, symbol: str, model_id: str, file: str, text: str) -> str:
        """Keep a text among the artefacts of a version's run. Returns its address in the MLflow UI.

        RegistryError where the version is not registered.
        """
        found = self._registered(symbol, model_id)
        self._client().log_text(found.run_id, text, file)
        return f"{self.run_url(symbol, found)}/artifacts/{file}"

    def set_aliases(self, symbol: str, aliases: Mapping[str, str | None]) -> None:
        """Point each alias at the version with the given model_id; None removes the alias. Does nothing twice.

        RegistryError where a version is not in MLflow; no alias has moved then.
        """
        client = self._client()
        current = self.aliases(symbol)
        found = {alias: self.find(symbol, model_id) if model_id else None for alias, model_id in aliases.items()}
        for alias, model_id in aliases.items():
            if model_id and found[alias] is None:
                raise RegistryError(
                    f"{symbol}: alias {alias} needs version {model_id}, which is not in MLflow; "
                    "re-materialise the partition of the model that recorded it"
                )
        for alias, target in found.items():
            if target and current.get(alias) != target.number:
                client.set_registered_model_alias(symbol, alias, str(target.number))
            elif target is None and alias in current:
                client.delete_registered_model_alias(symbol, alias)

    def aliases(self, symbol: str) -> dict[str, int]:
        """The aliases of a symbol and the version numbers they point at."""
        registered = self._client().search_registered_models(f"name = '{symbol}'")
        return {alias: int(number) for alias, number in registered[0].aliases.items()} if registered else {}

    def run_url(self, symbol: str, found: RegisteredVersion) -> str:
        """The version's run in the MLflow UI."""
        return f"{self.ui_url}/#/experiments/{self._experiment(symbol)}/runs/{found.run_id}"

    def _registered(self, symbol: str, model_id: str) -> RegisteredVersion:
        key = (self._uri(), symbol, model_id)
        found = _seen.get(key) or self.find(symbol, model_id)
        if found is None:
            raise VersionGone(
                f"{symbol}: version {model_id} is recorded but not in MLflow; "
                "re-materialise the model's partition to train it again"
            )
        _seen[key] = found
        return found

    def _client(self) -> Any:
        import mlflow

        client = _open(self._uri())
        if mlflow.get_tracking_uri() != self._uri():
            mlflow.set_tracking_uri(self._uri())
        return client

    def _uri(self) -> str:
        return self.tracking_uri or f"{SQLITE}{under_dagster_home('mlflow')}/mlflow.db"

    def _artifacts(self, symbol: str) -> str | None:
        """Where a symbol's artefacts go: beside a SQLite file; None where an MLflow server says it.

        Never left to MLflow for a bare database: it would take the working directory.
        """
        uri = self._uri()
        if uri.startswith(("http://", "https://")):
            return None
        home = _sqlite_file(uri).parent if uri.startswith(SQLITE) else Path(under_dagster_home("mlflow"))
        return (home / "artifacts" / symbol).as_uri()

    def _experiment(self, symbol: str) -> str:
        return _prepare(self._uri(), symbol, self._artifacts(symbol))


@cache
def _open(uri: str) -> Any:
    """The client of an MLflow store, prepared once per process. Of several processes that meet a new SQLite file one
    makes the tables and the others wait: MLflow itself lets all of them try, and all but one fail."""
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if not uri.startswith(SQLITE):
        return mlflow.MlflowClient(uri)
    file = _sqlite_file(uri)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(f".{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        client = mlflow.MlflowClient(uri)  # makes the tables of runs
        client.search_registered_models(max_results=1)  # and of the registry
    return client


@cache
def _prepare(uri: str, symbol: str, artifacts: str | None) -> str:
    """Make the symbol's experiment and registered model where they are missing. Returns the experiment's id."""
    from mlflow.exceptions import MlflowException

    client = _open(uri)
    for create in (
        lambda: client.create_experiment(symbol, artifact_location=artifacts),
        lambda: client.create_registered_model(symbol),
    ):
        try:
            create()
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    return client.get_experiment_by_name(symbol).experiment_id


def _sqlite_file(uri: str) -> Path:
    return Path(uri.removeprefix(SQLITE).partition("?")[0]).absolute()


def _signature(columns: tuple[str, ...]) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    return ModelSignature(Schema([ColSpec("double", c) for c in columns]), Schema([ColSpec("double", "position")]))
