"""Whether a step or run was stopped from outside, by a person or a time limit, or failed by itself."""

from __future__ import annotations

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import RunFailureReason
from dagster._core.execution.execute_in_process_result import ExecuteInProcessResult
from dagster._core.storage.tags import RUN_FAILURE_REASON_TAG

STOPS = (DagsterExecutionInterruptedError.__name__, KeyboardInterrupt.__name__)


def stopped_step(event: dg.DagsterEvent) -> bool:
    """Whether the step of this step failure event was stopped."""
    error = event.step_failure_data.error
    return error is not None and error.cls_name in STOPS


def stopped_run(run: dg.DagsterRun) -> bool:
    """Whether Dagster has recorded that this run was stopped."""
    return run.tags.get(RUN_FAILURE_REASON_TAG) == RunFailureReason.UNEXPECTED_TERMINATION.value


def stopped(result: ExecuteInProcessResult) -> bool:
    """Whether an in-process run without success was stopped. If it raises no errors, only its events show that."""
    ends = [e.job_failure_data for e in result.all_events if e.event_type == dg.DagsterEventType.RUN_FAILURE]
    if any(end.failure_reason == RunFailureReason.UNEXPECTED_TERMINATION for end in ends):
        return True
    return any(event.is_step_failure and stopped_step(event) for event in result.all_events)
