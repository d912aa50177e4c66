"""The retry policy: how often, how long between, and which errors are not retried."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from quantum_training.sources.retry import GaveUpError, Retries, http_status, retry_after


def http_error(status: int, **headers: str) -> requests.HTTPError:
    """What requests raises for this answer."""
    response = requests.Response()
    response.status_code = status
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    try:
        response.raise_for_status()
    except requests.HTTPError as error:
        return error
    return requests.HTTPError("cut short", response=response)


class Flaky:
    """Raises its errors one after the other, then gives 'done'; counts its calls and the seconds slept between."""

    def __init__(self, *errors: BaseException):
        self.errors, self.calls, self.slept = list(errors), 0, []

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    def run(self, policy: Retries) -> str:
        return policy.call(self, lambda error: not isinstance(error, KeyError), self.slept.append)


def test_waits_double_up_to_the_cap():
    flaky = Flaky(*(http_error(500) for _ in range(5)))
    assert flaky.run(Retries(attempts=6, first_wait=1, max_wait=6)) == "done"
    assert flaky.slept == [1, 2, 4, 6, 6]


def test_retry_after_in_seconds_is_waited_for():
    flaky = Flaky(http_error(429, Retry_After="7"), http_error(503))
    assert flaky.run(Retries(first_wait=1)) == "done"
    assert flaky.slept == [7, 2]


def test_retry_after_as_a_date_is_waited_for():
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=50)
    flaky = Flaky(http_error(429, Retry_After=format_datetime(at, usegmt=True)))
    before = datetime.now(UTC)
    assert flaky.run(Retries()) == "done"
    after = datetime.now(UTC)
    (wait,) = flaky.slept
    assert (at - after).total_seconds() <= wait <= (at - before).total_seconds()


@pytest.mark.parametrize("value", ["soon", "-3", "", "Tue, 99 Foo 2020"])
def test_a_senseless_retry_after_counts_as_none(value):
    assert retry_after(http_error(429, Retry_After=value)) is None


def test_a_longer_retry_after_than_the_cap_ends_the_tries():
    flaky = Flaky(http_error(418, Retry_After="3600"))
    with pytest.raises(GaveUpError, match=r"HTTPError: 418 .* \(try 1 of 10; the server asks to wait 3600 s\)"):
        flaky.run(Retries(max_wait=60))
    assert (flaky.calls, flaky.slept) == (1, [])


@settings(max_examples=30, deadline=None)
@given(attempts=st.integers(1, 20), failures=st.integers(0, 25))
def test_tries_are_bounded(attempts, failures):
    flaky = Flaky(*(TimeoutError("slow") for _ in range(failures)))
    if failures < attempts:
        assert flaky.run(Retries(attempts=attempts)) == "done"
    else:
        with pytest.raises(GaveUpError, match=rf"TimeoutError: slow \(try {attempts} of {attempts}\)") as error:
            flaky.run(Retries(attempts=attempts))
        assert isinstance(error.value.__cause__, TimeoutError)
    assert flaky.calls == min(attempts, failures + 1)
    assert len(flaky.slept) == flaky.calls - 1
    assert sum(flaky.slept) <= 60 * 19


def test_an_error_that_is_not_retriable_is_raised_at_once_unchanged():
    flaky = Flaky(TimeoutError("slow"), KeyError("symbol"))
    with pytest.raises(KeyError, match="symbol"):
        flaky.run(Retries())
    assert flaky.calls == 2


def test_the_http_response_is_taken_from_the_cause_of_the_client_error():
    wrapped = RuntimeError("client")
    wrapped.__context__ = http_error(429, Retry_After="5")
    assert (http_status(wrapped), retry_after(wrapped)) == (429, 5)
    assert http_status(http_error(200)) is None
    assert http_status(ConnectionResetError()) is None


@pytest.mark.parametrize("options", [{"attempts": 0}, {"attempts": 21}, {"first_wait": 0}, {"max_wait": 1e9}, {"x": 1}])
def test_wrong_options_are_refused_at_load(options):
    with pytest.raises(ValidationError):
        Retries(**options)
