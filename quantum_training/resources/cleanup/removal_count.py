"""How much was removed, as housekeeping counts it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RemovalCount:
    """How many things of a kind, and their size in bytes."""

    number: int = 0
    size: int = 0

    def __add__(self, other: RemovalCount) -> RemovalCount:
        return RemovalCount(self.number + other.number, self.size + other.size)
