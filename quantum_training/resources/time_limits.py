"""How long a database that is away is waited for: minutes in a run, seconds in a sensor's tick.

Dagster ends a tick after 60 s without saying what it waited for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

TICK_SECONDS = 20.0
_seconds: ContextVar[float | None] = ContextVar("patience", default=None)


@contextmanager
def short_timeouts() -> Iterator[None]:
    """Within the block, or the function that it decorates, nothing waits longer than TICK_SECONDS."""
    token = _seconds.set(TICK_SECONDS)
    try:
        yield
    finally:
        _seconds.reset(token)


def patience(usual: float) -> float:
    """Seconds to wait here, where `usual` is what a run waits."""
    return min(usual, _seconds.get() or usual)
