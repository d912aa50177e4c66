"""Opening an MLflow store: client, tables, a symbol's experiment and registered model. Versions: registry.py."""

from __future__ import annotations

import fcntl
import logging
import os
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit


def is_server(uri: str) -> bool:
    """Is it an MLflow server, not a database of its own?"""
    return urlsplit(uri).scheme in ("http", "https")


def without_login(uri: str) -> tuple[str, dict[str, str]]:
    """The address as MLflow may have it, and the variables from which its client takes user and password at every
    request: whatever address MLflow has stands in its errors."""
    parts = urlsplit(uri)
    login, at, host = parts.netloc.rpartition("@")
    if not (at and is_server(uri)):
        return uri, {}
    user, _, password = login.partition(":")
    told = {"MLFLOW_TRACKING_USERNAME": unquote(user), "MLFLOW_TRACKING_PASSWORD": unquote(password)}
    return parts._replace(netloc=host).geturl(), {name: value for name, value in told.items() if value}


@cache
def open_store(uri: str) -> Any:
    """The client of an MLflow store, prepared once per process. Of several processes that meet a new SQLite file one
    makes the tables and the others wait: MLflow itself lets all of them try, and all but one fail."""
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # Eight tries with 4, 8, 16, ... 120 s between: a server that is away is given up after 4 minutes, one that takes
    # requests and is silent after 8.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    import mlflow

    from quantum_training.resources.database import sqlite_file

    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    file = sqlite_file(uri)
    if file is None:
        return mlflow.MlflowClient(uri)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(f".{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        client = mlflow.MlflowClient(uri)  # makes the tables of runs
        client.search_registered_models(max_results=1)  # and of the registry
    return client


@cache
def prepare(uri: str, symbol: str, artifacts: str | None) -> str:
    """Make the symbol's experiment and registered model where they are missing. Returns the experiment's id."""
    from mlflow.exceptions import MlflowException

    client = open_store(uri)
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
