"""What MLflow runs to load a version outside of the platform: it needs the artefact's own files and public packages.

The code that travels with a version is unpacked under a name that has its hash in it. So versions of different code can
be loaded into one process, also beside an installed quantum_training.
"""

import atexit
import hashlib
import re
import shutil
import sys
import tarfile
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext


class PositionModel(PythonModel):
    """`predict(features)` or `predict(candles)` gives the target position of each row."""

    def load_context(self, context: PythonModelContext) -> None:
        package = unpacked(Path(context.artifacts["code"]))
        self.served = import_module(f"{package}.models.served_version")
        paths = (Path(context.artifacts[name]) for name in ("model", "market"))
        self.version = self.served.ServedVersion.load(*paths)

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict | None = None) -> pd.Series:
        try:
            return self.version.predict(model_input, params or {})
        except self.served.CallerError as error:  # of any other error MLflow's server hides the message
            raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from None


def unpacked(code: Path) -> str:
    """The name under which the archive's quantum_training can be imported from now on."""
    suffix = hashlib.sha256(code.read_bytes()).hexdigest()[:16]
    package = f"quantum_training_{suffix}"
    if package in sys.modules:
        return package
    folder = tempfile.mkdtemp(prefix="scoring-code-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with tarfile.open(code) as archive:
        archive.extractall(folder, filter="data")
    names = [path.stem for path in Path(folder).iterdir()]
    absolute = re.compile(rf"(?<![\w.])({'|'.join(names)})(?=\.\w|[ ]+import\b|[ ]*$)", re.MULTILINE)

    def renamed(text: str) -> str:
        return absolute.sub(rf"\1_{suffix}", text)

    for file in Path(folder).rglob("*.py"):
        file.write_text(renamed(file.read_text(encoding="utf-8")), encoding="utf-8")
    for path in [*Path(folder).iterdir()]:
        path.rename(path.with_stem(f"{path.stem}_{suffix}"))
    sys.path.append(folder)
    contract: Any = import_module(f"{package}.models.contract")
    algorithm = contract.algorithm
    contract.algorithm = lambda name: algorithm(renamed(name))  # an artefact has the algorithm's own name
    return package


set_model(PositionModel())
