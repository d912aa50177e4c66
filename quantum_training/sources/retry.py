"""The one retry policy of the network sources: bounded tries, exponential back-off, Retry-After honoured.

Which errors are worth another try is said by each source; what to tell the user after the last one, too.
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
TRANSIENT_STATUS = frozenset({408, 418, 429, *range(500, 600)})


class GarbageError(Exception):
    """A server answered with success and something that is no answer."""


class GaveUpError(Exception):
    """Every try failed in a way that may pass. The text says how often was tried and how the last try ended."""


class Retries(BaseModel):
    """How stubbornly a network source asks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempts: int = Field(
        10,
        ge=1,
        le=20,
        description="Tries in all, the first one included. Ten outlast four minutes of silence, and of a venue that "
        "fails in three of ten requests they bring 37 pages, three years by the hour, in 9998 of 10000 cases.",
    )
    first_wait: float = Field(
        1.0, gt=0, le=60, description="Seconds before the second try; doubles with each further one."
    )
    max_wait: float = Field(
        60.0, gt=0, le=3600, description="Longest wait in seconds; who asks for more is not waited for."
    )

    def call(
        self,
        function: Callable[[], T],
        retriable: Callable[[BaseException], bool],
        sleep: Callable[[float], None] = time.sleep,
    ) -> T:
        """`function()`, tried again while it raises something retriable: GaveUpError in the end; else its own error.

        Before the next try it waits as long as the server's Retry-After says, else first_wait * 2**n seconds. A
        Retry-After above max_wait ends the tries at once: to ask earlier is what gets an address banned.
        """
        backoff = wait_exponential(multiplier=self.first_wait, max=self.max_wait)

        def wait(state: RetryCallState) -> float:
            asked = retry_after(_error(state))
            return backoff(state) if asked is None else asked

        def stop(state: RetryCallState) -> bool:
            return stop_after_attempt(self.attempts)(state) or (retry_after(_error(state)) or 0) > self.max_wait

        try:
            return Retrying(stop=stop, wait=wait, retry=retry_if_exception(retriable), sleep=sleep)(function)
        except RetryError as error:
            last = error.last_attempt.exception()
            asked = retry_after(last)
            pause = f"; the server asks to wait {asked:.0f} s" if asked else ""
            tries = error.last_attempt.attempt_number
            raise GaveUpError(f"{describe(last)} (try {tries} of {self.attempts}{pause})") from last


def describe(error: BaseException | None) -> str:
    """Type and text of an error on one line of bounded length."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def http_status(error: BaseException | None) -> int | None:
    """The HTTP error status (4xx, 5xx) behind an error, or None where no whole answer came."""
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
    """The HTTP answers that an error and the errors beneath it carry; clients wrap the transport's own errors."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None and hasattr(response, "headers"):
            yield response
        error = error.__cause__ or error.__context__
