"""Which faults can pass by themselves, and when a step is tried again. A run that died is Dagster's to restart.

It is an exception that asks Dagster for another try, not a RetryPolicy: that would also bring back a run that a person
has stopped.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import dagster as dg
from dagster._core.storage.tags import MAX_RETRIES_TAG, RETRY_NUMBER_TAG

from quantum_training.resources.faults import is_transient

DEFAULT_RETRIES = 3
"""Of a run without the tag, as one that the UI materialises; run_retries of Dagster has the same default."""

Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext

FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 10.0, 120.0


def first_attempt(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """The id of the run that this one tries again, itself where it is the first: runs that Dagster starts are one deed.

    A run that a person executes again is a new deed.
    """
    first, at = run.run_id, run
    while RETRY_NUMBER_TAG in at.tags and at.parent_run_id:
        first = at.parent_run_id
        before = instance.get_run_by_id(first)
        if before is None:
            break
        at = before
    return first


def retries_left(context: Context) -> int:
    """How often this step may still be tried again: TRAINING_RETRY_ATTEMPTS in all, which the run's tag carries."""
    tag = context.run.tags.get(MAX_RETRIES_TAG, "")
    allowed = int(tag) if tag.isdigit() else DEFAULT_RETRIES
    return max(0, allowed - context.retry_number)


def will_retry(context: Context, error: BaseException) -> bool:
    """Will the step be tried again after this error?"""
    return isinstance(error, Exception) and is_transient(error) and retries_left(context) > 0


def goes_on(context: Context, error: BaseException) -> bool:
    """May the step be tried again after this error, also by another run? Where it was stopped, Dagster decides that."""
    if isinstance(error, Exception):
        return will_retry(context, error)
    return context.instance.run_retries_enabled and context.run.remote_job_origin is not None


def raise_or_retry(context: Context, error: Exception, before: Callable[[], None] = lambda: None) -> NoReturn:
    """Have the step tried again where this error can pass; else call `before` and raise the error."""
    if will_retry(context, error):
        raise retry_later(context) from error
    before()
    raise error


@contextmanager
def retried(context: Context) -> Iterator[None]:
    """A block whose errors have the step tried again where they can pass."""
    try:
        yield
    except Exception as error:
        raise_or_retry(context, error)


def retry_later(context: Context) -> dg.RetryRequested:
    """The exception that has the step tried again, after about 10, 20, 40, ... seconds, at most 120."""
    longest = min(FIRST_WAIT_SECONDS * 2**context.retry_number, MAX_WAIT_SECONDS)
    wait = longest * (0.5 + random.random() / 2)  # noqa: S311 - symbols that failed together come back one by one
    return dg.RetryRequested(max_retries=context.retry_number + retries_left(context), seconds_to_wait=wait)
