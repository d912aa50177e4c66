"""An A/B test: champion and challenger trade alternate blocks of days that were fixed before; what the blocks show.

The shadow pairs both on every bar, so it is the stronger evidence and the only one that promotes. An A/B test adds what
only trading shows: a broker's record, split by these blocks, takes the same test. Where it is kept is assets/ab.py.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, field_validator

from quantum_training.selection.boundary import boundaries
from quantum_training.selection.ledger import Instant, Row, Word
from quantum_training.selection.rule import PairedReturns, paired_test

ALPHA = 0.045
"""Nominal probability that a test calls either arm better where both are equally good, half of it on each side. Less
than 5 %: Student's t of few pairs is not quite normal over several looks. The tests hold the measured rate to 5 %."""

MIN_PAIRS = 20
"""Pairs of blocks with bars in both before the first look; a test that plans fewer is refused."""


class ABTest(BaseModel):
    """What is registered before the first block. Block 0 begins at `start`; two neighbours are a pair, 0 and 1 first.

    week: the newest decided one when it was registered. share: of the capital in the challenger's blocks. pairs: those
    with bars in both blocks by the market's calendar. challenger_first: who has block 0, by the parity of the hash of
    the ledger's row, which nobody chooses.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    week: str
    champion: Word
    challenger: Word
    share: float = Field(gt=0, le=1)
    start: Instant
    block_days: int = Field(ge=1)
    blocks: int = Field(ge=2, multiple_of=2)
    pairs: int
    challenger_first: bool

    @field_validator("pairs")
    @classmethod
    def _enough_pairs(cls, value: int) -> int:
        if value < MIN_PAIRS:
            raise ValueError(
                f"{value} pairs of blocks with bars in both, {MIN_PAIRS} needed; take more weeks or shorter blocks"
            )
        return value

    @property
    def length(self) -> pd.Timedelta:
        """Length of a block."""
        return pd.Timedelta(days=self.block_days)

    @property
    def end(self) -> pd.Timestamp:
        """End of the last block."""
        return pd.Timestamp(self.start) + self.blocks * self.length

    def block(self, time: pd.Timestamp) -> int | None:
        """Number of the block that holds `time`, None outside the test."""
        number = (time - pd.Timestamp(self.start)) // self.length
        return number if 0 <= number < self.blocks else None

    def arm(self, block: int) -> str:
        """The recipe that trades in a block."""
        return self.challenger if (block % 2 == 0) == self.challenger_first else self.champion


class ABReport(BaseModel):
    """What the blocks show at a look. mean: of the challenger's less the champion's net return, a pair; z against
    boundary; winner: the recipe whose boundary was crossed, at this look or an earlier one, which is shown then.
    """

    model_config = ConfigDict(frozen=True)

    pairs: int
    mean: float | None = None
    z: float | None = None
    boundary: float | None = None
    winner: str | None = None
    verdict: str


def registered(row: Row) -> ABTest:
    """The test that a ledger row holds. ValidationError where its payload is none."""
    return ABTest.model_validate({**row.payload, "challenger_first": int(row.hash, 16) % 2 == 1})


def whole_pairs(start: pd.Timestamp, length: pd.Timedelta, blocks: int, bars: pd.DatetimeIndex) -> np.ndarray:
    """Numbers of the pairs with bars in both blocks, rising."""
    number = np.unique(np.asarray((bars - start) // length, dtype="int64"))
    pairs, seen = np.unique(number[(number >= 0) & (number < blocks)] // 2, return_counts=True)
    return pairs[seen == 2]


def report(test: ABTest, net: pd.DataFrame, looks: Iterable[pd.Timestamp]) -> ABReport:
    """Test the pairs that were over at each look, oldest first, until a boundary is crossed.

    net: net return per bar of both recipes, open_time x recipe, at full size; each counts in its own blocks only. A
    pair that lacks the bars of a block is left out. The looks spend ALPHA by the share of the planned pairs, as the
    promotion rule does.
    """
    start, bars = pd.Timestamp(test.start), pd.DatetimeIndex(net.index)
    number = np.asarray((bars - start) // test.length, dtype="int64")
    whole = whole_pairs(start, test.length, test.blocks, bars)
    own = (number % 2 == 0) == test.challenger_first
    ours = np.where(own, net[test.challenger].to_numpy(), 0.0)
    theirs = np.where(own, 0.0, net[test.champion].to_numpy())
    fractions: list[float] = []
    told = ABReport(pairs=0, verdict="no pair of blocks is over")
    for look in looks:
        rows = np.isin(number // 2, whole[start + 2 * (whole + 1) * test.length <= look])
        tested = paired_test(PairedReturns(ours[rows], theirs[rows], number[rows] // 2))
        fraction = min(tested.blocks / test.pairs, 1.0)
        count = f"{tested.blocks} of {test.pairs} pairs of blocks"
        if tested.blocks < MIN_PAIRS:
            told = ABReport(pairs=tested.blocks, verdict=f"{count}; the first look is at {MIN_PAIRS}")
            continue
        if fraction <= (fractions[-1] if fractions else 0.0):
            continue
        fractions.append(fraction)
        bound = boundaries(ALPHA / 2, tuple(fractions))[-1]
        crossed = tested.z is not None and abs(tested.z) >= bound
        winner = (test.challenger if tested.mean > 0 else test.champion) if crossed else None
        said = "no variance" if tested.z is None else f"z {tested.z:.2f} of {bound:.2f} needed on either side"
        told = ABReport(
            pairs=tested.blocks,
            mean=tested.mean,
            z=tested.z,
            boundary=bound if np.isfinite(bound) else None,
            winner=winner,
            verdict=f"{f'{winner} is better' if winner else 'no difference shown'}: {said}, {count}",
        )
        if winner:
            break
    return told
