"""What gradient boosters share: early stopping in time order, the refit, positions and the sidecar file.

One library's calls live in that library's file (xgboost.py, lightgbm.py).
"""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from quantum_training.models.contract import Model, TrainingContext
from quantum_training.models.sizing import Sizing

if TYPE_CHECKING:
    from quantum_training.features.windows import Window

MAX_ROUNDS = 300
PATIENCE = 30


class Booster(Model):
    """A binary classifier of "a long position pays off after costs", sized by `Sizing`."""

    def __init__(self, core: Any, columns: tuple[str, ...], sizing: Sizing, report: dict[str, float]):
        self.core, self.columns, self.sizing, self.report = core, columns, sizing, report
        gains = self._gains()
        total = sum(gains) or 1.0
        self.importance = {column: gain / total for column, gain in zip(columns, gains, strict=True)}

    @classmethod
    def fit(cls, context: TrainingContext) -> Self:
        """Find the number of rounds on the newest purged slice, then refit on the whole window with that number.

        `params` go to the library; `max_rounds` bounds the search. Runs on one thread. ValueError names a parameter
        that is unknown or not the recipe's to set.
        """
        window, own = context.window, dict(context.params)
        max_rounds = int(own.pop("max_rounds", MAX_ROUNDS))
        if max_rounds < 1:
            raise ValueError(f"max_rounds is {max_rounds}; it must be at least 1")
        rounds, loss = cls._search(window, own, context.seed, max_rounds)
        context.progress(f"early stopping: {rounds} of {max_rounds} rounds, validation log loss {loss:.5f}")
        core = cls._train(window.full_x, window.full_y, window.columns, own, context.seed, rounds)
        share = float(window.valid_y.mean())
        base = -np.log(share) * share - np.log(1 - share) * (1 - share) if 0 < share < 1 else 0.0
        report = {"rounds": float(rounds), "valid_logloss": float(loss), "valid_logloss_of_base_rate": float(base)}
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
        sidecar = {"columns": self.columns, "sizing": self.sizing.model_dump(), "report": self.report}
        (folder / "booster.json").write_text(json.dumps(sidecar, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> Self:
        sidecar = json.loads((folder / "booster.json").read_text())
        sizing = Sizing.model_validate(sidecar["sizing"])
        return cls(cls._read(folder), tuple(sidecar["columns"]), sizing, sidecar["report"])

    @classmethod
    @abstractmethod
    def _search(cls, window: Window, params: dict[str, Any], seed: int, max_rounds: int) -> tuple[int, float]: ...

    @classmethod
    @abstractmethod
    def _train(
        cls, x: np.ndarray, y: np.ndarray, columns: tuple[str, ...], params: dict[str, Any], seed: int, rounds: int
    ) -> Any: ...

    @abstractmethod
    def _probability(self, x: np.ndarray) -> np.ndarray: ...

    @abstractmethod
    def _gains(self) -> list[float]: ...

    @abstractmethod
    def _write(self, folder: Path) -> None: ...

    @classmethod
    @abstractmethod
    def _read(cls, folder: Path) -> Any: ...
