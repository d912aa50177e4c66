"""How the trainings of agents go, from the lines that they log in Dagster; of a log only what is new is asked for."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from threading import Lock

from cachetools import LRUCache
from pydantic import BaseModel, Field

from quantum_training.service.dagster_client import DagsterClient

MOST_RUNS, MOST_POINTS = 32, 1000
"""Runs whose points are kept, and points of each: the newest."""
LINE = re.compile(r"\[episode ([\d,]+)/([\d,]+)\] step ([\d,]+)/([\d,]+), (.*)")
NUMBER = re.compile(r"([a-z ]+) (-?[\d.]+(?:e[+-]?\d+)?)(?=,|$)")


class TrainingPoint(BaseModel):
    """Where an agent's training was when it logged a line."""

    episode: int
    episodes: int = Field(description="Expected number of episodes.")
    step: int
    steps: int
    metrics: dict[str, float] = Field(
        description="Mean reward of the newest episodes, losses of the newest update, by name.",
        examples=[{"mean_reward": 0.8, "policy_loss": -0.01, "value_loss": 0.2}],
    )


@dataclass
class _Log:
    """What is known of a run's log. cursor: of Dagster, where the next read begins."""

    cursor: str | None = None
    points: deque[TrainingPoint] = field(default_factory=lambda: deque(maxlen=MOST_POINTS))
    lock: Lock = field(default_factory=Lock)


class RunLogs:
    """The points of runs, of all clients together."""

    def __init__(self, dagster: DagsterClient) -> None:
        self._dagster = dagster
        self._logs: LRUCache[str, _Log] = LRUCache(MOST_RUNS)
        self._lock = Lock()

    def points(self, run_id: str) -> list[TrainingPoint]:
        """The newest points of a run, oldest first; none if no agent is trained in it. DagsterOutage."""
        with self._lock:
            log = self._logs.setdefault(run_id, _Log())
        with log.lock:
            lines, log.cursor = self._dagster.messages(run_id, log.cursor)
            log.points.extend(point for line in lines if (point := point_of(line)))
            return [*log.points]


def point_of(line: str) -> TrainingPoint | None:
    """The point of a line; None if it is another line."""
    match = LINE.search(line)
    if match is None:
        return None
    episode, episodes, step, steps = (int(number.replace(",", "")) for number in match.groups()[:4])
    numbers = {name.strip().replace(" ", "_"): float(value) for name, value in NUMBER.findall(match[5])}
    metrics = {name: value for name, value in numbers.items() if "left" not in name}
    return TrainingPoint(episode=episode, episodes=episodes, step=step, steps=steps, metrics=metrics)
