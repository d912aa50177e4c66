"""What runs beside an agent's training: progress lines, curves, the time limit, and checkpoints.

Imports stable_baselines3, so it is imported inside functions.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stable_baselines3.common.callbacks import BaseCallback

from quantum_training.models import checkpoint
from quantum_training.models.contract import Progress

CURVES = {
    "train/policy_gradient_loss": "policy_loss",
    "train/actor_loss": "policy_loss",
    "train/value_loss": "value_loss",
    "train/critic_loss": "value_loss",
    "train/entropy_loss": "entropy",
    "train/ent_coef": "temperature",
    "train/explained_variance": "explained_variance",
}
"""Names of the curves, by stable-baselines3's names."""

POINTS = 100
"""Approximate number of points of a curve."""

LOG_SECONDS = 5.0
"""Least seconds between two progress lines."""


def divergence_message(name: str, value: float, step: int) -> str:
    """The message for a training whose numbers are no longer finite."""
    return f"{name} is {value} at step {step:,}: the training diverged; lower learning_rate"


class TrainingLimits(NamedTuple):
    """When a training ends and how often it is saved."""

    total_steps: int
    max_seconds: float | None
    """Wall time of the whole training, including earlier runs of it."""
    save_seconds: float
    """Seconds between two checkpoints."""


class TrainingCallback(BaseCallback):
    """Called by the learner at every rollout and step.

    path: the checkpoint's file, or None for no checkpoints; it is written every `save_seconds` and at the end, with the
    curves. identity: settings and data of the training (JSON-able); a checkpoint with another identity is refused.
    FloatingPointError if a loss is not finite, because nothing of such a training is worth keeping.
    """

    def __init__(
        self, progress: Progress, path: Path | None, identity: Mapping[str, Any], limits: TrainingLimits
    ) -> None:
        super().__init__()
        self._progress, self._path, self._identity, self._limits = progress, path, identity, limits
        self.curves: list[dict[str, float]] = []
        self.out_of_time = self.finished = False
        self._earlier_seconds = 0.0
        self._resumed_at = 0

    def resume(self) -> bool:
        """Restore the checkpoint of an earlier run, if there is one. Set `model` first. Returns whether there was."""
        if self._path is None or not self._path.exists():
            return False
        extra = checkpoint.restore(self.model, self._path, self._identity)
        self.curves, self._earlier_seconds = extra["curves"], extra["seconds"]
        self.finished, self.out_of_time = extra["finished"], extra["out_of_time"]
        self._resumed_at = self.model.num_timesteps
        self._progress(f"resumed at step {self._resumed_at:,} of {self._limits.total_steps:,}")
        return True

    def _on_training_start(self) -> None:
        self._started_at = self._saved_at = self._logged_at = time.monotonic()
        if not self.curves:
            self._save()

    @property
    def seconds(self) -> float:
        """Wall time spent on this training so far, including earlier runs."""
        return self._earlier_seconds + time.monotonic() - self._started_at

    def _on_rollout_start(self) -> None:
        now = time.monotonic()
        interval = self._limits.total_steps / POINTS
        if self.num_timesteps and (not self.curves or self.num_timesteps - self.curves[-1]["step"] >= interval):
            self._add_point()
        if now - self._logged_at >= LOG_SECONDS:
            self._log()
        if now - self._saved_at >= self._limits.save_seconds:
            self._save()
        self.out_of_time = self._limits.max_seconds is not None and self.seconds >= self._limits.max_seconds

    def _on_step(self) -> bool:
        return not self.out_of_time

    def finish(self) -> None:
        """Write the last point, progress line and checkpoint. A run that is killed later repeats no training."""
        if not self.curves or self.curves[-1]["step"] < self.num_timesteps:
            self._add_point()
        self._log()
        if self.out_of_time:
            self._progress(
                f"out of time: max_seconds = {self._limits.max_seconds:g} ends it at step {self.num_timesteps:,}"
            )
        self.finished = True
        self._save()

    def _add_point(self) -> None:
        values = self.model.logger.name_to_value
        losses = {curve: float(values[name]) for name, curve in CURVES.items() if name in values}
        if "entropy" in losses:
            losses["entropy"] *= -1
        for name, value in losses.items():
            if not math.isfinite(value) and name != "explained_variance":
                raise FloatingPointError(divergence_message(name, value, self.num_timesteps))
        episodes = list(self.model.ep_info_buffer or [])
        rewards = (
            {
                "mean_reward": sum(e["r"] for e in episodes) / len(episodes),
                "mean_growth": sum(math.log(max(e["growth"], 1e-9)) for e in episodes) / len(episodes),
            }
            if episodes
            else {}
        )
        finite = {name: value for name, value in losses.items() if math.isfinite(value)}
        self.curves.append({"step": self.num_timesteps, "episodes": self._episodes(), **rewards, **finite})

    def _episodes(self) -> int:
        return int(self.training_env.get_attr("finished")[0])

    def _log(self) -> None:
        self._logged_at = time.monotonic()
        total_steps = self._limits.total_steps
        done, remaining = self.num_timesteps - self._resumed_at, max(total_steps - self.num_timesteps, 0)
        rate = done / max(self._logged_at - self._started_at, 1e-9)
        point = self.curves[-1] if self.curves else {}
        numbers = ", ".join(f"{n.replace('_', ' ')} {v:.4g}" for n, v in point.items() if n not in ("step", "episodes"))
        episodes = self._episodes()
        expected_episodes = episodes + round(remaining / self.training_env.get_attr("episodes")[0].mean_bars)
        eta = f", {remaining / rate:,.0f} s left" if rate and remaining else ""
        self._progress(
            f"[episode {episodes:,}/{expected_episodes:,}] step {self.num_timesteps:,}/{total_steps:,}, "
            f"{numbers or 'warming up'}, {rate:,.0f} steps/s{eta}"
        )

    def _save(self) -> None:
        if self._path is not None:
            extra = {
                "curves": self.curves,
                "seconds": self.seconds,
                "finished": self.finished,
                "out_of_time": self.out_of_time,
            }
            checkpoint.save(self.model, self._path, self._identity, extra)
        self._saved_at = time.monotonic()
