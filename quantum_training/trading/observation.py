"""The market's part of an agent's observation at a bar's close. The portfolio's part: episode_kernel.observe.

One definition for training, scoring and serving. Nothing here is compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from quantum_training.features.windows import Normaliser

PORTFOLIO = ("cash_share", "position", "unrealised_pnl", "drawdown", "bars_held")
"""The last numbers of an observation: shares of equity; profit and drawdown in typical bar moves; h / (h + HALF_HELD)
after h bars."""

HALF_HELD = 24.0
LIMIT = 10.0
"""Largest number that an observation holds, either sign: a market beyond the training window stays finite."""


@dataclass(frozen=True, eq=False)
class View:
    """How bars become observations, as fitted on a training window.

    columns: the features, in order. normaliser: of these. lags: how many last log returns follow them. unit: standard
    deviation of a bar's log return of the closes, which scales returns, profit and drawdown.
    """

    columns: tuple[str, ...]
    normaliser: Normaliser
    lags: int
    unit: float

    @classmethod
    def fit(cls, columns: tuple[str, ...], x: np.ndarray, close: np.ndarray, lags: int) -> Self:
        """Measure a training window. x: (rows, columns), no NaN; close: (rows,). ValueError if no close moves."""
        unit = float(np.diff(np.log(close)).std())
        if not unit > 0:
            raise ValueError(f"the close does not move in {len(close)} training bars; there is nothing to trade")
        return cls(columns, Normaliser.fit(x), lags, unit)

    @property
    def width(self) -> int:
        """Numbers of one observation."""
        return len(self.columns) + self.lags + len(PORTFOLIO)

    @property
    def names(self) -> list[str]:
        """What the numbers of an observation are, in order."""
        return [*self.columns, *(f"log_return_{lag}" for lag in range(self.lags)), *PORTFOLIO]

    def rows(self, x: np.ndarray, close: np.ndarray) -> np.ndarray:
        """The market's part of the observations of consecutive bars: float32 (bars, columns + lags).

        x: (bars, columns); close: (bars,). NaN if a feature is, and in the first `lags` rows.
        """
        steps = np.diff(np.log(close), prepend=np.nan) / self.unit
        lagged = np.full((len(close), self.lags), np.nan)
        for lag in range(self.lags):
            lagged[lag:, lag] = steps[: len(steps) - lag]
        rows: np.ndarray = np.clip(np.hstack([self.normaliser.transform(x), lagged]), -LIMIT, LIMIT).astype("float32")
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON keeps exactly."""
        return {
            "columns": list(self.columns),
            "normaliser": self.normaliser.to_dict(),
            "lags": self.lags,
            "unit": self.unit,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The view that `to_dict` wrote."""
        normaliser = Normaliser.from_dict(values["normaliser"])
        return cls(tuple(values["columns"]), normaliser, values["lags"], values["unit"])
