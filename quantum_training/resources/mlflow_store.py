"""Opening an MLflow store: client, tables, a symbol's experiment and registered model. Versions: registry.py."""

from __future__ import annotations

import fcntl
import logging
import os
from functools import cache
from pathlib import Path
from typing import Any

SQLITE = "sqlite:///"


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

    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if not uri.startswith(SQLITE):
        return mlflow.MlflowClient(uri)
    file = sqlite_file(uri)
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


def sqlite_file(uri: str) -> Path:
    return Path(uri.removeprefix(SQLITE).partition("?")[0]).absolute()
