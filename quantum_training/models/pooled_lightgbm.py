"""Recipe family `pooled_lightgbm`: lightgbm.py's model for many symbols, each scaled, the symbol a category."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import pandas as pd

from quantum_training.features.pool import SYMBOL, Pool
from quantum_training.features.windows import Normaliser
from quantum_training.models import lightgbm
from quantum_training.models.artefact_files import read_json, write_json
from quantum_training.models.contract import AlgorithmTraits, TrainingContext
from quantum_training.models.contract import Model as Contract

UNSEEN, MEAN = "unseen", "mean"
"""Key of pool.json of a version for a symbol outside of the pool. Those of release 0.1 have none."""
NO_CATEGORY = -1.0
"""What those versions give LightGBM as the symbol."""


class Model(Contract):
    """A booster on features that are z-scores of their symbol, with the symbol as a category. `params` as of lightgbm.

    A symbol whose history is too short for the pool gets the mean of the positions that the booster decides for each
    symbol of it, on features that are scaled with the statistics of all symbols together; `notes` then has an entry
    `fallback`. LightGBM has no mean of its own: a category that it has not seen goes the way of some other one.
    """

    packages = ("lightgbm",)
    traits = AlgorithmTraits(
        is_pooled=True,
        sources=(
            "quantum_training.models.lightgbm",
            "quantum_training.models.booster",
            "quantum_training.models.artefact_files",
        ),
    )

    def __init__(
        self,
        booster: lightgbm.Model,
        normalisers: Mapping[str, Normaliser],
        common: Normaliser,
        symbol: str = "",
        unseen: str = MEAN,
    ):
        self.unseen = unseen
        self.booster, self.normalisers, self.common, self.symbol = booster, dict(normalisers), common, symbol
        self.columns = tuple(column for column in booster.columns if column != SYMBOL)
        self.report, self.importance, self.score = booster.report, booster.importance, booster.score
        self.notes = {"pool": ", ".join(self.normalisers)}
        if symbol and symbol not in self.normalisers:
            self.notes["fallback"] = f"{symbol} has too little history of its own to be in the pool"

    @classmethod
    def fit(cls, context: TrainingContext) -> Self:
        """Fit as lightgbm does. ValueError if the window is no Pool or a parameter is wrong."""
        window = context.window
        if not isinstance(window, Pool):
            raise ValueError("pooled_lightgbm learns from several symbols: give a window of features.pool")
        booster = lightgbm.Model.fit(context)
        return cls(booster, window.normalisers, window.normaliser)

    def for_symbol(self, symbol: str) -> Self:
        """The same booster, deciding for this symbol."""
        return type(self)(self.booster, self.normalisers, self.common, symbol)

    def positions(self, features: pd.DataFrame) -> pd.Series:
        symbols = list(self.normalisers)
        scaled = self.normalisers.get(self.symbol, self.common).transform(features[list(self.columns)].to_numpy())
        rows = pd.DataFrame(scaled, features.index, list(self.columns))
        if self.symbol in symbols:
            return self.booster.positions(rows.assign(**{SYMBOL: float(symbols.index(self.symbol))}))
        categories = range(len(symbols)) if self.unseen == MEAN else [NO_CATEGORY]
        positions = [self.booster.positions(rows.assign(**{SYMBOL: float(category)})) for category in categories]
        return pd.concat(positions, axis=1).mean(axis=1).rename("position")

    def save(self, folder: Path) -> None:
        self.booster.save(folder)
        content = {
            "symbol": self.symbol,
            "score": self.score,
            "common": self.common.to_dict(),
            "normalisers": [[name, normaliser.to_dict()] for name, normaliser in self.normalisers.items()],
            **({UNSEEN: self.unseen} if self.unseen and self.symbol not in self.normalisers else {}),
        }
        write_json(folder / "pool.json", content)

    @classmethod
    def load(cls, folder: Path) -> Self:
        content = read_json(folder / "pool.json")
        normalisers = {name: Normaliser.from_dict(values) for name, values in content["normalisers"]}
        booster = lightgbm.Model.load(folder)
        booster.score = content["score"]
        common, symbol = Normaliser.from_dict(content["common"]), content["symbol"]
        return cls(booster, normalisers, common, symbol, content.get(UNSEEN, ""))
