"""The request for a training: as of when and why a version is trained, and which run trains it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

import pandas as pd

from quantum_training.lifecycle.training.ensemble_members import DecisionCache
from quantum_training.lifecycle.training.model_cache import ModelCache
from quantum_training.market.periods import WEEK, Key


@dataclass(frozen=True)
class TrainingRequest:
    """As of when and why a version is trained. The defaults are those of the weekly refresh."""

    as_of: str = ""
    """UTC time up to which data may be used, within the partition's week. Empty: its Monday 00:00."""
    trigger: str = "SCHEDULED"
    """SCHEDULED, DRIFT_DETECTED, PERFORMANCE_DECAY or MANUAL."""
    reason: str = "weekly refresh"
    """A sentence for the people who read the version in MLflow."""
    episodes: int = 0
    """Budget of an agent's fit in episodes. 0: the recipe's own budget."""

    def as_of_in(self, key: Key) -> pd.Timestamp:
        """The requested `as_of` in UTC. ValueError if it lies outside the week of this partition."""
        as_of = pd.Timestamp(self.as_of or key.start)
        as_of = as_of.tz_localize("UTC") if as_of.tz is None else as_of.tz_convert("UTC")
        if not key.start <= as_of < key.start + WEEK:
            raise ValueError(
                f"as_of {as_of} is outside the week of partition {key}; take a time in it or another partition"
            )
        return as_of


def never(error: BaseException) -> bool:
    """The answer of a caller that does not retry."""
    return False


@dataclass(frozen=True)
class TrainingRun:
    """The run that trains one or several weeks, and what it keeps in memory from one week to the next."""

    run_id: str = field(default_factory=lambda: str(uuid4()))
    first_run_id: str = ""
    """The run whose failure this run retries, if it does: both are one training for those who read the events."""
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("quantum_training"))
    may_be_retried: Callable[[BaseException], bool] = never
    """Will the caller, or whoever started it, try again after this error? Then the training has not failed yet."""
    models: ModelCache = field(default_factory=ModelCache)
    decisions: DecisionCache = field(default_factory=dict)

    def job_id(self, key: Key, recipe: str) -> str:
        """The id of a training in its events. All retries of a run share it, so that one start has one end."""
        return f"{self.first_run_id or self.run_id}/{key}/{recipe}"

    def progress(self, message: str) -> None:
        """Log a line of a fit with the beginning of the run's id, as Dagster shows it."""
        prefix = f"[{self.run_id[:8]}]"
        self.log.info(f"{prefix}{message}" if message.startswith("[") else f"{prefix} {message}")
