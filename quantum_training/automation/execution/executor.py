"""Where the steps of a run are executed. Where the run itself is, dagster.yaml says: its run launcher."""

import dagster as dg

from quantum_training.settings.settings import Settings


def executor(settings: Settings) -> dg.ExecutorDefinition:
    """The executor that the settings name. SettingsError where its package is not installed."""
    if settings.executor == "in_process":
        return dg.in_process_executor
    from quantum_training.automation.execution.ray_steps import ray_executor

    return ray_executor(settings)
