"""The connection to MLflow: its address, client, tables, and a symbol's experiment. Versions: registry.py."""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from quantum_training.resources.registry.errors import RegistryError, outages_named
from quantum_training.resources.registry.moved_folder import ARTIFACTS, follow_moved_folder
from quantum_training.settings.paths import under_dagster_home
from quantum_training.settings.schema import NAME_LENGTH, NAME_PATTERN

MODEL_TRAINING_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Tag of an experiment of model training, for UIs that read it; that of 3.17 does not, see registry.MODEL_TRAINING."""
EXPERIMENT_NOTE = "One run for each version that was trained, and for each recipe one with its out-of-sample record, of"
MODEL_NOTE = (
    "Every version of every recipe; the alias champion names the one that trades, shadow-<recipe> the newest, of"
)

MAX_WAIT_SECONDS = 300
"""How long a process waits for another one to make MLflow's tables in Postgres, which takes seconds."""


@dataclass(frozen=True)
class MlflowConnection:
    """Access to one MLflow. `tracking_uri` is settings.mlflow_tracking_uri, `ui_url` is settings.mlflow_ui_url."""

    tracking_uri: str = ""
    ui_url: str = "http://127.0.0.1:5000"

    def client(self) -> Any:
        """MLflow's client. It also points this process's MLflow to this address."""
        import mlflow

        os.environ.update(without_login(self._full_uri)[1])
        client = open_store(self.uri)
        if mlflow.get_tracking_uri() != self.uri:
            mlflow.set_tracking_uri(self.uri)
        return client

    @property
    def uri(self) -> str:
        """The tracking URI without user and password."""
        return without_login(self._full_uri)[0]

    @property
    def is_server(self) -> bool:
        """Is it an MLflow server, which stores the artefacts itself?"""
        return is_server(self.uri)

    @property
    def sqlite_file(self) -> Path | None:
        """The SQLite file that MLflow is, or None."""
        from quantum_training.resources.database import sqlite_file

        return sqlite_file(self.uri)

    def artifacts_folder(self) -> Path | None:
        """The folder of all symbols' artefacts, beside the SQLite file. None if an MLflow server decides.

        It is always set: for a bare database MLflow would take the working directory.
        """
        if self.is_server:
            return None
        file = self.sqlite_file
        return (file.parent if file else Path(under_dagster_home("mlflow"))) / ARTIFACTS

    @outages_named
    def experiment(self, symbol: str) -> Any:
        """A symbol's experiment, also if it is in MLflow's trash; None if no experiment has the symbol's name."""
        return self.client().get_experiment_by_name(checked_name(symbol))

    @outages_named
    def prepare(self, symbol: str) -> str:
        """Create a symbol's experiment if it is missing. Returns its id.

        RegistryError if the experiment is in MLflow's trash, which keeps its name.
        """
        client, name, folder = self.client(), checked_name(symbol), self.artifacts_folder()
        experiment = self.experiment(symbol)
        if experiment is None:
            location = (folder / name).as_uri() if folder else None
            tags = {**MODEL_TRAINING_KIND, "mlflow.note.content": f"{EXPERIMENT_NOTE} {name}."}
            _create(lambda: client.create_experiment(name, artifact_location=location, tags=tags))
            experiment = self.experiment(symbol)
        if problem := trash_problem(experiment):
            raise RegistryError(f"{symbol}: {'. '.join(problem)}")
        return str(experiment.experiment_id)

    def create_model(self, symbol: str) -> None:
        """Create a symbol's registered model, unless there is one."""
        client, name = self.client(), checked_name(symbol)
        _create(lambda: client.create_registered_model(name, description=f"{MODEL_NOTE} {name}."))

    @property
    def _full_uri(self) -> str:
        return self.tracking_uri or f"sqlite:///{under_dagster_home('mlflow')}/mlflow.db"


def checked_name(text: str) -> str:
    """The text, if it is safe in a filter of MLflow and as the name of a folder. RegistryError if it is not."""
    if len(text) > NAME_LENGTH or not re.fullmatch(NAME_PATTERN, text):
        raise RegistryError(
            f"{text!r} names no symbol, version or fit: at most {NAME_LENGTH} letters, digits, _ and -, as in the "
            "settings; look after the record that holds it"
        )
    return text


def is_server(uri: str) -> bool:
    """Is it an MLflow server, not a database of its own?"""
    return urlsplit(uri).scheme in ("http", "https")


def without_login(uri: str) -> tuple[str, dict[str, str]]:
    """The address without user and password, and the environment variables from which MLflow's client reads both.

    MLflow prints the address in its errors, so it must not hold them.
    """
    parts = urlsplit(uri)
    login, at, host = parts.netloc.rpartition("@")
    if not (at and is_server(uri)):
        return uri, {}
    user, _, password = login.partition(":")
    variables = {"MLFLOW_TRACKING_USERNAME": unquote(user), "MLFLOW_TRACKING_PASSWORD": unquote(password)}
    return parts._replace(netloc=host).geturl(), {name: value for name, value in variables.items() if value}


@cache
def open_store(uri: str) -> Any:
    """The client of an MLflow store, prepared once per process."""
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # Eight tries with 4, 8, 16, ... 120 s between: a server that is away is given up after 4 minutes, one that takes
    # requests and is silent after 8.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    import mlflow

    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if is_server(uri):
        return mlflow.MlflowClient(uri)
    with _tables_lock(uri) as file:
        client = mlflow.MlflowClient(uri)  # makes the tables of runs
        client.search_registered_models(max_results=1)  # and of the registry
        if file:
            follow_moved_folder(file)
    return client


@contextmanager
def _tables_lock(uri: str) -> Iterator[Path | None]:
    """A lock on the tables of a database among all processes; the SQLite file, if it is one.

    Of several processes that open an empty database, one creates the tables and the others wait. MLflow itself lets all
    of them try, and all but one fail.
    """
    import sqlalchemy as sa

    from quantum_training.resources.database import POSTGRES_CONNECT_SECONDS, TABLES_LOCK, sqlite_file

    file = sqlite_file(uri)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.with_name(f".{file.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield file
    elif sa.make_url(uri).get_backend_name() == "postgresql":
        limits = {"connect_timeout": POSTGRES_CONNECT_SECONDS}
        with sa.create_engine(uri, connect_args=limits, poolclass=sa.NullPool).begin() as connection:
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{MAX_WAIT_SECONDS}s'")
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(TABLES_LOCK)))
            yield None
    else:
        yield None


def trash_problem(experiment: Any) -> tuple[str, str] | None:
    """What is wrong with an experiment that was deleted in MLflow's UI, and the way back; None if it was not."""
    if experiment is None or experiment.lifecycle_stage == "active":
        return None
    return (
        f"the experiment {experiment.name} was deleted and is in MLflow's trash, where its name stays taken",
        f"Restore it there, or with `mlflow experiments restore --experiment-id {experiment.experiment_id}`",
    )


def _create(create: Callable[[], Any]) -> None:
    """Call `create`, unless another process was faster."""
    from mlflow.exceptions import MlflowException

    try:
        create()
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
