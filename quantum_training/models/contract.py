"""The contract that every model keeps, and how an algorithm's name becomes one. No algorithm lives here."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pandas as pd

from quantum_training.models.sizing import Sizing

if TYPE_CHECKING:
    from quantum_training.features.windows import Window

Progress = Callable[[str], None]


class Model(ABC):
    """A trained model: target positions from features. Artefacts are plain data; nothing is unpickled.

    Attributes: `packages`, the distributions that loading it needs; `columns`, the features it reads, in order;
    `report`, what the fit measured (JSON-able); `importance`, weight per feature (empty where the algorithm has none).
    """

    packages: ClassVar[tuple[str, ...]] = ()
    columns: tuple[str, ...]
    report: dict[str, float]
    importance: dict[str, float]

    @classmethod
    @abstractmethod
    def fit(cls, window: Window, params: Mapping[str, Any], sizing: Sizing, seed: int, progress: Progress) -> Self:
        """Train on the window, deterministically in (window, params, seed). ValueError names an unknown parameter."""

    @abstractmethod
    def positions(self, features: pd.DataFrame) -> pd.Series:
        """Target position in [0, 1] decided at each row's close, indexed like `features`; NaN where a feature is."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the artefact into an existing empty folder."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """The model that `save` wrote, with the same positions bit for bit."""


def algorithm(name: str) -> type[Model]:
    """The class Model of a module: `xgboost` lives in quantum_training.models, `my_package.ridge` anywhere."""
    return import_module(name if "." in name else f"quantum_training.models.{name}").Model


def save_model(model: Model, folder: Path, name: str) -> str:
    """Save with the algorithm's name, so that `load_model` finds its class. Returns the artefact's SHA-256."""
    folder.mkdir(parents=True)
    model.save(folder)
    (folder / "algorithm.json").write_text(json.dumps({"algorithm": name}))
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def load_model(folder: Path) -> Model:
    """The model in a folder that `save_model` wrote."""
    return algorithm(json.loads((folder / "algorithm.json").read_text())["algorithm"]).load(folder)
