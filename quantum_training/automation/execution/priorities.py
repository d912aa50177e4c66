"""The tag by which Dagster's queue orders runs. The numbers are in lifecycle/surveillance/run_priorities.py."""

from __future__ import annotations

from dagster._core.storage.tags import PRIORITY_TAG


def priority_tag(priority: int) -> dict[str, str]:
    """The tag of a run with this priority: the larger number starts first, a run without the tag has 0."""
    return {PRIORITY_TAG: str(priority)}
