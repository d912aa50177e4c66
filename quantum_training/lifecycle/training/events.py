"""What a training tells the event bus: that it starts, and how it ends. The training itself is assets/models.py."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg
import pandas as pd

from quantum_training.assets.step_retries import first_attempt
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.payloads import TrainingCompleted, TrainingStarted, event


def job_id(instance: dg.DagsterInstance, run: dg.DagsterRun, partition: str, recipe: str) -> str:
    """The id of a training. A run that Dagster starts to try another one again keeps it, so one start has one end."""
    return f"{first_attempt(instance, run)}/{partition}/{recipe}"


@dataclass(frozen=True)
class TrainingJob:
    """The training of a recipe for one partition in one Dagster run and the runs that try it again."""

    bus: EventBus
    symbol: str
    recipe: str
    job_id: str

    @contextmanager
    def announced(
        self, trigger: str, reason: str, goes_on: Callable[[BaseException], bool] = lambda error: False
    ) -> Iterator[None]:
        """Publish that the training starts and, where the block raises, that it failed.

        goes_on: whether it may be tried again after this error; then nothing has failed yet. Where the process is
        killed, and where nothing comes after all, automation/run_ends.py publishes the end.
        """
        started = pd.Timestamp.now("UTC")
        opening = TrainingStarted(
            job_id=self.job_id, model_type=self.recipe, trigger=trigger, reason=reason, started_at=started
        )
        self.bus.publish([event(self.symbol, opening, self.job_id)])
        try:
            yield
        except BaseException as error:  # an interrupted training is over too
            if goes_on(error):
                raise
            try:
                self._completed(self.job_id, None, {}, (pd.Timestamp.now("UTC") - started).total_seconds())
            except Exception as second:
                error.add_note(f"that the training failed could not be published: {second}")
            raise

    def succeeded(self, model_id: str, metrics: Mapping[str, float], seconds: float | None) -> None:
        """Publish that a version is registered, once per version and not per run.

        So the run after one that was killed between registering and publishing makes up for it; it gives no seconds.
        """
        self._completed(model_id, model_id, metrics, seconds)

    def _completed(self, cause: str, model_id: str | None, metrics: Mapping[str, float], seconds: float | None) -> None:
        ending = TrainingCompleted(
            job_id=self.job_id,
            model_version=model_id,
            status="succeeded" if model_id else "failed",
            metrics={name: value if math.isfinite(value) else None for name, value in metrics.items()},
            duration_seconds=seconds,
            completed_at=pd.Timestamp.now("UTC"),
        )
        self.bus.publish([event(self.symbol, ending, cause)])
