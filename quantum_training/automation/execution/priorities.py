"""Who goes first where runs wait in the queue: the larger number. A run without the tag has 0."""

from __future__ import annotations

from dagster._core.storage.tags import PRIORITY_TAG


def priority_tag(priority: int) -> dict[str, str]:
    """The tag of a run of this priority."""
    return {PRIORITY_TAG: str(priority)}
