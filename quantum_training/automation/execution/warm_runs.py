"""The runs of a code server begin in a copy of a process that has loaded the libraries, not in a new Python.

Loading them takes most of the time of a symbol's run. Only libraries are loaded before, and garbage_collection.py:
settings and other code of this project are read by each run anew. Dagster has no setting for this; its server starts
runs in the way that its attribute `_mp_ctx` names.
"""

import multiprocessing
import sys
from typing import Any

LIBRARIES = (
    "dagster._grpc.impl",
    "dagster._cli.api",
    "pandas",
    "pandera",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "sqlalchemy.dialects.sqlite",
    "scipy.stats",
    "exchange_calendars",
    "numba",
    "plotly.graph_objects",
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "lightgbm",
    "xgboost",
)
"""What most runs need. One that is not installed is left out."""
GARBAGE_COLLECTION = "quantum_training.automation.execution.garbage_collection"


def start_runs_warm() -> None:
    """Have the code server of this process start its runs so. Does nothing in other processes."""
    server: Any = sys.modules.get("dagster._grpc.server")
    if server is None:
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*LIBRARIES, GARBAGE_COLLECTION])
    server.DagsterApiServer._mp_ctx = property(lambda self: context, lambda self, other: None)
