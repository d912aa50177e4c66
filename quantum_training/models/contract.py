"""The interface of all models: what a fit is given, what an algorithm declares, what a trained model offers.

Also the lookup of an algorithm by its name, and how artefacts are saved and loaded. No algorithm lives here.
"""

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


MAX_LOOKBACK_BARS = 240
"""The positions of a week depend on at most this many bars before it."""

INDEX = "algorithm.json"
"""File of an artefact that names its algorithm and hashes its other files."""

NOTHING: Mapping[str, Any] = MappingProxyType({})
Params = TypeVar("Params", bound=BaseModel)


def no_progress(message: str) -> None:
    """A Progress that reports to nobody."""


@dataclass(frozen=True, eq=False)
class TrainingContext:
    """Everything that a fit is given. The fields from `market` on are set for algorithms whose traits ask for them."""

    window: Window
    """Labelled, purged rows; a features.pool.Pool for a pooled algorithm."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the recipe; the algorithm checks them."""
    sizing: Sizing = field(default_factory=Sizing)
    """How a probability becomes a position."""
    seed: int = 0
    progress: Progress = no_progress
    """Takes one line of text at a time, for the people who watch the run."""
    market: Market | None = None
    """Costs, account and candles; the candles reach back before the window and end at its as_of."""
    checkpoint_dir: Path | None = None
    """Folder for the checkpoints from which a killed fit continues; None: no checkpoints."""
    warm_start_from: Model | None = None
    """The version whose weights the fit starts from."""
    replay: pd.DataFrame | None = None
    """Historical positions to learn from, by the bar that filled them, one column per source."""
    features: pd.DataFrame | None = None
    """All feature columns of the market's bars."""
    horizon: int = 1
    """Horizon of the recipe's label, in bars."""
    members: Mapping[str, Model] = field(default_factory=dict)
    """The newest version of each recipe that an ensemble combines, by recipe."""
    member_positions: pd.DataFrame | None = None
    """Out-of-sample positions of the members, by the bar that filled them, one column per member."""


@dataclass(frozen=True)
class AlgorithmTraits:
    """What an algorithm needs from the platform and what it can do, the same for all of its fits."""

    build_packages: tuple[str, ...] = ()
    """Distributions that only a fit needs; `Model.packages` are those that loading needs."""
    sources: tuple[str, ...] = ()
    """Modules or packages, beside the class's own, whose code is part of a version's identity."""
    needs_market: bool = False
    """The context holds the market, its features and the label's horizon."""
    is_ensemble: bool = False
    """The context holds the members and their out-of-sample positions."""
    is_pooled: bool = False
    """The window is a features.pool.Pool; one fit serves every symbol, each through `Model.for_symbol`."""
    capabilities: frozenset[str] = frozenset()
    """Which of the recipe options `warm_start` and `replay` the algorithm supports."""
    smoke_params: Mapping[str, Any] = field(default_factory=dict)
    """Params that make a fit small enough for the leak sentinel, which runs thirty."""


class Model(ABC):
    """A trained model: target positions from features. Artefacts are plain data; nothing is unpickled."""

    traits: ClassVar[AlgorithmTraits] = AlgorithmTraits()
    packages: tuple[str, ...] = ()
    """Distributions that loading the model needs."""
    lookback_bars: int = 0
    """Bars before a row that its position depends on; if any, `positions` needs consecutive bars with `open` and
    `close`. On the class: the most that any of its models needs."""
    has_account: bool = False
    """The model trades an account of its own, which is flat before the first row it is given."""
    is_stochastic: bool = False
    """Equally good fits decide differently, so that the refresh gate compares returns alone."""
    columns: tuple[str, ...]
    """Columns that the model reads from a row, in order."""
    report: dict[str, float]
    """Numbers that the fit measured."""
    importance: dict[str, float]
    """Weight per feature; empty if the algorithm has none."""
    score: float | None = None
    """How good the fit was, to rank seeds; higher is better. None if the algorithm has no such number."""
    curves: Sequence[Mapping[str, float]] = ()
    """Points of the training curves: a `step` and numbers."""
    notes: Mapping[str, str] = NOTHING
    """Remarks of the fit in words, by subject."""
    heat_maps: Mapping[str, pd.DataFrame] = NOTHING
    """Tables of numbers in [-1, 1] to draw, by title."""

    @classmethod
    @abstractmethod
    def fit(cls, context: TrainingContext) -> Self:
        """Train a model, deterministically in the context. ValueError names a parameter that is unknown or wrong."""

    @classmethod
    def check_inputs(cls, context: TrainingContext) -> None:
        """InsufficientData if the context holds too little to fit on. Runs before a training is announced."""
        return None

    def for_symbol(self, symbol: str) -> Self:
        """The same model, deciding for this symbol of its pool."""
        raise TypeError(f"{type(self).__module__} serves the one symbol that it was fitted on")

    @abstractmethod
    def positions(self, features: pd.DataFrame) -> pd.Series:
        """Target position decided at each row's close, indexed like `features`; NaN if a feature is.

        In [0, 1], or in [-1, 1] if the account may short.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the artefact into an existing empty folder."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """The model that `save` wrote, with the same positions bit for bit."""


def algorithm(name: str) -> type[Model]:
    """The class Model of a module: `xgboost` of quantum_training.models, `my_package.ridge` of any package."""
    module = import_module(name if "." in name else f"quantum_training.models.{name}")
    cls: type[Model] = module.Model
    return cls


def parse_params(options: type[Params], params: Mapping[str, Any], name: str = "") -> Params:
    """The validated params of a recipe. ValueError names each wrong one, its value and what is allowed.

    name: the algorithm's, if it is not that of the module that defines `options`.
    """
    try:
        return options.model_validate(params)
    except ValidationError as error:
        errors = [f"{'.'.join(map(str, e['loc'])) or 'params'} = {e['input']!r}: {e['msg']}" for e in error.errors()]
        raise ValueError(f"{name or options.__module__.rpartition('.')[2]}: " + "; ".join(errors)) from None


def save_model(model: Model, folder: Path, name: str) -> str:
    """Save a model with its algorithm's name, which `load_model` needs, and the hashes of its files.

    Returns the SHA-256 of algorithm.json, which holds the other hashes.
    """
    folder.mkdir(parents=True)
    model.save(folder)
    (folder / INDEX).write_text(json.dumps({"algorithm": name, "files": manifest(folder)}, sort_keys=True))
    return file_hash(folder / INDEX)


def load_model(folder: Path) -> Model:
    """The model that `save_model` wrote. ArtefactError if the folder holds anything else."""
    index = json.loads((folder / INDEX).read_text())
    check(folder, index["files"], ignored=[INDEX])
    return algorithm(index["algorithm"]).load(folder)
