"""What happens beside a training: progress for people, curves, the budget of time, and the states to go on from.

Imports stable_baselines3, so it is imported where it is used.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from quantum_training.models import checkpoint as training_state
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
"""stable-baselines3's names, and ours."""

POINTS = 100
"""About how many points a curve has."""

LOG_SECONDS = 5.0


def diverged(name: str, value: float, step: int) -> str:
    """What to say of a training whose numbers are no longer finite."""
    return f"{name} is {value} at step {step:,}: the training diverged; lower learning_rate"


class Watch(BaseCallback):
    """Called by the learner at every rollout and step.

    state: file of the training state, or None to keep none; written every `save_seconds` and at the end, with the
    curves. made_of: settings and data of the training (JSON-able), which its state must have been kept with. total:
    steps of the budget. max_seconds: wall time of the whole training, earlier runs of it included.
    FloatingPointError where a loss is not finite: nothing of it would be worth keeping.
    """

    def __init__(
        self,
        progress: Progress,
        state: Path | None,
        made_of: Mapping[str, Any],
        total: int,
        max_seconds: float | None,
        save_seconds: float,
    ):
        super().__init__()
        self._progress, self._state, self._made_of, self.total = progress, state, made_of, total
        self._max_seconds, self._save_seconds = max_seconds, save_seconds
        self.curves: list[dict[str, float]] = []
        self.out_of_time = self.finished = False
        self._before = 0.0
        self._resumed_at = 0

    def resume(self) -> bool:
        """Take up the state of an earlier run where there is one. Call with `model` set. Returns whether there was."""
        if self._state is None or not self._state.exists():
            return False
        extra = training_state.restore(self.model, self._state, self._made_of)
        self.curves, self._before = extra["curves"], extra["seconds"]
        self.finished, self.out_of_time = extra["finished"], extra["out_of_time"]
        self._resumed_at = self.model.num_timesteps
        self._progress(f"resumed at step {self._resumed_at:,} of {self.total:,}")
        return True

    def _on_training_start(self) -> None:
        self._began = self._saved = self._said = time.monotonic()
        if not self.curves:
            self._keep()

    @property
    def seconds(self) -> float:
        """Wall time spent on this training so far, earlier runs included."""
        return self._before + time.monotonic() - self._began

    def _on_rollout_start(self) -> None:
        now = time.monotonic()
        due = self.total / POINTS
        if self.num_timesteps and (not self.curves or self.num_timesteps - self.curves[-1]["step"] >= due):
            self._record()
        if now - self._said >= LOG_SECONDS:
            self._say()
        if now - self._saved >= self._save_seconds:
            self._keep()
        self.out_of_time = self._max_seconds is not None and self.seconds >= self._max_seconds

    def _on_step(self) -> bool:
        return not self.out_of_time

    def finish(self) -> None:
        """The last point, the last line, the last state: a run that is killed from here on trains nothing again."""
        if not self.curves or self.curves[-1]["step"] < self.num_timesteps:
            self._record()
        self._say()
        if self.out_of_time:
            self._progress(f"out of time: max_seconds = {self._max_seconds:g} ends it at step {self.num_timesteps:,}")
        self.finished = True
        self._keep()

    def _record(self) -> None:
        values = self.model.logger.name_to_value
        losses = {ours: float(values[theirs]) for theirs, ours in CURVES.items() if theirs in values}
        if "entropy" in losses:
            losses["entropy"] *= -1
        for name, value in losses.items():
            if not math.isfinite(value) and name != "explained_variance":
                raise FloatingPointError(diverged(name, value, self.num_timesteps))
        recent = list(self.model.ep_info_buffer or [])
        rewards = (
            {
                "mean_reward": sum(e["r"] for e in recent) / len(recent),
                "mean_growth": sum(math.log(max(e["growth"], 1e-9)) for e in recent) / len(recent),
            }
            if recent
            else {}
        )
        finite = {name: value for name, value in losses.items() if math.isfinite(value)}
        self.curves.append({"step": self.num_timesteps, "episodes": self._episodes(), **rewards, **finite})

    def _episodes(self) -> int:
        return self.training_env.get_attr("finished")[0]

    def _say(self) -> None:
        self._said = time.monotonic()
        done, left = self.num_timesteps - self._resumed_at, max(self.total - self.num_timesteps, 0)
        rate = done / max(self._said - self._began, 1e-9)
        last = self.curves[-1] if self.curves else {}
        told = ", ".join(f"{n.replace('_', ' ')} {v:.4g}" for n, v in last.items() if n not in ("step", "episodes"))
        episodes = self._episodes()
        whole = episodes + round(left / self.training_env.get_attr("episodes")[0].mean_bars)
        eta = f", {left / rate:,.0f} s left" if rate and left else ""
        self._progress(
            f"[episode {episodes:,}/{whole:,}] step {self.num_timesteps:,}/{self.total:,}, {told or 'warming up'}, "
            f"{rate:,.0f} steps/s{eta}"
        )

    def _keep(self) -> None:
        if self._state is not None:
            extra = {
                "curves": self.curves,
                "seconds": self.seconds,
                "finished": self.finished,
                "out_of_time": self.out_of_time,
            }
            training_state.save(self.model, self._state, self._made_of, extra)
        self._saved = time.monotonic()
