"""A model as files in MLflow: logged into a run, read back and compared, and loaded after a check of every file.

Code that is stored in MLflow is for those who serve a version elsewhere (pyfunc_model.py); it is never run here.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from quantum_training.market.schema import COLUMNS
from quantum_training.models.callers_candles import OPEN_TIME
from quantum_training.models.contract import INDEX, Model, load_model, save_model
from quantum_training.models.manifest import file_hash, manifest
from quantum_training.models.scoring_code import scoring_code
from quantum_training.models.served_version import AUTO, ServedMarket
from quantum_training.resources.registry.artefact_hashes import FILES, MODEL, MODEL_HASHES, hash_list
from quantum_training.resources.registry.errors import RegistryError
from quantum_training.resources.registry.new_version import NewVersion
from quantum_training.resources.registry.requirements import requirements
from quantum_training.resources.texts import MLFLOW_PARAM, bounded_tags

CODE = Path(__file__).with_name("pyfunc_model.py")
BATCH = 1000
"""Metrics that MLflow takes in one call."""


class LoggedModel(NamedTuple):
    """A logged model: address and id in MLflow, and the SHA-256 of each of its files."""

    uri: str
    model_id: str
    files: dict[str, str]


def log_model(client: Any, run: Any, symbol: str, new: NewVersion) -> LoggedModel:
    """Log the model with its numbers into a run of MLflow, load it back and compare its positions on the example.

    RegistryError if the copy differs, or if an earlier fit gave other files.
    """
    import mlflow
    from mlflow.entities import Param
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    label, start, run_id = f"{symbol}: version {new.model_id}", run.info.start_time, run.info.run_id
    with tempfile.TemporaryDirectory() as folder:
        digest = save_model(new.model, Path(folder) / "model", new.algorithm)
        if new.artefact_hash not in (None, digest):
            raise RegistryError(f"{label}: a new fit gives other files than the recorded one; not registered")
        sources = {"model": Path(folder) / "model", **_for_callers(Path(folder), symbol, new)}
        params = bounded_tags({k: str(v) for k, v in new.params.items()}, MLFLOW_PARAM)
        client.log_batch(run_id, params=[Param(k, v) for k, v in params.items()])
        logged = client.create_logged_model(run.info.experiment_id, "model", run_id, params=params)
        with warnings.catch_warnings(), _requirements_not_checked():
            # of an example MLflow would load the model twice, as a server does; it is loaded back below
            warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
            info = mlflow.models.Model.log(
                None,
                mlflow.pyfunc,
                run_id=run_id,
                model_id=logged.model_id,
                python_model=str(CODE),
                artifacts={name: str(path) for name, path in sources.items()},
                pip_requirements=requirements(new.model, new.calendar, new.feature_sets.values()),
                signature=_signature(new.model),
            )
        # after the model, or MLflow would look for the model's among the run's, one query for each
        if new.data:
            client.log_inputs(run_id, [new.data.as_input()])
        log_metrics(client, run_id, _metrics(new, start, info.model_id))
        stored = _read_back(logged.artifact_location, f"{folder}/stored")
        files = manifest(stored)
        sent = {CODE.name: file_hash(CODE), MODEL_HASHES: digest}
        sent |= {f"artifacts/{path.name}": file_hash(path) for name, path in sources.items() if name != "model"}
        if other := sorted(name for name, sha256 in sent.items() if files.get(name) != sha256):
            raise RegistryError(
                f"{label} came back from MLflow with another {', '.join(other)}; not registered. "
                "Look after the store of its artefacts, then train the partition again"
            )
        if not load_model(stored / MODEL).positions(new.example).equals(new.model.positions(new.example)):
            raise RegistryError(f"{label} decides otherwise once loaded back; not registered")
        shown = Path(folder) / "shown"
        shown.mkdir()
        for name, text in {**new.pictures, FILES: hash_list(files)}.items():
            (shown / name).write_text(text)
        # not through the client, which would ask for the run and remember where its artefacts were
        get_artifact_repository(run.info.artifact_uri).log_artifacts(str(shown))
    return LoggedModel(info.model_uri, info.model_id, files)


def log_metrics(client: Any, run_id: str, points: Sequence[Any]) -> None:
    """Log metrics into a run, as many in one call as MLflow takes."""
    for first in range(0, len(points), BATCH):
        client.log_batch(run_id, points[first : first + BATCH])


def _read_back(address: str, copy: str) -> Path:
    """The files that were stored at an address of MLflow: where they lie on this machine, else in a copy."""
    import mlflow

    parts = urlsplit(address)
    if parts.scheme in ("", "file"):
        return Path(unquote(parts.path))
    return Path(mlflow.artifacts.download_artifacts(address, dst_path=copy))


def _for_callers(folder: Path, symbol: str, new: NewVersion) -> dict[str, Path]:
    """What those who serve the version elsewhere need beside the model, by the names that pyfunc_model.py has."""
    code, market = folder / "scoring_code.tar.bz2", folder / "market.json"
    algorithms = [json.loads(index.read_text())["algorithm"] for index in (folder / "model").rglob(INDEX)]
    code.write_bytes(scoring_code(algorithms, [made_by.module for made_by in new.feature_sets.values()]))
    served = ServedMarket(symbol=symbol, timeframe=new.timeframe, calendar=new.calendar, feature_sets=new.feature_sets)
    market.write_text(served.to_json())
    return {"code": code, "market": market}


def _metrics(new: NewVersion, start: int, model_id: str) -> list[Any]:
    from mlflow.entities import Metric

    return [Metric(k, v, start, 0, model_id) for k, v in new.metrics.items()] + [
        Metric(f"training/{k}", v, start, int(point["step"]))
        for point in new.curves
        for k, v in point.items()
        if k != "step"
    ]


def checked_model(source: str, require_unchanged: Callable[[Path], None]) -> Model:
    """The model at an address of MLflow, loaded from a copy that cannot change once it was checked."""
    import mlflow

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(mlflow.artifacts.download_artifacts(source, dst_path=folder))
        require_unchanged(copy)
        return load_model(copy / MODEL)


@contextmanager
def _requirements_not_checked() -> Iterator[None]:
    """Keep MLflow from comparing the required packages with the installed ones, which they were read from: it parses
    the metadata of each again for every version, and warns of a package that has another name here."""
    from mlflow.utils import environment

    check = environment.warn_dependency_requirement_mismatches
    environment.warn_dependency_requirement_mismatches = lambda model_requirements: None
    try:
        yield
    finally:
        environment.warn_dependency_requirement_mismatches = check


def _signature(model: Model) -> Any:
    """What a caller may send: any of these columns, of any type; served_version.py says which go together.

    MLflow would refuse whole numbers in a column of doubles.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType

    columns = dict.fromkeys((OPEN_TIME, *COLUMNS, *model.columns))
    params = [ParamSpec("input", "string", AUTO), ParamSpec("accepted_bars", "string", [], shape=(-1,))]
    return ModelSignature(
        Schema([ColSpec(AnyType(), column, required=False) for column in columns]),
        Schema([ColSpec("double", "position")]),
        ParamSchema(params),
    )
