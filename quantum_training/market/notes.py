"""What a source says of the bars that it gives, beside the bars: facts for the candles' metadata, and defects.

They travel in the frame's `attrs` from `CandleSource.fetch` to ingestion, which takes them out before it stores bars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from quantum_training.market.defects import Defect

_NOTES = "notes"


@dataclass(frozen=True)
class Notes:
    """facts: names and values for the metadata, as {"empty_rows_dropped": 3}; defects: judged with those of the gate.

    Both are about the month in which the end of the fetched period lies, as far as that end.
    """

    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    defects: tuple[Defect, ...] = ()


def with_notes(bars: pd.DataFrame, notes: Notes) -> pd.DataFrame:
    """The bars, with notes if there are any."""
    if notes.facts or notes.defects:
        bars.attrs[_NOTES] = notes
    return bars


def take_notes(bars: pd.DataFrame) -> Notes:
    """The notes on bars that a source gave; they are taken off."""
    notes: Notes = bars.attrs.pop(_NOTES, Notes())
    return notes
