"""Recipe family `pooled_lightgbm`: one LightGBM on all symbols that use the recipe, which serves each of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import pandas as pd

from quantum_training.features.pool import SYMBOL, Pool
from quantum_training.features.windows import Normaliser
from quantum_training.models import lightgbm
from quantum_training.models.contract import AlgorithmTraits, TrainingContext
from quantum_training.models.contract import Model as Contract

UNKNOWN = -1.0
"""What LightGBM takes as a missing category."""


class Model(Contract):
    """A booster on features that are z-scores of their symbol, with the symbol as a category. `params` as of lightgbm.

    A symbol that is not in the pool, for too little history of its own, is served all the same: its category is missing
    and its features are scaled as all symbols' together. `notes` says so.
    """

    packages = ("lightgbm",)
    traits = AlgorithmTraits(
        is_pooled=True, sources=("quantum_training.models.lightgbm", "quantum_training.models.booster")
    )

    def __init__(
        self, booster: lightgbm.Model, normalisers: Mapping[str, Normaliser], common: Normaliser, symbol: str = ""
    ):
        self.booster, self.normalisers, self.common, self.symbol = booster, dict(normalisers), common, symbol
        self.columns = tuple(column for column in booster.columns if column != SYMBOL)
        self.report, self.importance, self.score = booster.report, booster.importance, booster.score
        self.notes = {"pool": ", ".join(self.normalisers)}
        if symbol and symbol not in self.normalisers:
            self.notes["fallback"] = f"{symbol} has too little history of its own to be in the pool"

    @classmethod
    def fit(cls, context: TrainingContext) -> Self:
        """Fit as lightgbm does. ValueError where the window is no Pool, or for a parameter that is wrong."""
        window = context.window
        if not isinstance(window, Pool):
            raise ValueError("pooled_lightgbm learns from several symbols: give a window of features.pool")
        booster = lightgbm.Model.fit(context)
        return cls(booster, window.normalisers, window.normaliser)

    def for_symbol(self, symbol: str) -> Self:
        """The same booster, deciding for this symbol."""
        return type(self)(self.booster, self.normalisers, self.common, symbol)

    def positions(self, features: pd.DataFrame) -> pd.Series:
        known = list(self.normalisers)
        scaled = self.normalisers.get(self.symbol, self.common).transform(features[list(self.columns)].to_numpy())
        number = float(known.index(self.symbol)) if self.symbol in known else UNKNOWN
        rows = pd.DataFrame(scaled, features.index, list(self.columns)).assign(**{SYMBOL: number})
        return self.booster.positions(rows)

    def save(self, folder: Path) -> None:
        self.booster.save(folder)
        told = {
            "symbol": self.symbol,
            "score": self.score,
            "common": self.common.to_dict(),
            "normalisers": [[name, normaliser.to_dict()] for name, normaliser in self.normalisers.items()],
        }
        (folder / "pool.json").write_text(json.dumps(told, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> Self:
        told = json.loads((folder / "pool.json").read_text())
        normalisers = {name: Normaliser.from_dict(values) for name, values in told["normalisers"]}
        booster = lightgbm.Model.load(folder)
        booster.score = told["score"]
        return cls(booster, normalisers, Normaliser.from_dict(told["common"]), told["symbol"])
