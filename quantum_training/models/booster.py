"""What gradient boosters share: early stopping in time order, the refit, positions and the side file.

The calls of one library are in that library's file (xgboost.py, lightgbm.py).
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from quantum_training.models.artefact_files import read_json, write_json
from quantum_training.models.contract import AlgorithmTraits, Model, TrainingContext
from quantum_training.models.sizing import Sizing

if TYPE_CHECKING:
    from quantum_training.features.windows import Window

MAX_ROUNDS = 300
EARLY_STOPPING_ROUNDS = 30


class Booster(Model):
    """A binary classifier of "a long position pays off after costs", sized by `Sizing`."""

    traits = AlgorithmTraits(sources=("quantum_training.models.artefact_files",))

    def __init__(self, core: Any, columns: tuple[str, ...], sizing: Sizing, report: dict[str, float]):
        self.core, self.columns, self.sizing, self.report = core, columns, sizing, report
        gains = self._gains()
        total = sum(gains) or 1.0
        self.importance = {column: gain / total for column, gain in zip(columns, gains, strict=True)}

    @classmethod
    def fit(cls, context: TrainingContext) -> Self:
        """Find the number of rounds on the newest purged slice, then refit on the whole window with that number.

        `params` go to the library; `max_rounds` bounds the search. Runs on one thread. ValueError names a parameter
        that is unknown or that a recipe may not set.
        """
        window, params = context.window, dict(context.params)
        max_rounds = int(params.pop("max_rounds", MAX_ROUNDS))
        if max_rounds < 1:
            raise ValueError(f"max_rounds is {max_rounds}; it must be at least 1")
        rounds, loss = cls._search(window, params, context.seed, max_rounds)
        context.progress(f"early stopping: {rounds} of {max_rounds} rounds, validation log loss {loss:.5f}")
        core = cls._train(window, params, context.seed, rounds)
        rate = float(window.valid_y.mean())
        base_loss = -np.log(rate) * rate - np.log(1 - rate) * (1 - rate) if 0 < rate < 1 else 0.0
        report = {"rounds": float(rounds), "valid_logloss": float(loss), "valid_logloss_of_base_rate": float(base_loss)}
        model = cls(core, window.columns, context.sizing, report)
        model.score = -float(loss)
        return model

    def positions(self, features: pd.DataFrame) -> pd.Series:
        x = features.loc[:, list(self.columns)].to_numpy("float64")
        complete = ~np.isnan(x).any(axis=1)
        out = np.full(len(x), np.nan)
        if complete.any():
            out[complete] = self.sizing.positions(self._probability(np.ascontiguousarray(x[complete])))
        return pd.Series(out, features.index, name="position")

    def save(self, folder: Path) -> None:
        self._write(folder)
        content = {"columns": self.columns, "sizing": self.sizing.model_dump(), "report": self.report}
        write_json(folder / "booster.json", content)

    @classmethod
    def load(cls, folder: Path) -> Self:
        content = read_json(folder / "booster.json")
        sizing = Sizing.model_validate(content["sizing"])
        return cls(cls._read(folder), tuple(content["columns"]), sizing, content["report"])

    @classmethod
    @abstractmethod
    def _search(cls, window: Window, params: dict[str, Any], seed: int, max_rounds: int) -> tuple[int, float]:
        """The best number of rounds up to `max_rounds`, and its log loss on the validation rows."""

    @classmethod
    @abstractmethod
    def _train(cls, window: Window, params: dict[str, Any], seed: int, rounds: int) -> Any:
        """The library's booster of `rounds` rounds on all rows of the window."""

    @abstractmethod
    def _probability(self, x: np.ndarray) -> np.ndarray:
        """Probability of label 1 for rows x (rows, columns), shape (rows,)."""

    @abstractmethod
    def _gains(self) -> list[float]:
        """Total gain of the splits on each column."""

    @abstractmethod
    def _write(self, folder: Path) -> None:
        """Write the library's booster in its native format."""

    @classmethod
    @abstractmethod
    def _read(cls, folder: Path) -> Any:
        """The booster that `_write` wrote."""
