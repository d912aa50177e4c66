"""An A/B test: champion and challenger trade alternate blocks of days that were fixed before; what the blocks show.

The shadow scores pair both on every bar, so they are the stronger evidence and the only one that promotes. An A/B test
adds what only trading shows: a broker's record, split by these blocks, takes the same test.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, field_validator

from quantum_training.selection.boundary import boundaries
from quantum_training.selection.hash_chain import Instant, Row, Word
from quantum_training.selection.paired_test import PairedReturns, PairedTest, paired_test

ALPHA = 0.045
"""Nominal probability that a test calls either arm better although both are equally good, half of it on each side. It
is below 5 % because Student's t of few pairs is not quite normal over several analyses. The tests hold the measured
rate to 5 %."""

MIN_PAIRS = 20
"""Pairs of blocks with bars in both before the first interim analysis; a test that plans fewer is refused."""


class ABTest(BaseModel):
    """What is registered before the first block. Block 0 begins at `start`; two neighbours are a pair, 0 and 1 first.

    week: the newest decided one at the registration. share: of the capital in the challenger's blocks. pairs: those
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
        """Number of the block that `time` lies in, None outside the test."""
        number = (time - pd.Timestamp(self.start)) // self.length
        return number if 0 <= number < self.blocks else None

    def arm(self, block: int) -> str:
        """The recipe that trades in a block."""
        return self.challenger if (block % 2 == 0) == self.challenger_first else self.champion


class ABReport(BaseModel):
    """What the blocks show at an interim analysis.

    mean: of the challenger's net return less the champion's, per pair; z against boundary. winner: the recipe whose
    boundary was crossed, at this analysis or an earlier one; then the earlier one is reported.
    """

    model_config = ConfigDict(frozen=True)

    pairs: int
    mean: float | None = None
    z: float | None = None
    boundary: float | None = None
    winner: str | None = None
    verdict: str


def registered_test(row: Row) -> ABTest:
    """The test that a ledger row registers; a restored row says who is first. ValidationError if it holds none."""
    return ABTest.model_validate({"challenger_first": int(row.hash, 16) % 2 == 1, **row.original_payload})


def complete_pairs(start: pd.Timestamp, length: pd.Timedelta, blocks: int, bars: pd.DatetimeIndex) -> np.ndarray:
    """Numbers of the pairs with bars in both blocks, rising."""
    number = np.unique(np.asarray((bars - start) // length, dtype="int64"))
    pairs, counts = np.unique(number[(number >= 0) & (number < blocks)] // 2, return_counts=True)
    complete: np.ndarray = pairs[counts == 2]
    return complete


def report(test: ABTest, net: pd.DataFrame, analysis_times: Iterable[pd.Timestamp]) -> ABReport:
    """Test the pairs that were over at each analysis time, oldest first, until a boundary is crossed.

    net: net return per bar of both recipes, open_time x recipe, at full size; each counts in its own blocks only. A
    pair that lacks the bars of a block is left out. The analyses spend ALPHA by the share of the planned pairs, as the
    promotion rule does.
    """
    start, bars = pd.Timestamp(test.start), pd.DatetimeIndex(net.index)
    block = np.asarray((bars - start) // test.length, dtype="int64")
    pairs = complete_pairs(start, test.length, test.blocks, bars)
    of_challenger = (block % 2 == 0) == test.challenger_first
    challenger = np.where(of_challenger, net[test.challenger].to_numpy(), 0.0)
    champion = np.where(of_challenger, 0.0, net[test.champion].to_numpy())
    fractions: list[float] = []
    latest = ABReport(pairs=0, verdict="no pair of blocks is over")
    for time in analysis_times:
        rows = np.isin(block // 2, pairs[start + 2 * (pairs + 1) * test.length <= time])
        tested = paired_test(PairedReturns(challenger[rows], champion[rows], block[rows] // 2))
        fraction = min(tested.blocks / test.pairs, 1.0)
        if tested.blocks < MIN_PAIRS:
            count = f"{tested.blocks} of {test.pairs} pairs of blocks"
            latest = ABReport(pairs=tested.blocks, verdict=f"{count}; the first look is at {MIN_PAIRS}")
        elif fraction > (fractions[-1] if fractions else 0.0):
            fractions.append(fraction)
            latest = _analysis(test, tested, boundaries(ALPHA / 2, tuple(fractions))[-1])
        if latest.winner:
            break
    return latest


def _analysis(test: ABTest, tested: PairedTest, boundary: float) -> ABReport:
    """The report of one interim analysis."""
    crossed = tested.z is not None and abs(tested.z) >= boundary
    winner = (test.challenger if tested.mean > 0 else test.champion) if crossed else None
    evidence = "no variance" if tested.z is None else f"z {tested.z:.2f} of {boundary:.2f} needed on either side"
    count = f"{tested.blocks} of {test.pairs} pairs of blocks"
    return ABReport(
        pairs=tested.blocks,
        mean=tested.mean,
        z=tested.z,
        boundary=boundary if np.isfinite(boundary) else None,
        winner=winner,
        verdict=f"{f'{winner} is better' if winner else 'no difference shown'}: {evidence}, {count}",
    )
