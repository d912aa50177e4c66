"""Restating a stored history: if its source has rescaled it for a dividend or a split, or corrected it, the stored
months follow.

Bars that are rescaled are multiplied, not replaced: their returns, features, scores and the versions trained on them
stay valid. When this happens is in ingestion.py; how histories differ, in market/revision.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import pandas as pd

from quantum_training.lifecycle.fetching import fetch_bars
from quantum_training.lifecycle.records import CANDLES
from quantum_training.lifecycle.restatement import (
    is_interrupted,
    versions_in_words,
    versions_trained_on,
    write_restatement,
)
from quantum_training.market.corporate_events import CorporateEvent
from quantum_training.market.defects import Defect
from quantum_training.market.notes import Notes
from quantum_training.market.periods import Key, month_of
from quantum_training.market.revision import Revision, compare
from quantum_training.market.revision_policy import REMEDIES, REVISED
from quantum_training.market.schema import PRICES, as_candles
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings

_CONTEXT_BARS = 200


class Judge(Protocol):
    """The quality gate on a month's bars: ingestion.judge_month."""

    def __call__(
        self, settings: Settings, key: Key, bars: pd.DataFrame, until: pd.Timestamp, previous: pd.DataFrame
    ) -> list[Defect]: ...


def restate(store: Store, settings: Settings, symbol: str, now: pd.Timestamp, judge: Judge) -> Defect:
    """Bring all stored months of a symbol to the bars that its source gives now.

    Returns a warning that says what was restated, or the error for which nothing was: the source has lost a twentieth
    of the bars, or the gate refuses a month that would get other returns. Bars older than those that the source still
    gives are multiplied like the oldest of these; a bar that it has lost stays. A kill in between leaves a record that
    is not `done`: nobody reads such candles, and the next run restates the months that are left. Raises SourceError if
    the source cannot be read.
    """
    months = store.periods(CANDLES, symbol)
    stored = {month: store.read_frame(CANDLES, symbol, month) for month in months}
    attributes = {month: store.attributes(CANDLES, symbol, month) for month in months}
    history = pd.concat(stored.values())
    until = pd.Timestamp(attributes[months[-1]]["covered_until"])
    fetched, _, notes = fetch_bars(settings, symbol, history.index[0], until, now)
    revision = compare(history, fetched)
    lost = len(revision.missing) if len(revision.stored) else len(history)
    if lost > max(2, len(revision.stored) // 20):
        return _refusal(symbol, history, f"it no longer has {lost} of {len(history)} stored bars")
    restatement = _Restatement(symbol, stored, history, revision, notes.actions)
    if not restatement.changed and not is_interrupted(store, symbol):
        message = f"{symbol}: restated_history: asked again, the source gives the bars as they are stored"
        return Defect("restated_history", "warning", (history.index[-1],), message)
    for key, bars, before in restatement.altered_months():
        covered = pd.Timestamp(attributes[key.period]["covered_until"])
        errors = [defect for defect in judge(settings, key, bars, covered, before) if defect.severity == "error"]
        if errors:
            return _refusal(symbol, history, f"its bars of {key.period[:7]} break a rule: {errors[0].message}")
    versions = versions_trained_on(store, settings.symbols[symbol], symbol, restatement.span[0])
    record = restatement.record(versions) | {
        "at": now.isoformat(),
        "former": {month: attributes[month]["content_hash"] for month in restatement.changed},
    }
    write_restatement(store, symbol, now, record, done=False)
    for month, bars in restatement.changed.items():
        of = attributes[month]
        former = {"content_hash", "layout_version", *Notes.stored(of).attributes}
        kept = {name: value for name, value in of.items() if name not in former}
        store.write_frame(CANDLES, symbol, month, bars, kept)
    write_restatement(store, symbol, now, record, done=True)
    return Defect("restated_history", "warning", restatement.span, f"{symbol}: restated_history: {record['message']}")


@dataclass(frozen=True)
class _Restatement:
    """The stored months of a symbol, and what its source has made of them. actions: that the source names."""

    symbol: str
    stored: Mapping[str, pd.DataFrame]
    history: pd.DataFrame
    revision: Revision
    actions: tuple[CorporateEvent, ...]

    @cached_property
    def restated(self) -> pd.DataFrame:
        """The whole history as it is now."""
        older = self.history[self.history.index < self.revision.times[0]].copy()
        older[list(PRICES)] *= self.revision.price_factors[0]
        older["volume"] *= self.revision.volume_factors[0]
        return as_candles(pd.concat([older, self.revision.bars, self.revision.added]).sort_index())

    @cached_property
    def _months(self) -> Mapping[str, pd.DataFrame]:
        names = pd.DatetimeIndex(self.restated.index).strftime("%Y-%m-01")
        return {month: self.restated[names == month] for month in self.stored}

    @cached_property
    def changed(self) -> dict[str, pd.DataFrame]:
        """The months that are not as they are stored, with their bars."""
        return {month: bars for month, bars in self._months.items() if not bars.equals(self.stored[month])}

    @cached_property
    def span(self) -> tuple[pd.Timestamp, pd.Timestamp]:
        """First and last bar with other values."""
        stored = self.restated.loc[self.history.index]
        others = self.history.index[(stored != self.history).any(axis=1)].union(self.revision.added.index)
        bars = others if len(others) else self.history.index
        return bars[0], bars[-1]

    def altered_months(self) -> Iterator[tuple[Key, pd.DataFrame, pd.DataFrame]]:
        """The months with bars of another return or volume, with their bars and those before."""
        for month in sorted({*map(month_of, self.revision.altered)} & {*self._months}):
            key = Key(self.symbol, pd.Timestamp(month, tz="UTC"))
            yield key, self._months[month], self.restated[self.restated.index < key.start].tail(_CONTEXT_BARS)

    def record(self, versions: dict[str, str]) -> dict[str, Any]:
        """What was restated: from which bar to which, by which factors, and which versions saw the former prices."""
        first, last = self.span
        altered = self.revision.altered
        ratios = {month: bars.iloc[0] / self.stored[month].iloc[0] for month, bars in self.changed.items()}
        return {
            "first": first.isoformat(),
            "last": last.isoformat(),
            "factors": {month: float(ratio["close"]) for month, ratio in ratios.items() if ratio["close"] != 1},
            "volume_factors": {
                m: float(of["volume"]) for m, of in ratios.items() if np.isfinite(of["volume"]) and of["volume"] != 1
            },
            **({"altered": [altered[0].isoformat(), altered[-1].isoformat()]} if len(altered) else {}),
            "versions": versions,
            "message": "; ".join([*self._what(), versions_in_words(versions)]),
        }

    def _what(self) -> Iterator[str]:
        """What was restated, in words."""
        yield from self._rescalings()
        replaced = np.flatnonzero(self.revision.replaced)
        if len(replaced):
            bar = self.revision.times[replaced[0]]
            what = self.revision.words(int(replaced[0]))
            yield f"{len(replaced)} bar(s) replaced, the first {bar:%Y-%m-%d %H:%M}: {what}"
        if len(added := self.revision.added):
            yield f"{len(added)} bar(s) added, the first {added.index[0]:%Y-%m-%d %H:%M}"
        if not self.changed:
            yield "completed"
        if len(altered := self.revision.altered):
            yield (
                f"returns or volumes of {len(altered)} bar(s) are others, the first {altered[0]:%Y-%m-%d %H:%M}: "
                f"features from {altered[0]:%Y-%m} on are computed again, scores stand"
            )
        else:
            yield "returns, features, scores and versions stay valid"

    def _rescalings(self) -> Iterator[str]:
        """A sentence for each stretch of bars with one factor, with what the source names as its reason."""
        factors, times = self.revision.price_factors, self.revision.times
        edges = [0, *(np.flatnonzero(factors[1:] != factors[:-1]) + 1).tolist(), len(factors)]
        for begin, end in pairwise(edges):
            if begin == end or factors[begin] == 1:
                continue
            first = self.history.index[0] if begin == 0 else times[begin]
            after = times[end] if end < len(times) else None
            reasons = [a for a in self.actions if a.ex_date > times[end - 1] and (after is None or a.ex_date <= after)]
            because = ", ".join(map(str, reasons)) or "the source names no reason"
            span = f"{first:%Y-%m-%d} to {times[end - 1]:%Y-%m-%d}"
            yield f"prices of {span} multiplied by {factors[begin]:.5g} ({because})"


def _refusal(symbol: str, history: pd.DataFrame, what: str) -> Defect:
    message = f"{symbol}: {REVISED}: the source has changed its history, but {what}, so nothing was restated; "
    return Defect(REVISED, "error", (history.index[-1],), message + REMEDIES["restate"])
