"""What has changed since the last look: events of the outbox, and the progress of Dagster's active runs."""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

from quantum_training.resources.database import DatabaseError
from quantum_training.resources.events.queue import Delivery
from quantum_training.service.dagster_client import DagsterOutage
from quantum_training.service.problems import Problem
from quantum_training.service.reading.events import event_row
from quantum_training.service.reading.progress import Progress, progress_of
from quantum_training.service.state import State

NEWEST = 200
"""Newest events that are compared: of more between two looks only these are new."""
ACTIVE = ("STARTING", "STARTED", "CANCELING")
MOST_RUNS = 10
RUNS_EVERY_SECONDS, OUTAGE_SECONDS = 5.0, 30.0
"""How often Dagster is asked for its runs, and how long it is left alone after an outage."""
log = logging.getLogger(__name__)


class Message(NamedTuple):
    """A Server-Sent Event. kind: event or run. data: JSON of EventRow or Progress. id: of an event."""

    kind: str
    data: str
    id: str | None = None


class Changes:
    """What is new from its creation on. Used by one thread at a time."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._known = {delivery.id for delivery in state.events.outbox.newest(NEWEST)}
        self._progress: dict[str, Progress] = {}
        self._ask_runs_at = 0.0

    def new(self) -> list[Message]:
        """The messages of what is new, oldest first. An outage is logged; the next call tries again."""
        messages: list[Message] = []
        try:
            messages += self._new_events()
        except DatabaseError as error:
            log.warning("no new events: %s", error)
        if time.monotonic() >= self._ask_runs_at:
            self._ask_runs_at = time.monotonic() + RUNS_EVERY_SECONDS
            try:
                messages += self._new_progress()
            except (DagsterOutage, Problem) as error:
                log.warning("no progress of runs: %s", error)
                self._ask_runs_at = time.monotonic() + OUTAGE_SECONDS
        return messages

    def _new_events(self) -> list[Message]:
        newest = self._state.events.outbox.newest(NEWEST)
        messages = [_message(delivery) for delivery in newest[::-1] if delivery.id not in self._known]
        self._known = {delivery.id for delivery in newest}
        return messages

    def _new_progress(self) -> list[Message]:
        """Of the active runs, and once more of each that is over."""
        active = {run["runId"] for run in self._state.dagster.runs(MOST_RUNS, statuses=ACTIVE)}
        progress = {run_id: progress_of(self._state, run_id) for run_id in active | self._progress.keys()}
        changed = [new for run_id, new in progress.items() if new != self._progress.get(run_id)]
        self._progress = {run_id: progress[run_id] for run_id in active}
        return [Message("run", new.model_dump_json(exclude={"curve"})) for new in changed]


def events_after(state: State, event_id: str) -> list[Message]:
    """The messages of the events after this one, oldest first; none if it is not among the newest."""
    newest = state.events.outbox.newest(NEWEST)
    ids = [delivery.id for delivery in newest]
    return [_message(delivery) for delivery in newest[: ids.index(event_id)][::-1]] if event_id in ids else []


def _message(delivery: Delivery) -> Message:
    return Message("event", event_row(delivery).model_dump_json(), delivery.id)
