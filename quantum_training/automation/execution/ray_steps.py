"""The executor `ray`: each step of a run is a job of a Ray cluster.

Whole runs as Ray jobs need no code here, only dagster-ray's RayRunLauncher and instance.py in dagster.yaml.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster._core.definitions.executor_definition import multiple_process_executor_requirements
from dagster._core.events import StepRetryData
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.step_delegating import StepDelegatingExecutor, StepHandlerContext

from quantum_training.settings import Settings, environment
from quantum_training.settings.paths import SettingsError

try:
    from dagster_ray.core.executor import RayStepHandler
    from dagster_ray.core.run_launcher import RayRunLauncher
except ImportError as error:
    raise SettingsError(f"executor = 'ray' needs its packages ({error}): pip install 'quantum_training[ray]'") from None

DEFAULT_CPUS = 1.0


class StepJobs(RayStepHandler):
    """Submits steps as Ray jobs. A step without resource tags takes one core: with none, Ray would start it on the head
    node, however busy that is.
    """

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[dg.DagsterEvent]:
        tags = step_handler_context.step_tags[self._get_step_key(step_handler_context)]
        self.num_cpus = json.loads(tags.get("dagster-ray/config", "{}")).get("num_cpus", DEFAULT_CPUS)
        yield from super().launch_step(step_handler_context)


class RestartingExecutor(StepDelegatingExecutor):
    """Restarts a step whose job died, for example with its node. An error that the step itself raised is final."""

    def __init__(self, attempts: int, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._attempts = attempts

    def log_failure_or_retry_event_after_error(
        self, step_context: Any, err_info: Any, known_state: Any
    ) -> dg.DagsterEvent:
        died = err_info.cls_name is None  # reported by the executor; an error that a step raised has a class
        restarts = known_state.get_retry_state().get_attempt_count(step_context.step.key)
        if died and restarts < self._attempts:
            return dg.DagsterEvent.step_retry_event(step_context, StepRetryData(error=err_info, seconds_to_wait=0))
        return super().log_failure_or_retry_event_after_error(step_context, err_info, known_state)


def ray_executor(settings: Settings) -> dg.ExecutorDefinition:
    """Each step as a job of the cluster at RAY_ADDRESS; of the run launcher's cluster, if runs are Ray jobs, too.

    A step gets the environment variables that the settings are read from. The nodes must have everything else that it
    needs, such as passwords.
    """

    @dg.executor(name="ray", requirements=multiple_process_executor_requirements())
    def ray(context: dg.InitExecutorContext) -> dg.Executor:
        launcher = context.instance.run_launcher
        step_jobs = StepJobs(
            client=launcher.client if isinstance(launcher, RayRunLauncher) else job_client(),
            env_vars=environment(),
            runtime_env=None,
            num_cpus=None,
            num_gpus=None,
            memory=None,
            resources=None,
        )
        return RestartingExecutor(
            settings.training_retry_attempts, step_jobs, retries=RetryMode.ENABLED, should_verify_step=True
        )

    return ray


def job_client() -> Any:
    """A client of the job server at RAY_ADDRESS. ConnectionError if none answers."""
    from ray.job_submission import JobSubmissionClient

    address = os.environ.get("RAY_ADDRESS")
    try:
        return JobSubmissionClient(address)
    except (ConnectionError, RuntimeError) as error:
        raise ConnectionError(
            f"no Ray job server at RAY_ADDRESS = {address or 'nothing'}: {error}; start the cluster, or set "
            "RAY_ADDRESS to the address of its job server, for example http://127.0.0.1:8265"
        ) from error
