"""A run launcher on code servers that also reports runs whose process is dead to run_monitoring. Set in dagster.yaml.

A code server reports the death of its runs, but not its own, for example with its container. Dagster's launcher then
leaves its runs STARTED, in their pool's slots, until TRAINING_JOB_TIMEOUT.
This launcher is for code servers of one process, `dagster api grpc`. The proxy that `dagster code-server start` puts
before several servers answers only for the newest one, so each reload would look like the death of all runs.

NestedRunsLauncher is for any launcher: instance.py puts it before those of Kubernetes and Ray.
"""

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, RunLauncher, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._serdes import deserialize_value

from quantum_training.resources.run_origin import LAUNCHED_BY

LAUNCHER_OVER = "which carried it out, is over"
"""Part of the failure message of a nested run whose surrounding run has ended."""

ANSWER_SECONDS = 60


class NestedRunsLauncher(RunLauncher):
    """Answers for nested runs, in front of a run launcher that looks for a process or job of each run."""

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        return nested_run_health(self._instance, run) or super().check_run_worker_health(run)

    def get_run_worker_debug_info(self, run: dg.DagsterRun, include_container_logs: bool | None = True) -> str | None:
        return None if is_nested(run) else super().get_run_worker_debug_info(run, include_container_logs)

    def terminate(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        if run is None or not is_nested(run):
            return super().terminate(run_id)  # type: ignore[safe-super] # of the launcher behind this class
        self._instance.report_engine_event(f"Not stopped. Stop run {run.tags[LAUNCHED_BY]}, which carries it out.", run)
        return False


class WatchfulRunLauncher(NestedRunsLauncher, DefaultRunLauncher):
    """A run is alive if its code server knows it. A server that does not answer gets time: retries need it, too."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult  # slow to load

        if health := nested_run_health(self._instance, run):
            return health
        if GRPC_INFO_TAG not in run.tags:  # it runs in the process that launched it
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        client = self._get_grpc_client_for_termination(run.run_id)
        if client is None:  # it has finished in between
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=ANSWER_SECONDS)
        except DagsterUserCodeUnreachableError as error:
            never_back = client.socket is not None  # the next server takes a socket of its own, but the same port
            status = WorkerStatus.FAILED if never_back else WorkerStatus.RUNNING
            return CheckRunHealthResult(status, f"its code server does not answer: {error}")
        if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "its code server was started again and does not know it")


def is_nested(run: dg.DagsterRun) -> bool:
    """Whether a run is part of the process of another one. A person's re-execution of it has its tag, too."""
    return LAUNCHED_BY in run.tags and not run.remote_job_origin


def nested_run_health(instance: dg.DagsterInstance, run: dg.DagsterRun) -> CheckRunHealthResult | None:
    """Whether a nested run is alive, which it is as long as the run around it. None if the run is not nested."""
    if not is_nested(run):
        return None
    launcher = run.tags[LAUNCHED_BY]
    parent = instance.get_run_by_id(launcher)
    if parent is None or parent.is_finished:
        return CheckRunHealthResult(WorkerStatus.FAILED, f"run {launcher}, {LAUNCHER_OVER}")
    return CheckRunHealthResult(WorkerStatus.RUNNING)
