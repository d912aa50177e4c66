"""The executor of every job: it runs the steps of a run, in the run's process or as jobs of a Ray cluster.

Where the run itself is started is the run launcher of dagster.yaml.
"""

import dagster as dg

from quantum_training.settings import Settings


def build_executor(settings: Settings) -> dg.ExecutorDefinition:
    """The executor that the settings name. SettingsError if its package is not installed."""
    if settings.executor == "in_process":
        return dg.in_process_executor
    from quantum_training.automation.execution.ray_steps import ray_executor

    return ray_executor(settings)
