"""The events of a training on the event bus: that it started and how it ended. The training is in train_version.py."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd

from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.payloads import MAX_ERROR, TrainingCompleted, TrainingStarted, event


def reward_metrics(curves: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean over the curve and last point of an agent's mean reward per episode; empty without such a curve."""
    rewards = [point["mean_reward"] for point in curves if "mean_reward" in point]
    return {"avg_reward": sum(rewards) / len(rewards), "final_reward": rewards[-1]} if rewards else {}


@dataclass(frozen=True)
class TrainingJob:
    """The training of a recipe for one symbol and week, in one run and the runs that retry it."""

    bus: EventBus
    symbol: str
    recipe: str
    job_id: str
    episodes: int | None = None
    """Episodes that an agent is to play; None of other algorithms."""

    @contextmanager
    def publish_started(
        self, trigger: str, reason: str, may_be_retried: Callable[[BaseException], bool] = lambda error: False
    ) -> Iterator[None]:
        """Publish that the training starts and, if the block raises, that it failed.

        may_be_retried: true for an error after which the training is tried again, so that it has not failed yet. If
        the process is killed or the retry never comes, automation/failures/dead_runs.py publishes the end.
        """
        started = pd.Timestamp.now("UTC")
        payload = TrainingStarted(
            job_id=self.job_id,
            model_type=self.recipe,
            trigger=trigger,
            reason=reason,
            started_at=started,
            episodes=self.episodes,
        )
        self.bus.outbox.publish([event(self.symbol, payload, self.job_id)])
        try:
            yield
        except BaseException as error:  # an interrupted training is over too
            if may_be_retried(error):
                raise
            seconds, message = (pd.Timestamp.now("UTC") - started).total_seconds(), f"{type(error).__name__}: {error}"
            try:
                self._publish_completed(self.job_id, None, {}, seconds, message[:MAX_ERROR])
            except Exception as publish_error:
                error.add_note(f"that the training failed could not be published: {publish_error}")
            raise

    def publish_succeeded(self, model_id: str, metrics: Mapping[str, float], seconds: float | None) -> None:
        """Publish that a version is registered, once per version and not per run.

        If a run is killed between registering and publishing, the next run publishes the event with `seconds` None.
        """
        self._publish_completed(model_id, model_id, metrics, seconds)

    def _played(self, metrics: Mapping[str, float]) -> int | None:
        return self.episodes if self.episodes is None else int(metrics.get("episodes", self.episodes))

    def _publish_completed(
        self,
        cause: str,
        model_id: str | None,
        metrics: Mapping[str, float],
        seconds: float | None,
        error_message: str | None = None,
    ) -> None:
        payload = TrainingCompleted(
            job_id=self.job_id,
            model_version=model_id,
            status="succeeded" if model_id else "failed",
            metrics={name: value if math.isfinite(value) else None for name, value in metrics.items()},
            duration_seconds=seconds,
            completed_at=pd.Timestamp.now("UTC"),
            episodes=self._played(metrics),
            error_message=error_message,
        )
        self.bus.outbox.publish([event(self.symbol, payload, cause)])
