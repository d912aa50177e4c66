"""What a source says of the bars that it gives, beside the bars: facts for the candles' metadata, and defects.

They travel in the frame's `attrs` from `CandleSource.fetch` to ingestion, which takes them out before it stores bars,
and stores them as attributes of the month.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pandas as pd

from quantum_training.market.corporate_events import CorporateEvent
from quantum_training.market.defects import Defect

_NOTES, _FACTS, _WARNINGS = "notes", "source_facts", "source_warnings"
VOLUME_UNIT, CONTRACT_SIZE = "volume_unit", "contract_size"
"""Facts of a month: what its volume is counted in, and the size of a contract where the exchange counts these."""


@dataclass(frozen=True)
class Notes:
    """facts: names and values for the metadata, as {"empty_rows_dropped": 3}; defects: judged with those of the gate;
    actions: the dividends and splits that the source names.

    Facts and defects are about the month in which the end of the fetched period lies, as far as that end.
    """

    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    defects: tuple[Defect, ...] = ()
    actions: tuple[CorporateEvent, ...] = ()

    @property
    def attributes(self) -> dict[str, str]:
        """The facts and warnings as attributes of the stored month; none if there are none."""
        warnings = [(d.rule, d.message, [bar.isoformat() for bar in d.bars]) for d in self.defects]
        parts = {_FACTS: dict(self.facts), _WARNINGS: warnings}
        return {name: json.dumps(part, sort_keys=True) for name, part in parts.items() if part}

    def with_facts(self, facts: Mapping[str, str | int | float]) -> Notes:
        """These notes and more facts."""
        return replace(self, facts={**self.facts, **facts})

    @classmethod
    def stored(cls, attributes: Mapping[str, str]) -> Notes:
        """The notes of a stored month."""
        warnings = json.loads(attributes.get(_WARNINGS, "[]"))
        defects = (Defect(rule, "warning", tuple(map(pd.Timestamp, bars)), text) for rule, text, bars in warnings)
        return cls(json.loads(attributes.get(_FACTS, "{}")), tuple(defects))


def with_notes(bars: pd.DataFrame, notes: Notes) -> pd.DataFrame:
    """The bars, with notes if there are any."""
    if notes.facts or notes.defects or notes.actions:
        bars.attrs[_NOTES] = notes
    return bars


def take_notes(bars: pd.DataFrame) -> Notes:
    """The notes on bars that a source gave; they are taken off."""
    notes: Notes = bars.attrs.pop(_NOTES, Notes())
    return notes
