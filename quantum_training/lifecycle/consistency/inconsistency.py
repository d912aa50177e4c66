"""What a comparison of store, ledger, registry and settings finds, and the error that stops a run for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Inconsistency(NamedTuple):
    """Two parts of the state that disagree. remedy: the ways back, as a person would do them."""

    symbol: str
    subject: str
    """Which part is wrong: `registry`, `ledger`, `store`, `market` or `recipes`."""
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.symbol}: {self.subject}: {self.problem}. {self.remedy}"


class InconsistentStateError(RuntimeError):
    """Store, ledger, registry or settings disagree, so nothing was decided. The message says what to do."""

    def __init__(self, inconsistencies: Sequence[Inconsistency]):
        super().__init__("\n".join(map(str, inconsistencies)))
        self.inconsistencies = tuple(inconsistencies)


def require_consistent(inconsistencies: Sequence[Inconsistency]) -> None:
    """InconsistentStateError if there are any."""
    if inconsistencies:
        raise InconsistentStateError(inconsistencies)
