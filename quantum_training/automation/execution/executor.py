"""The executor of every job: it runs the steps of a run, in the run's process or as jobs of a Ray cluster.

Where the run itself is started is the run launcher of dagster.yaml.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster._core.execution.retries import RetryMode

from quantum_training.automation.execution.persistent_connection import persistent_connection
from quantum_training.settings import Settings


def build_executor(settings: Settings) -> dg.ExecutorDefinition:
    """The executor that the settings name. SettingsError if its package is not installed."""
    if settings.executor == "in_process":
        return in_process
    from quantum_training.automation.execution.ray_steps import ray_executor

    return ray_executor(settings)


class OneConnection(dg.Executor):
    """Runs the steps by another executor; Dagster's storage keeps one connection to Postgres meanwhile."""

    def __init__(self, executor: dg.Executor) -> None:
        self._executor = executor

    @property
    def retries(self) -> RetryMode:
        return self._executor.retries

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        with persistent_connection(plan_context.instance):
            yield from self._executor.execute(plan_context, execution_plan)


_dagsters: Any = dg.in_process_executor


@dg.executor(name=_dagsters.name, config_schema=_dagsters.config_schema)
def in_process(context: dg.InitExecutorContext) -> dg.Executor:
    """Dagster's executor of all steps in the process of the run, over one connection to Postgres."""
    return OneConnection(_dagsters.executor_creation_fn(context))
