"""The figures of the page of training, from the trainings that events tell of."""

from __future__ import annotations

from collections.abc import Sequence

from quantum_training.service.dashboard import figures
from quantum_training.service.reading.events import Training

MOST_TRAININGS = 2000
"""Newest trainings that are drawn."""


def training_figures(trainings: Sequence[Training]) -> dict[str, figures.Figure]:
    """The figures by title, in the order of the page. One without a value is left out. trainings: newest first."""
    newest = [training for training in trainings if training.status != "running"][:MOST_TRAININGS]
    drawn = {
        "Duration of the trainings": figures.training_durations(newest),
        "Duration over time": figures.durations_over_time(newest),
        "Trainings that succeeded, by week": figures.success_rates(newest),
        "Final reward of agents": figures.final_rewards(newest),
    }
    return {title: figure for title, figure in drawn.items() if any(trace["x"] for trace in figure["data"])}
