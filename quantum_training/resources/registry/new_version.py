"""A version that is to be registered: the model, and what MLflow shows of it. Nothing is written here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from quantum_training.market.calendar_settings import ALWAYS_OPEN, Calendar
from quantum_training.models.contract import Model


@dataclass(frozen=True)
class NewVersion:
    """A fitted model with its tags, which hold at least model_id, recipe and as_of, and its numbers.

    example: rows on which the stored copy must give the same positions. curves: points with a `step`, logged as metrics
    training/<name>. started: when the fit began. artefact_hash: of an earlier fit, whose files this one must repeat.
    timeframe, calendar: of the symbol's bars, for those who ask the version with candles.
    """

    model: Model
    algorithm: str
    example: pd.DataFrame
    tags: Mapping[str, str]
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    started: pd.Timestamp
    curves: Sequence[Mapping[str, float]] = ()
    artefact_hash: str | None = None
    timeframe: str | None = None
    calendar: Calendar = ALWAYS_OPEN

    @property
    def model_id(self) -> str:
        """The identity of the version."""
        return self.tags["model_id"]

    @property
    def run_name(self) -> str:
        """The name of its run in MLflow."""
        return f"{self.tags['recipe']} {self.tags['as_of'][:10]}"
