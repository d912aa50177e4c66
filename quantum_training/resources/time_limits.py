"""Shorter waiting for a database in a sensor's tick or a web request: a cap on the seconds that callers wait.

It retries nothing. Dagster ends a tick after 60 s without saying what the tick waited for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

TICK_SECONDS = 20.0
_seconds: ContextVar[float | None] = ContextVar("wait_limit", default=None)


@contextmanager
def short_timeouts(seconds: float | None = None) -> Iterator[None]:
    """Limit every wait in the block, or in the decorated function, to so many seconds, by default TICK_SECONDS."""
    token = _seconds.set(TICK_SECONDS if seconds is None else seconds)
    try:
        yield
    finally:
        _seconds.reset(token)


def wait_limit(usual: float) -> float:
    """The longest wait in seconds here. usual: that of a run."""
    return min(usual, _seconds.get() or usual)
