"""The one retry policy of the network sources: bounded attempts, exponential back-off, Retry-After honoured.

Each source decides which errors are worth another attempt, and what its error message says after the last one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from tenacity import RetryCallState, RetryError, Retrying, retry_if_exception, stop_after_attempt, wait_exponential

T = TypeVar("T")
LATER = "Run the partition again later; raise source.timeout or source.retries if this comes often"
OVERLOAD_STATUS = frozenset({429, *range(500, 600)})
TRANSIENT_STATUS = OVERLOAD_STATUS | {408, 418}


class GarbageError(Exception):
    """A server reported success and sent something that cannot be read."""


class GaveUpError(Exception):
    """Every attempt failed with a transient error. The message has the number of attempts and the last error."""


class Retries(BaseModel):
    """How often a network source repeats a request that failed, and how long it waits in between."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempts: int = Field(
        10,
        ge=1,
        le=20,
        description="Attempts in all, the first one included. Ten outlast a silence of four minutes. From a venue that "
        "fails in three of ten requests, they read 37 pages (three years of hourly bars) in 9998 of 10000 cases.",
    )
    first_wait: float = Field(
        1.0, gt=0, le=60, description="Seconds before the second attempt; doubles with each further one."
    )
    max_wait: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="Longest wait in seconds. If a server asks for a longer one, there are no further attempts.",
    )

    def call(
        self,
        function: Callable[[], T],
        retriable: Callable[[BaseException], bool],
        sleep: Callable[[float], None] = time.sleep,
    ) -> T:
        """The result of `function()`, called again while it raises a retriable error. Other errors are raised at once.

        Before the next attempt it waits as long as the server's Retry-After says, else first_wait * 2**n seconds.
        Raises GaveUpError after the last attempt, and at once if Retry-After is above max_wait: an earlier request
        would get the address banned.
        """
        backoff = wait_exponential(multiplier=self.first_wait, max=self.max_wait)

        def wait(state: RetryCallState) -> float:
            requested_wait = retry_after(_error(state))
            return backoff(state) if requested_wait is None else requested_wait

        def stop(state: RetryCallState) -> bool:
            return stop_after_attempt(self.attempts)(state) or (retry_after(_error(state)) or 0) > self.max_wait

        try:
            return Retrying(stop=stop, wait=wait, retry=retry_if_exception(retriable), sleep=sleep)(function)
        except RetryError as error:
            last = error.last_attempt.exception()
            requested_wait = retry_after(last)
            pause = f"; the server asks to wait {requested_wait:.0f} s" if requested_wait else ""
            attempt = error.last_attempt.attempt_number
            raise GaveUpError(f"{describe(last)} (try {attempt} of {self.attempts}{pause})") from last


def describe(error: BaseException | None) -> str:
    """Type and text of an error on one line of bounded length."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def is_transient_answer(error: BaseException, transient: tuple[type[BaseException], ...]) -> bool:
    """Whether another attempt may help: the HTTP status decides, or the type of the error if no complete answer came.

    transient: errors of the client library that may pass. A GarbageError always may.
    """
    status = http_status(error)
    return isinstance(error, (GarbageError, *transient)) if status is None else status in TRANSIENT_STATUS


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and the errors that it came from, the outermost first. `raise ... from None` ends the chain."""
    visited: set[int] = set()
    while error is not None and id(error) not in visited:
        visited.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def http_status(error: BaseException | None) -> int | None:
    """The HTTP error status (4xx, 5xx) behind an error, or None if no complete answer came."""
    return next((int(r.status_code) for r in _responses(error) if r.status_code >= 400), None)


def retry_after(error: BaseException | None) -> float | None:
    """Seconds that the answer behind an error asks to wait (RFC 9110: a number or a date), or None."""
    value = next((r.headers["Retry-After"] for r in _responses(error) if r.headers.get("Retry-After")), None)
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _responses(error: BaseException | None) -> Iterator[Any]:
    """The HTTP answers that an error and its causes carry: clients wrap the errors of the transport."""
    for cause in causes(error):
        response = getattr(cause, "response", None)
        if response is not None and hasattr(response, "headers"):
            yield response
