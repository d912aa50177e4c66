"""The labels of a cross-section, from the stored candles of all members of its universe.

They are made once per process for all symbols that learn from them. What a label is lives in trading.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from cachetools import LRUCache

from quantum_training.lifecycle.cross_section import different_days, months_by_date, token
from quantum_training.lifecycle.gaps import gaps
from quantum_training.lifecycle.market_identity import require_market
from quantum_training.lifecycle.records import CANDLES
from quantum_training.lifecycle.restatement import require_whole_restatement
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.periods import month_of
from quantum_training.market.timeframe import DAY, to_timedelta
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings import Settings
from quantum_training.trading.cross_section_label import CrossSection, outcomes


class _Outcomes(NamedTuple):
    """Of all symbols of a universe, symbols x bars."""

    opened: pd.DatetimeIndex
    labels: np.ndarray


_KEPT: LRUCache[tuple[Any, ...], tuple[Any, _Outcomes]] = LRUCache(8)
"""The newest outcomes of this process. With each goes what its key names by an id."""


def cross_section_labels(
    store: Store, settings: Settings, symbol: str, label: CrossSection, opened: pd.DatetimeIndex
) -> pd.DataFrame:
    """Labels of the bars of a symbol that open at these times, without a gap, as make_labels gives them: of each bar
    up to which these bars let one know them.

    A member whose data end before the exit leaves at its last open. StoreError if the bars of a member are late, or if
    a restatement of them was interrupted. OtherMarketError if they are recorded as another market's.
    """
    if opened.empty:
        return pd.DataFrame({"label": np.empty(0), "label_end": opened}, opened)
    first, until = month_of(opened[0]), opened[-1] + to_timedelta(settings.symbols[symbol].timeframe)
    members = settings.universes[label.within].symbols
    key = (label, first, until, *token(store, settings, members, CANDLES))
    if key not in _KEPT:
        for sentence in late_members(store, settings, label.within, first, until):
            raise StoreError(f"{symbol}: {sentence}")
        _KEPT[key] = ((store, settings), _made(store, settings, label, first, until))
    bars, outcome = _KEPT[key][1]
    span = label.horizon + 1
    ends = pd.Series(bars[span:], bars[:-span]).reindex(opened).astype("datetime64[ns, UTC]")
    ends = ends.where(ends <= opened[-1])
    labels = pd.Series(outcome[members.index(symbol)], bars).reindex(opened).where(ends.notna())
    return pd.DataFrame({"label": labels, "label_end": ends}, opened)


def late_members(store: Store, settings: Settings, within: str, first: str, until: pd.Timestamp) -> Iterator[str]:
    """What is missing of the candles of a universe's members from month `first` to `until`, in sentences.

    They are needed since a symbol became a member: also those after it has left, as its exit may lie there.
    """
    universe, start = settings.universes[within], pd.Timestamp(first, tz="UTC")
    if different := different_days(store, settings, universe.symbols):
        yield different
    for member in universe.symbols:
        spells = [s for s in universe.spells_of(member) if s.start < until and (s.end is None or s.end > start)]
        last_day = settings.last_day(member)
        end = min(until, pd.Timestamp(last_day, tz="UTC") + DAY) if last_day else until
        if not spells or (begin := max(first, month_of(spells[0].start))) > month_of(end):
            continue
        for month, reach in months_by_date(store, settings, member, begin, end).items():
            covered = store.attributes(CANDLES, member, month).get("covered_until")
            if covered is None or pd.Timestamp(covered) < reach:
                yield (
                    f"labels within {within} need the candles of {member} until {end}, but {month} is not stored to "
                    f"its end; run the job market_data of {member} for it first"
                )


def _made(store: Store, settings: Settings, label: CrossSection, first: str, until: pd.Timestamp) -> _Outcomes:
    universe = settings.universes[label.within]
    market = settings.symbols[universe.symbols[0]]
    opened = expected_open_times(market.calendar, market.timeframe, pd.Timestamp(first, tz="UTC"), until)
    entries = np.full((len(universe.symbols), len(opened)), np.nan)
    exits, is_member = entries.copy(), np.zeros(entries.shape, dtype=bool)
    for row, member in enumerate(universe.symbols):
        is_member[row] = universe.is_member(member, opened)
        months = [m for m in store.periods(CANDLES, member) if first <= m <= month_of(opened[-1])]
        if months and is_member[row].any():
            candles, attributes = store.read_with_attributes(CANDLES, member, months[0], months[-1])
            require_market(member, settings.symbols[member], CANDLES, attributes)
            require_whole_restatement(store, member)
            opens = candles["open"].reindex(opened)
            entries[row], exits[row] = opens, opens.ffill()
        for gap in gaps(store, member, market.timeframe):
            exits[row, (opened >= gap.start) & (opened < gap.end)] = np.nan
    return _Outcomes(opened, outcomes(entries, exits, is_member, label.horizon, universe.min_members))
