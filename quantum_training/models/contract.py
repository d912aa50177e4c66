"""The contract that every model keeps, and how an algorithm's name becomes one. No algorithm lives here."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pandas as pd

from quantum_training.models.sizing import Sizing
from quantum_training.trading.episodes import Market

if TYPE_CHECKING:
    from quantum_training.features.windows import Window

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Practice:
    """What a model that learns by trading is given beside the window.

    market: its candles reach back before the window and end at its as_of. state: folder in which a fit keeps what it
    needs to go on after it was killed. newest: the version to start from. replay: what was held before, by the bar that
    filled it, a column per source; transitions to learn from.
    """

    market: Market
    state: Path | None = None
    newest: Model | None = None
    replay: pd.DataFrame | None = None


class Model(ABC):
    """A trained model: target positions from features. Artefacts are plain data; nothing is unpickled.

    Attributes: `packages`, the distributions that loading it needs; `columns`, what it reads of a row, in order;
    `report`, what the fit measured (JSON-able); `importance`, weight per feature (empty where the algorithm has none);
    `score`, how good the fit was, higher is better, to rank seeds (None where the algorithm has no such number);
    `curves`, points of the training to draw: a `step` and numbers.

    Of the algorithm: `builders`, distributions that only training needs; `sources`, modules or packages whose code a
    version depends on beside its class; `practises`, learns by trading, so that `fit` is given a Practice;
    `abilities`, which of `warm_start` and `replay` it has; `memory`, rows before those of interest that `positions`
    must be given, consecutive bars with `open` and `close`, because it depends on an account of its own;
    `rehearsal`, params that make a fit small enough for the leak sentinel's thirty.
    """

    packages: ClassVar[tuple[str, ...]] = ()
    builders: ClassVar[tuple[str, ...]] = ()
    sources: ClassVar[tuple[str, ...]] = ()
    practises: ClassVar[bool] = False
    abilities: ClassVar[frozenset[str]] = frozenset()
    memory: ClassVar[int] = 0
    rehearsal: ClassVar[Mapping[str, Any]] = {}
    columns: tuple[str, ...]
    report: dict[str, float]
    importance: dict[str, float]
    score: float | None = None
    curves: Sequence[Mapping[str, float]] = ()

    @classmethod
    @abstractmethod
    def fit(cls, window: Window, params: Mapping[str, Any], sizing: Sizing, seed: int, progress: Progress) -> Self:
        """Train on the window, deterministically in (window, params, seed). ValueError names an unknown parameter.

        An algorithm that practises takes a last argument `practice`, and is deterministic in that, too.
        """

    @abstractmethod
    def positions(self, features: pd.DataFrame) -> pd.Series:
        """Target position decided at each row's close, indexed like `features`; NaN where a feature is.

        In [0, 1], or [-1, 1] where the account may short.
        """

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
