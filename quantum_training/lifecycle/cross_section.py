"""Cross-sections: the columns of a feature set as ranks among the members of a universe at each bar.

A set with `within` is stored for each symbol of the universe, as one with `of`. Its ranks are made when they are read,
for all members at once and once per process: so what is stored does not depend on who is a member.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from cachetools import LRUCache

from quantum_training.features.sets.feature_set import named_after
from quantum_training.features.sets.ranks import RANK, ranks_within
from quantum_training.lifecycle.fetching import ON_TIME
from quantum_training.lifecycle.other_markets import known_columns, lateness
from quantum_training.lifecycle.records import CANDLES
from quantum_training.lifecycle.restatement import RESTATEMENTS
from quantum_training.lifecycle.stored_months import NANOSECOND
from quantum_training.lifecycle.stored_sets import feature_asset, lacking_months, months_expected, stored_columns
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.periods import MONTH, month_of
from quantum_training.market.timeframe import DAY, close_times, to_timedelta
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings

MONTHS_AT_ONCE = 3
"""Months of all members that are in memory at a time while they are ranked."""
_KEPT_BYTES = 2**29


class Panel(NamedTuple):
    """The ranks of a month: members x bars x columns. columns: their stored names; none if nothing is stored."""

    opened: pd.DatetimeIndex
    columns: Sequence[str]
    members: Sequence[str]
    ranks: np.ndarray


def _bytes(kept: tuple[Any, Panel]) -> int:
    return kept[1].ranks.nbytes


_PANELS: LRUCache[tuple[Any, ...], tuple[Any, Panel]] = LRUCache(_KEPT_BYTES, getsizeof=_bytes)
"""The newest panels of this process, for all symbols that read them. With each goes what its key names by an id."""
_LACKING: LRUCache[tuple[Any, ...], tuple[Any, dict[str, list[str]]]] = LRUCache(64)


def ranked_columns(store: Store, settings: Settings, symbol: str, name: str, opened: pd.DatetimeIndex) -> pd.DataFrame:
    """The ranks of a symbol at the bars that open at these times, by the names that a recipe has for them.

    NaN where the symbol is no member or has no value, where fewer members have one than the universe asks for, and
    where the bar of a member is expected and not stored: no rank is made without a member that is late. A member in a
    month that the quality gate refused has no value. No column if nothing is stored.
    """
    months = pd.date_range(month_of(opened[0]), opened[-1].tz_localize(None), freq="MS").strftime("%Y-%m-%d")
    panels = _panels(store, settings, name, [*months])
    columns = next((panel.columns for panel in panels if panel.columns), ())
    ranks = np.full((len(opened), len(columns)), np.nan)
    for panel in panels:
        if symbol in panel.members and panel.columns:
            places = panel.opened.get_indexer(opened)
            ranks[places >= 0] = panel.ranks[panel.members.index(symbol), places[places >= 0]]
    return named_after(RANK, pd.DataFrame(ranks, opened, [*columns]))


def members_lacking(
    store: Store, settings: Settings, name: str, first: str, until: pd.Timestamp
) -> dict[str, list[str]]:
    """The months from `first` to `until` that a set lacks, by member; only of times in which it is one.

    It is looked up once for all symbols, until something is written.
    """
    key = (first, until, *_content_key(store, settings, name))
    if kept := _LACKING.get(key):
        return kept[1]
    chosen = settings.features[name]
    needed = {member: months_ranked(store, settings, chosen.within, member, first, until) for member in chosen.of}
    lacking = {member: lacking_months(store, settings, member, name, months) for member, months in needed.items()}
    lacking = {member: months for member, months in lacking.items() if months}
    _LACKING[key] = ((store, settings), lacking)
    return lacking


def months_ranked(
    store: Store, settings: Settings, within: str, member: str, first: str, until: pd.Timestamp
) -> dict[str, pd.Timestamp]:
    """As months_expected, of the times in which a symbol is a member of a universe."""
    needed: dict[str, pd.Timestamp] = {}
    spacing = to_timedelta(settings.symbols[member].timeframe)
    for spell in settings.universes[within].spells_of(member):
        begin = max(first, month_of(spell.start))
        end = until if spell.end is None else min(until, spell.end + spacing - NANOSECOND)
        if spell.start < end and begin <= month_of(end - NANOSECOND):
            needed |= months_by_date(store, settings, member, begin, end)
    return needed


def months_by_date(
    store: Store, settings: Settings, member: str, first: str, until: pd.Timestamp
) -> dict[str, pd.Timestamp]:
    """As months_expected, of members, whose bars are compared by their date: also days that are over hours after it."""
    return months_expected(store, settings, member, first, until + lateness(store, member))


def different_days(store: Store, settings: Settings, members: Iterable[str]) -> str:
    """A sentence if stored daily bars of these symbols begin at different hours, so that none can be ranked; else
    empty."""
    begins: dict[pd.Timedelta, str] = {}
    for member in members:
        if to_timedelta(settings.symbols[member].timeframe) >= DAY and store.periods(CANDLES, member):
            begins.setdefault(lateness(store, member), member)
    if len(begins) < 2:
        return ""
    (early, one), (late, other) = sorted(begins.items())[:2]
    return (
        f"days of {one} begin {early} after 00:00 UTC, those of {other} {late}: bars of different hours cannot be "
        "ranked; take one of them out of the universe"
    )


def _panels(store: Store, settings: Settings, name: str, months: Sequence[str]) -> list[Panel]:
    unchanged = [month for month in months if store.of_period(month) is not store]
    if unchanged:  # of a view: most of it is as in the store, whose panels are kept
        before = _panels(store.of_period(unchanged[0]), settings, name, unchanged)
        return before + _panels(store, settings, name, [month for month in months if month not in unchanged])
    content_key = _content_key(store, settings, name)
    panels = {month: kept[1] for month in months if (kept := _PANELS.get((month, *content_key)))}
    for month, panel in _assembled(store, settings, name, [m for m in months if m not in panels]).items():
        panels[month] = panel
        with suppress(ValueError):  # larger than all that is kept
            _PANELS[month, *content_key] = ((store, settings), panel)
    return [panels[month] for month in months]


def token(store: Store, settings: Settings, members: Sequence[str], asset: str) -> tuple[Any, ...]:
    """Of what is made of an asset of members, with their candles; it changes with every write. A view of the store
    counts by itself."""
    files = [(asset, "parquet"), (CANDLES, "parquet"), (CANDLES, "json"), (RESTATEMENTS, "json")]
    stamps = str([store.stamps(a, member, suffix) for member in members for a, suffix in dict.fromkeys(files)])
    return id(settings), asset, store.root if type(store) is Store else id(store), stamps


def _content_key(store: Store, settings: Settings, name: str) -> tuple[Any, ...]:
    return token(store, settings, settings.features[name].of, feature_asset(name))


def _assembled(store: Store, settings: Settings, name: str, months: Sequence[str]) -> dict[str, Panel]:
    parts = [months[n : n + MONTHS_AT_ONCE] for n in range(0, len(months), MONTHS_AT_ONCE)]
    return {month: panel for part in parts for month, panel in _ranked(store, settings, name, part)}


def _ranked(store: Store, settings: Settings, name: str, months: Sequence[str]) -> Iterator[tuple[str, Panel]]:
    """The panels of consecutive months."""
    universe = settings.universes[settings.features[name].within]
    market = settings.symbols[universe.symbols[0]]
    start, end = pd.Timestamp(months[0], tz="UTC"), pd.Timestamp(months[-1], tz="UTC") + MONTH
    opened = expected_open_times(market.calendar, market.timeframe, start, end)
    closed, month_of_bar = close_times(opened, market.timeframe), opened.strftime("%Y-%m-01")
    values: dict[str, np.ndarray] = {}
    columns: Sequence[str] = ()
    late = np.zeros(len(opened), dtype=bool)
    for member in universe.symbols:
        is_member = universe.is_member(member, opened)
        if not is_member.any():
            continue
        stored = stored_columns(store, settings, member, name, start, end - NANOSECOND)._replace(late=ON_TIME)
        for month in {*months} & {*months_by_date(store, settings, member, months[0], end)}:
            until = stored.covered.get(month, start)
            late |= is_member & (month_of_bar == month) & (closed > until)
        if stored.covered:
            columns = [*stored.columns]
            values[member] = known_columns(settings, member, stored, closed)
            values[member][~is_member] = np.nan
    ranks = (
        ranks_within(np.stack([*values.values()]), universe.min_members) if values else np.empty((0, len(opened), 0))
    )
    ranks[:, late] = np.nan
    for month in months:
        bars = month_of_bar == month
        yield month, Panel(opened[bars], columns, [*values], ranks[:, bars])
