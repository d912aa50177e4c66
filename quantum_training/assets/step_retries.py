"""When a step is repeated after a fault, and how long it waits before. Dagster itself restarts runs that died.

A step is repeated by an exception, not by a RetryPolicy, which would also revive a run that a person has stopped.
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
"""Of a run without the tag, such as one started in the UI. Dagster's run_retries has the same default."""

Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext

FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 10.0, 120.0


def first_attempt(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """The id of the run that Dagster restarted as this one, over all restarts; its own id if it is no restart.

    A run that a person executes again counts as a first attempt.
    """
    first_id, attempt = run.run_id, run
    while RETRY_NUMBER_TAG in attempt.tags and attempt.parent_run_id:
        first_id = attempt.parent_run_id
        parent = instance.get_run_by_id(first_id)
        if parent is None:
            break
        attempt = parent
    return first_id


def is_restartable(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether Dagster's daemon can start a run again: not if `dagster job execute` or another run carries it out."""
    return instance.run_retries_enabled and run.remote_job_origin is not None


def retries_left(context: Context) -> int:
    """How often this step may still be repeated. The run's tag holds TRAINING_RETRY_ATTEMPTS, the number in all."""
    tag = context.run.tags.get(MAX_RETRIES_TAG, "")
    allowed = int(tag) if tag.isdigit() else DEFAULT_RETRIES
    return max(0, allowed - context.retry_number)


def will_retry(context: Context, error: BaseException) -> bool:
    """Whether the step will be repeated after this error."""
    return isinstance(error, Exception) and is_transient(error) and retries_left(context) > 0


def may_be_retried(context: Context, error: BaseException) -> bool:
    """Whether this step or another run may repeat the work after the error. If it was stopped, Dagster decides."""
    if isinstance(error, Exception):
        return will_retry(context, error)
    return is_restartable(context.instance, context.run)


def raise_or_retry(context: Context, error: Exception, before: Callable[[], None] = lambda: None) -> NoReturn:
    """Have Dagster repeat the step if the error may pass; else call `before` and raise the error."""
    if will_retry(context, error):
        raise retry_later(context) from error
    before()
    raise error


@contextmanager
def retry_transient_faults(context: Context) -> Iterator[None]:
    """Have Dagster repeat the step if the block fails with an error that may pass."""
    try:
        yield
    except Exception as error:
        raise_or_retry(context, error)


def retry_later(context: Context) -> dg.RetryRequested:
    """The exception with which Dagster repeats the step after about 10, 20, 40, ... seconds, at most 120."""
    longest = min(FIRST_WAIT_SECONDS * 2**context.retry_number, MAX_WAIT_SECONDS)
    wait = longest * (0.5 + random.random() / 2)  # noqa: S311 - symbols that failed together are repeated one by one
    return dg.RetryRequested(max_retries=context.retry_number + retries_left(context), seconds_to_wait=wait)
