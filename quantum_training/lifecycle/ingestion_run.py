"""One run over months of market data: what cannot be brought stops neither the other months nor the other symbols.

How a month is brought is ingestion.py, what becomes of one that was not stored month_outcomes.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from quantum_training.lifecycle.gaps import MonthOutcome
from quantum_training.lifecycle.ingestion import CandleMonth, ingest_month
from quantum_training.lifecycle.market_identity import OtherMarketError
from quantum_training.lifecycle.month_outcomes import settle_unlisted, settle_unread
from quantum_training.market.periods import Key
from quantum_training.resources.faults import is_transient
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.sources import SourceError
from quantum_training.sources.retry import LATER

_SILENT_SYMBOLS = 2
"""After so many symbols without an answer, after minutes of attempts for each, it is the venue that is down."""


@dataclass(frozen=True)
class IngestionRun:
    """Brings months one by one. now: the run's start. refetch: as in ingest_month.

    refused: the months with wrong bars. unread: those of which the source gave nothing, and why.
    """

    store: Store
    settings: Settings
    now: pd.Timestamp
    refetch: bool = False
    refused: dict[Key, CandleMonth] = field(default_factory=dict)
    unread: dict[Key, Exception] = field(default_factory=dict)

    def bring(self, key: Key) -> CandleMonth | None:
        """A month that was stored or lies before the symbol's start; None if it is refused or could not be read."""
        try:
            self._require_answers(key)
            month = ingest_month(self.store, self.settings, key, self.now, self.refetch)
        except (SourceError, OtherMarketError) as error:
            self.unread[key] = error
            return None
        if month.errors:
            self.refused[key] = month
            return None
        return month

    def _require_answers(self, key: Key) -> None:
        """Raise what stopped the symbol's months before, or SourceError if its venue answers nobody."""
        last = next((error for of, error in reversed(self.unread.items()) if of.symbol == key.symbol), None)
        if last and (is_transient(last) or isinstance(last, OtherMarketError)):
            raise last
        source = self.settings.symbols[key.symbol].source
        silent = {
            of.symbol: error
            for of, error in self.unread.items()
            if is_transient(error) and source.venue == self.settings.symbols[of.symbol].source.venue != ""
        }
        if len(silent) >= _SILENT_SYMBOLS:
            problem = f"not asked, since it gave no answer for {' and '.join(silent)}"
            raise SourceError(key.symbol, f"{source.kind} {source.venue}", problem, LATER) from [*silent.values()][-1]

    def settle(self) -> dict[Key, MonthOutcome]:
        """The months that turned out to need no bars. What becomes of the others is recorded."""
        outcomes = settle_unlisted(self.store, self.refused) | settle_unread(self.store, self.settings, self.unread)
        for key in outcomes:
            self.refused.pop(key, None)
            self.unread.pop(key, None)
        return outcomes

    @property
    def failed(self) -> set[Key]:
        """The months that were not brought."""
        return {*self.refused, *self.unread}

    def problem(self, key: Key) -> str:
        """Why a month was not brought."""
        return str(self.unread[key]) if key in self.unread else self.refused[key].errors[0].message

    @property
    def outage(self) -> Exception | None:
        """The error of a source that may answer later; None if there is none."""
        return next((error for error in self.unread.values() if is_transient(error)), None)

    @property
    def reasons(self) -> dict[str, str]:
        """Why months of a symbol could not be read, by symbol; each reason once, with the first of its months."""
        first_month: dict[tuple[str, str], str] = {}
        for key, error in self.unread.items():
            first_month.setdefault((key.symbol, str(error)), key.period)
        symbols = dict.fromkeys(symbol for symbol, _ in first_month)
        return {s: "\n".join(f"{m}: {text}" for (of, text), m in first_month.items() if of == s) for s in symbols}
