"""The streams in which an older service told of the trainings of its agents, for those who still read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from quantum_training.resources.events.payloads import Event, TrainingCompleted, TrainingStarted

STARTED, COMPLETED = "rl_v3.training.started", "rl_v3.training.completed"


class Entry(NamedTuple):
    """An entry of a Redis stream."""

    stream: str
    fields: Mapping[Any, str]


def older_entries(texts: Iterable[str]) -> Iterator[Entry]:
    """The entries for the trainings of agents among these events. What is not known is left out of the fields."""
    for text in texts:
        try:
            payload = Event.model_validate_json(text).payload
        except ValidationError:  # of another version; whoever reads the event judges it
            continue
        if isinstance(payload, TrainingStarted) and payload.episodes is not None:
            yield _entry(STARTED, payload.job_id, payload.started_at, episodes=payload.episodes)
        elif isinstance(payload, TrainingCompleted) and payload.episodes is not None:
            yield _entry(
                COMPLETED,
                payload.job_id,
                payload.completed_at,
                success="true" if payload.status == "succeeded" else "false",
                episodes=payload.episodes,
                duration_seconds=payload.duration_seconds,
                avg_reward=payload.metrics.get("avg_reward"),
                final_reward=payload.metrics.get("final_reward"),
            )


def _entry(stream: str, job_id: str, time: Any, **fields: Any) -> Entry:
    texts = {name: str(value) for name, value in fields.items() if value is not None}
    return Entry(stream, {"run_id": job_id.partition("/")[0], **texts, "timestamp": time.isoformat()})
