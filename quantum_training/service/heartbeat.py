"""A key in Redis that says that the service is alive, as an older service kept it: who watches it may go on.

Redis removes the key soon after the last beat, so a dead service shows by a key that is missing.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event, Thread

from quantum_training.resources.database import DatabaseError
from quantum_training.resources.events.redis_stream import RedisError, call_redis
from quantum_training.service.dagster_client import DagsterOutage
from quantum_training.service.reading.events import trainings
from quantum_training.service.reading.runs import queued_runs
from quantum_training.service.state import State

KEY = "service:ml_training:heartbeat"
EVERY_SECONDS, EXPIRY_SECONDS = 30, 90
log = logging.getLogger(__name__)


@contextmanager
def heartbeat(state: State) -> Iterator[None]:
    """Beat while the block runs, if the settings name a Redis."""
    url, stopped = state.settings.event_bus_url, Event()
    if not url:
        yield
        return

    def keep_beating() -> None:
        while True:
            beat(state)
            if stopped.wait(EVERY_SECONDS):
                return

    thread = Thread(target=keep_beating, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(EVERY_SECONDS)


def beat(state: State) -> None:
    """Write the key once. An outage is logged, and the next beat tries again."""
    try:
        text = json.dumps(_content(state))
        call_redis(state.settings.event_bus_url, lambda client: client.set(KEY, text, ex=EXPIRY_SECONDS))
    except (RedisError, DatabaseError) as error:
        log.warning("no heartbeat: %s", error)


def _content(state: State) -> dict[str, object]:
    """Trainings by status, of those whose events are stored; queued runs are null without Dagster's webserver."""
    counts = Counter(training.status for training in trainings(state, [*state.settings.symbols]))
    try:
        queued: int | None = queued_runs(state)
    except DagsterOutage:
        queued = None
    jobs = {"running": counts["running"], "completed": counts["succeeded"], "failed": counts["failed"]}
    return {"timestamp": datetime.now(UTC).isoformat(), "status": "running", "jobs": {"queued": queued, **jobs}}
