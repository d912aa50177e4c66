"""A Dagster instance for run launchers that start each run as a job of its own, on Kubernetes or Ray.

run_monitoring asks the run launcher whether a run is alive, and such a launcher looks for the job of that run. A nested
run has none, so Dagster marks it as failed while it runs. Set in dagster.yaml as `instance_class`.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher import RunLauncher

from quantum_training.automation.run_launcher import NestedRunsLauncher


class NestedRunsInstance(dg.DagsterInstance):
    """Dagster's own instance, with any run launcher. A nested run is alive as long as the run around it."""

    @staticmethod
    def config_schema() -> Mapping[str, Any]:
        """Keys of dagster.yaml that only this class has: none."""
        return {}

    @staticmethod
    def config_defaults(base_dir: str) -> Mapping[str, Any]:
        """What dagster.yaml does not say, as without this class."""
        return InstanceRef.config_defaults(base_dir)

    @property
    def run_launcher(self) -> RunLauncher:
        launcher = super().run_launcher
        own = type(launcher)
        if not issubclass(own, NestedRunsLauncher):
            launcher.__class__ = type(own.__name__, (NestedRunsLauncher, own), {})
        return launcher
