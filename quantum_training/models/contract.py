"""The contract that every model keeps, and how an algorithm's name becomes one. No algorithm lives here."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import pandas as pd
from pydantic import BaseModel, ValidationError

from quantum_training.models.manifest import check, file_hash, manifest
from quantum_training.models.sizing import Sizing
from quantum_training.trading.episodes import Market

if TYPE_CHECKING:
    from quantum_training.features.windows import Window

Progress = Callable[[str], None]


MEMORY_BARS = 240
"""Most bars before a week that any model's positions in it depend on."""

INDEX = "algorithm.json"
"""File of an artefact that says what the others are."""

NOTHING: Mapping[str, Any] = MappingProxyType({})
Params = TypeVar("Params", bound=BaseModel)


@dataclass(frozen=True, eq=False)
class TrainingContext:
    """What a model is given beside the window, where its class says `needs_context`.

    market: its candles reach back before the window and end at its as_of. state: folder in which a fit keeps what it
    needs to go on after it was killed. newest: the version to start from. replay: what was held before, by the bar that
    filled it, a column per source; transitions to learn from. features: of the market's bars, all columns. horizon: of
    the recipe's label, in bars. members: the symbol's other recipes by name, each by its newest version. record: what
    these recipes decided out of sample, by the bar that filled it, a column per member.
    """

    market: Market
    state: Path | None = None
    newest: Model | None = None
    replay: pd.DataFrame | None = None
    features: pd.DataFrame | None = None
    horizon: int = 1
    members: Mapping[str, Model] = field(default_factory=dict)
    record: pd.DataFrame | None = None


class Model(ABC):
    """A trained model: target positions from features. Artefacts are plain data; nothing is unpickled.

    Attributes: `packages`, the distributions that loading it needs; `columns`, what it reads of a row, in order;
    `report`, what the fit measured (JSON-able); `importance`, weight per feature (empty where the algorithm has none);
    `score`, how good the fit was, higher is better, to rank seeds (None where the algorithm has no such number);
    `curves`, points of the training to draw: a `step` and numbers; `notes`, what the fit has to say in words;
    `heat_maps`, tables of numbers in [-1, 1] to draw, by name.
    `memory`, rows before those of interest that `positions` must be given, consecutive bars with `open` and `close`,
    because it depends on them; of a class the most that a model of it may need. `has_account`: it does because it
    trades an account of its own, which is flat before the first row. `is_stochastic`: equally good fits decide
    differently, so that the refresh gate looks at returns alone.

    Of the algorithm: `build_packages`, distributions that only training needs; `sources`, modules or packages whose
    code a version depends on beside its class; `needs_context`, `fit` is given a TrainingContext; `is_ensemble`, it
    holds members and their record; `is_pooled`, the window is a features.pool.Pool and one fit serves all symbols, each
    by `for_symbol(symbol)`; `capabilities`, which of `warm_start` and `replay` it has; `rehearsal`, params that make a
    fit small enough for the leak sentinel's thirty.
    """

    packages: tuple[str, ...] = ()
    memory: int = 0
    has_account: bool = False
    is_stochastic: bool = False
    build_packages: ClassVar[tuple[str, ...]] = ()
    sources: ClassVar[tuple[str, ...]] = ()
    needs_context: ClassVar[bool] = False
    is_ensemble: ClassVar[bool] = False
    is_pooled: ClassVar[bool] = False
    capabilities: ClassVar[frozenset[str]] = frozenset()
    rehearsal: ClassVar[Mapping[str, Any]] = NOTHING
    columns: tuple[str, ...]
    report: dict[str, float]
    importance: dict[str, float]
    score: float | None = None
    curves: Sequence[Mapping[str, float]] = ()
    notes: Mapping[str, str] = NOTHING
    heat_maps: Mapping[str, pd.DataFrame] = NOTHING

    @classmethod
    @abstractmethod
    def fit(cls, window: Window, params: Mapping[str, Any], sizing: Sizing, seed: int, progress: Progress) -> Self:
        """Train on the window, deterministically in (window, params, seed). ValueError names an unknown parameter.

        An algorithm that practises takes a last argument `practice`, and is deterministic in that, too.
        """

    @classmethod
    def require(cls, window: Window, params: Mapping[str, Any], practice: TrainingContext | None) -> None:
        """InsufficientData where that is too little to fit on. Asked before a training is announced."""
        return None

    def for_symbol(self, symbol: str) -> Self:
        """This model, to decide for a symbol of its pool."""
        raise TypeError(f"{type(self).__module__} serves the one symbol that it was fitted on")

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


def parse_params(options: type[Params], params: Mapping[str, Any]) -> Params:
    """The params of a recipe, checked. ValueError names each that is wrong, its value and what is allowed."""
    try:
        return options.model_validate(params)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, e['loc'])) or 'params'} = {e['input']!r}: {e['msg']}" for e in error.errors()]
        raise ValueError(f"{options.__module__.rpartition('.')[2]}: " + "; ".join(wrong)) from None


def save_model(model: Model, folder: Path, name: str) -> str:
    """Save with the algorithm's name, so that `load_model` finds its class, and the hashes of all files.

    Returns the artefact's SHA-256: that of algorithm.json, which holds the others.
    """
    folder.mkdir(parents=True)
    model.save(folder)
    (folder / INDEX).write_text(json.dumps({"algorithm": name, "files": manifest(folder)}, sort_keys=True))
    return file_hash(folder / INDEX)


def load_model(folder: Path) -> Model:
    """The model in a folder that `save_model` wrote. ArtefactError where the folder holds anything else."""
    told = json.loads((folder / INDEX).read_text())
    check(folder, told["files"], besides=[INDEX])
    return algorithm(told["algorithm"]).load(folder)
