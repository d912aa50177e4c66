"""Tags of the project's runs: how long a run may take, how often it is tried again, and what its training needs.

What a failed step does inside its run is in assets/step_retries.py.
"""

from typing import Any

from dagster._core.storage.tags import MAX_RETRIES_TAG, MAX_RUNTIME_SECONDS_TAG

from quantum_training.assets.cluster_tags import cluster_tags, needs_of
from quantum_training.automation.failures.storage_faults import RESTART_TAG
from quantum_training.settings import Settings
from quantum_training.settings.schema import Resources

NESTS_RUNS = {"quantum_training/carries_runs": "true"}
"""Tag of a run that trains in nested runs, which no pool counts. dagster.yaml lets one such run go on at a time."""


def time_limit_tags(settings: Settings) -> dict[str, str]:
    """How long the run may take. A run whose process died is started again; one whose step failed is not."""
    return {
        MAX_RUNTIME_SECONDS_TAG: str(settings.training_job_timeout),
        MAX_RETRIES_TAG: str(settings.training_retry_attempts),
        RESTART_TAG: "false",
    }


def training_tags(settings: Settings, needs: Resources | None = None) -> dict[str, Any]:
    """`time_limit_tags`, and the cluster resources of a run that trains in its own process: `needs`, by default those
    of every recipe."""
    in_process = settings.executor == "in_process"
    return {**(cluster_tags(needs or needs_of(settings)) if in_process else {}), **time_limit_tags(settings)}


def nesting_tags(settings: Settings) -> dict[str, Any]:
    """`training_tags` of a run that nests two runs per symbol: it may take as long as all of them together."""
    seconds = settings.training_job_timeout * 2 * len(settings.symbols)
    return {**training_tags(settings), **NESTS_RUNS, MAX_RUNTIME_SECONDS_TAG: str(seconds)}
