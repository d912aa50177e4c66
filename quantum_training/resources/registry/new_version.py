"""A version that is to be registered: the model, and what MLflow shows of it. Nothing is written here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from quantum_training.features.sets.feature_set import FeatureSet
from quantum_training.market.calendar_settings import ALWAYS_OPEN, Calendar
from quantum_training.models.contract import Model
from quantum_training.resources.registry.training_data import TrainingData

RUN_ONLY = {"data_hash", "code_hash", "dagster_run_id", "dagster_partition"}
"""Tags that only the run has: nobody reads hashes and ids on the page of a version."""


@dataclass(frozen=True)
class NewVersion:
    """A fitted model with its tags, which hold at least model_id, recipe and as_of, and its numbers.

    example: rows on which the stored copy must give the same positions. curves: points with a `step`, logged as metrics
    training/<name>. started: when the fit began. artefact_hash: of an earlier fit, whose files this one must repeat.
    timeframe, calendar, feature_sets: of the symbol's bars and of the sets among the columns that the model reads, for
    those who ask the version with candles.
    description: a sentence that says what the version is. data: the rows of the fit. pictures: SVG texts by file name.
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
    feature_sets: Mapping[str, FeatureSet] = field(default_factory=dict)
    description: str = ""
    data: TrainingData | None = None
    pictures: Mapping[str, str] = field(default_factory=dict)

    @property
    def model_id(self) -> str:
        """The identity of the version."""
        return self.tags["model_id"]

    @property
    def run_name(self) -> str:
        """The name of its run in MLflow: recipe and day of as_of, with the time of one inside the week."""
        day, time = self.tags["as_of"][:10], self.tags["as_of"][11:16]
        return f"{self.tags['recipe']} {day}" + ("" if time in ("", "00:00") else f" {time}")

    @property
    def run_tags(self) -> dict[str, str]:
        """The tags of its run, with the description where MLflow shows it."""
        return {**self.tags, **({"mlflow.note.content": self.description} if self.description else {})}

    @property
    def version_tags(self) -> dict[str, str]:
        """The tags of the version."""
        return {name: value for name, value in self.tags.items() if name not in RUN_ONLY}
